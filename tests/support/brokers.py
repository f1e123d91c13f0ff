"""Real brokers for tests: one for the whole session, and ones of a test's own that it may break.

Where the one for the session comes from: CALLGATE_TEST_BOOTSTRAP, else a Docker daemon that answers, else Kafka's jars
through Maven. Where none of these can be had, tests fail in CI and are skipped by name elsewhere.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from broker.jars import NoBroker, jars, java
from broker.local import START_SECONDS, Node, alive, free_ports, kill, new_cluster, stop
from docker import from_env
from docker.errors import DockerException
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

IMAGE = "apache/kafka:4.1.0"
"""The version of broker/pom.xml, as a container."""

_INSIDE = 9092
"""The port that the broker listens on in its container."""

Source = Literal["given", "docker", "jars", "fail", "skip"]


def source(environ: Mapping[str, str], docker: Callable[[], bool], no_jars: Callable[[], str | None]) -> Source:
    """Where the session's broker comes from. What costs time to find out is asked only where it matters."""
    if environ.get("CALLGATE_TEST_BOOTSTRAP"):
        return "given"
    if docker():
        return "docker"
    if no_jars() is None:
        return "jars"
    return "fail" if environ.get("CI") else "skip"


def no_jars() -> str | None:
    """Why Kafka's jars can't be run here; None where they can."""
    try:
        java()
        jars()
    except NoBroker as fault:
        return str(fault)
    return None


def docker_answers() -> bool:
    """Whether a Docker daemon answers a ping."""
    # Asked of the client only where there may be one: it leaves its socket open where there is none.
    if not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        return False
    try:
        client = from_env(timeout=5)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except DockerException:
        return False
    finally:
        client.close()


def session_broker() -> Iterator[str]:
    """Host and port of the session's broker, for as long as the session lasts."""
    missing = "no Kafka: CALLGATE_TEST_BOOTSTRAP is not set, no Docker daemon answers, and "
    match source(os.environ, docker_answers, no_jars):
        case "given":
            yield os.environ["CALLGATE_TEST_BOOTSTRAP"]
        case "docker":
            yield from _container()
        case "jars":
            yield from _jars()
        case "fail":
            pytest.fail(f"{missing}{no_jars()}")
        case "skip":
            pytest.skip(f"{missing}{no_jars()}")


def container_environment(host: str, port: int) -> dict[str, str]:
    """The settings of the local broker, as the official image takes them: reached from outside at `host:port`."""
    told = Node(Path("/tmp/kafka"), 1, _INSIDE, _INSIDE + 1).settings() | {  # noqa: S108 - inside the container
        "listeners": f"PLAINTEXT://0.0.0.0:{_INSIDE},CONTROLLER://127.0.0.1:{_INSIDE + 1}",
        "advertised.listeners": f"PLAINTEXT://{host}:{port}",
    }
    return {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in told.items()}


def _container() -> Iterator[str]:
    # Not testcontainers' own for Kafka: that takes the images of one vendor only.
    container: Any = DockerContainer(IMAGE)
    (port,) = free_ports(1)
    host = container.get_docker_client().host()
    local = host in {"localhost", "127.0.0.1"}
    host = "127.0.0.1" if local else host
    container.ports[f"{_INSIDE}/tcp"] = (host, port) if local else port
    for name, value in container_environment(host, port).items():
        container.with_env(name, value)
    container.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(int(START_SECONDS)))
    with container:
        yield f"{host}:{port}"


def _jars() -> Iterator[str]:
    with broker() as started:
        yield started.address


@dataclass
class Broker:
    """A broker of jars that a test may break. It dies with the tests' process."""

    node: Node
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return self.node.address

    @property
    def pid(self) -> int:
        """Its process; 0 before its first start."""
        return self.process.pid if self.process is not None else 0

    def start(self, *, wait: bool = True) -> None:
        """Start it, with the data that it has."""
        try:
            self.process = self.node.start(wait=wait, tied=True)
        except NoBroker as fault:
            pytest.fail(f"no Kafka: {fault}")

    def stop(self) -> None:
        """Stop it in peace."""
        if self.alive:
            stop(self.pid)
        self._gone()

    def kill(self) -> None:
        """SIGKILL it."""
        if self.alive:
            kill(self.pid)
        self._gone()

    def pause(self) -> None:
        """Let it stand still."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def _gone(self) -> None:
        if self.process is not None:
            self.process.poll()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.pid > 0 and alive(self.pid)


@dataclass
class Cluster:
    """Three brokers that a test may break."""

    brokers: dict[int, Broker] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """All of them, for bootstrapping."""
        return ",".join(each.address for each in self.brokers.values())

    def only(self, number: int) -> Broker:
        """One of them."""
        return self.brokers[number]


def need_jars() -> None:
    """For tests that break their brokers: without jars they fail in CI and are skipped elsewhere."""
    reason = no_jars()
    if reason is not None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no Kafka that may be broken: {reason}")


@contextmanager
def broker(extra: Mapping[str, str] | None = None) -> Iterator[Broker]:
    """A broker of a test's own."""
    need_jars()
    folder = Path(tempfile.mkdtemp(prefix="callgate-kafka-"))
    port, controller_port = free_ports(2)
    made = Broker(Node(folder, 1, port, controller_port, extra=dict(extra or {})))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        made.start()
        yield made
    finally:
        made.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def cluster(extra: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """Three brokers of a test's own: three copies of everything, of which two must be there."""
    need_jars()
    folder = Path(tempfile.mkdtemp(prefix="callgate-cluster-"))
    ports = free_ports(6)
    controllers = {number: ports[number + 2] for number in (1, 2, 3)}
    first = Node(folder, 0, 0, 0, controllers, new_cluster(), dict(extra or {}))
    made = Cluster()
    for number in (1, 2, 3):
        node = replace(
            first,
            folder=folder / str(number),
            number=number,
            port=ports[number - 1],
            controller_port=controllers[number],
        )
        made.brokers[number] = Broker(node)
    try:
        for each in made.brokers.values():
            each.start(wait=False)
        for each in made.brokers.values():
            each.node.wait()
        yield made
    finally:
        for each in made.brokers.values():
            each.kill()
        shutil.rmtree(folder, ignore_errors=True)
