"""A broker on the loopback: made, started, watched, stopped, killed. Its data outlive it.

From the command line: `python -m broker start|stop|status`.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from broker.jars import FOLDER, HERE, NoBroker, jars, java

START_SECONDS = 90.0
"""How long a broker may take to answer: a second or two, where nothing else runs."""

STOP_SECONDS = 30.0
"""How long a broker may take to stop when asked, before it is killed."""

MESSAGE_BYTES = 2_621_440
"""The largest record that the brokers take. Callgate's largest is about two million bytes."""

_PORTS = range(20_000, 32_000)

_JVM = ("-Xms128m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")


@dataclass(frozen=True, slots=True)
class Node:
    """One broker, which is also a controller."""

    folder: Path
    """Settings, data and log."""
    number: int
    port: int
    controller_port: int
    controllers: Mapping[int, int] = field(default_factory=dict)
    """Controller ports by node number; empty for a broker on its own."""
    cluster: str = ""
    """The cluster's id; empty for a broker on its own."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further settings of the broker, which win."""

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def start(self, *, wait: bool = True, tied: bool = False) -> subprocess.Popen[bytes]:
        """Start it, format it first if it is new; its process. Raises NoBroker.

        A `tied` one dies with the thread that starts it: a test's broker does not outlive a killed test.
        """
        # Asked before: the one that has the port might be taken for ours, if it is a broker too.
        for port in (self.port, self.controller_port):
            if _taken(port):
                raise NoBroker(f"port {port} of the loopback is taken. End what listens there, or take another port")
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "server.properties"
        settings.write_text("".join(f"{key}={value}\n" for key, value in self.settings().items()))
        classpath = f"{jars()}/*"
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(classpath, settings)
        command = [java(), *_JVM, f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}", "-cp", classpath]
        with (self.folder / "broker.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [*command, "kafka.Kafka", str(settings)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_die_with_parent if tied else None,  # noqa: PLW1509 - one system call
            )
        if wait:
            self.wait(process)
        return process

    def wait(self, process: subprocess.Popen[bytes] | None = None) -> None:
        """Wait until it answers. Raises NoBroker."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if answers(self.port):
                return
            if process is not None and process.poll() is not None:
                raise NoBroker(f"the broker ended by itself: {self._last_words()}")
            time.sleep(0.1)
        raise NoBroker(f"the broker does not answer after {START_SECONDS:.0f} s: {self._last_words()}")

    def settings(self) -> dict[str, str]:
        """What the broker is told, by the names of Kafka's own settings."""
        controllers = self.controllers or {self.number: self.controller_port}
        copies = str(min(3, len(controllers)))
        return {
            "process.roles": "broker,controller",
            "node.id": str(self.number),
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{port}" for n, port in controllers.items()),
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "default.replication.factor": copies,
            "min.insync.replicas": "2" if copies == "3" else "1",
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": "8",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": "2" if copies == "3" else "1",
            "transaction.state.log.num.partitions": "8",
            # Time-outs that tests can wait for.
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "500",
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
            "file.delete.delay.ms": "1000",
            # Topics are laid out by `callgate topics apply`, never by a misspelt name.
            "auto.create.topics.enable": "false",
            "message.max.bytes": str(MESSAGE_BYTES),
            **self.extra,
        }

    def _format(self, classpath: str, settings: Path) -> None:
        cluster = self.cluster or new_cluster()
        # With its value in one word: one id in 64 begins with a hyphen, which would be read as an option.
        command = [java(), *_JVM, "-cp", classpath, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}"]
        done = subprocess.run(  # noqa: S603 - our own command
            [*command, "-c", str(settings)], capture_output=True, text=True, timeout=START_SECONDS, check=False
        )
        if done.returncode != 0:
            shutil.rmtree(self.folder / "data", ignore_errors=True)
            raise NoBroker(f"the broker's storage could not be made: {(done.stdout + done.stderr).strip()[-300:]}")

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = (self.folder / "broker.log").read_text(errors="replace").splitlines()
            return next((line for line in reversed(lines) if "ERROR" in line or "Exception" in line), lines[-1])[:300]
        return f"see {self.folder / 'broker.log'}"


def new_cluster() -> str:
    """An id for a cluster."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on just now.

    None of those that the system gives to clients: one that tries again and again to reach a broker that is down could
    be given the broker's own port, would then talk to itself, and the broker could not come back.
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        if len(found) == count:
            return found
        if not _taken(port):
            found.append(port)
    raise NoBroker("no port of the loopback is free")


def answers(port: int) -> bool:
    """Whether a broker answers there: it is asked for the versions that it speaks."""
    # ApiVersions, version 0, correlation 1, no client id.
    request = b"\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff"
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(len(request).to_bytes(4, "big") + request)
        head = connection.recv(10)
        return len(head) == 10 and head[4:8] == b"\x00\x00\x00\x01" and head[8:10] == b"\x00\x00"  # noqa: PLR2004
    return False


def alive(pid: int) -> bool:
    """Whether a process of ours runs."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    try:
        # The number may have passed to another program since; and the dead may stand here until somebody collects them.
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return not Path("/proc/self").exists()
    state, threads = rest.split()[0], int(rest.split()[17])
    return "java" in name and (state not in "ZX" or threads > 1)


def stop(pid: int) -> None:
    """End a broker: asked first, killed when it does not."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + STOP_SECONDS
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    kill(pid)


def kill(pid: int) -> None:
    """SIGKILL, and wait until it is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    while alive(pid):
        time.sleep(0.02)


def _die_with_parent() -> None:
    import ctypes  # noqa: PLC0415 - only here, and only on Linux

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


# What `make kafka` keeps, so that `make kafka-stop` finds it.


def detached(folder: Path = FOLDER / "local") -> tuple[Node, bool]:
    """The local broker, started if it does not run, and whether it had to be. Raises NoBroker.

    With the data and, where they are still free, the ports that it had.
    """
    with _alone(folder):
        known = _noted(folder / "node.json")
        if known is not None:
            pid, node = known
            if alive(pid) and answers(node.port):
                return node, False
            if alive(pid):
                stop(pid)
            if not any(_taken(port) for port in (node.port, node.controller_port)):
                return _noting(node), True
        port, controller_port = free_ports(2)
        return _noting(Node(folder, 1, port, controller_port)), True


def end(folder: Path = FOLDER / "local") -> bool:
    """End the local broker; whether it ran."""
    with _alone(folder):
        known = _noted(folder / "node.json")
        if known is None or not alive(known[0]):
            return False
        stop(known[0])
        return True


def running(folder: Path = FOLDER / "local") -> Node | None:
    """The local broker, if it runs."""
    known = _noted(folder / "node.json")
    return known[1] if known is not None and alive(known[0]) and answers(known[1].port) else None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two that start or stop the local broker at once do so one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _noting(node: Node) -> Node:
    process = node.start(wait=False)
    # Noted before it answers: one that is slow to start can still be stopped.
    note = {"pid": process.pid, "port": node.port, "controller_port": node.controller_port}
    (node.folder / "node.json").write_text(json.dumps(note))
    try:
        node.wait(process)
    except NoBroker:
        stop(process.pid)
        raise
    process.returncode = 0  # it outlives us, and nobody is to wait for it
    return node


def _noted(note: Path) -> tuple[int, Node] | None:
    try:
        noted = json.loads(note.read_text())
        return int(noted["pid"]), Node(note.parent, 1, int(noted["port"]), int(noted["controller_port"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
