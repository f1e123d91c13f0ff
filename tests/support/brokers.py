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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from broker.jars import NoBroker
from broker.local import MESSAGE_BYTES, Node, alive, free_ports, kill, new_cluster, stop
from docker import from_env
from docker.errors import DockerException
from testcontainers.community.kafka import KafkaContainer

IMAGE = "apache/kafka:4.1.0"
"""The version of broker/pom.xml, as a container."""

_SETTINGS = {
    "KAFKA_MESSAGE_MAX_BYTES": str(MESSAGE_BYTES),
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "500",
    "KAFKA_TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS": "500",
}

Source = Literal["given", "docker", "jars", "fail", "skip"]


def source(environ: Mapping[str, str], *, docker: bool, can_run_jars: bool) -> Source:
    """Where the session's broker comes from."""
    if environ.get("CALLGATE_TEST_BOOTSTRAP"):
        return "given"
    if docker:
        return "docker"
    if can_run_jars:
        return "jars"
    return "fail" if environ.get("CI") else "skip"


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
    can = shutil.which("java") is not None and shutil.which("mvn") is not None
    match source(
        os.environ, docker=not os.environ.get("CALLGATE_TEST_BOOTSTRAP") and docker_answers(), can_run_jars=can
    ):
        case "given":
            yield os.environ["CALLGATE_TEST_BOOTSTRAP"]
        case "docker":
            yield from _container()
        case "jars":
            yield from _jars()
        case "fail":
            pytest.fail("no Kafka: neither CALLGATE_TEST_BOOTSTRAP, nor a Docker daemon, nor a JDK with Maven is there")
        case "skip":
            pytest.skip("no Kafka: neither CALLGATE_TEST_BOOTSTRAP, nor a Docker daemon, nor a JDK with Maven is there")


def _container() -> Iterator[str]:
    container: Any = KafkaContainer(IMAGE).with_kraft()
    for name, value in _SETTINGS.items():
        container = container.with_env(name, value)
    with container:
        yield str(container.get_bootstrap_server())


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
        stop(self.pid)
        self._gone()

    def kill(self) -> None:
        """SIGKILL it."""
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


@contextmanager
def broker(extra: Mapping[str, str] | None = None) -> Iterator[Broker]:
    """A broker of a test's own."""
    folder = Path(tempfile.mkdtemp(prefix="callgate-kafka-"))
    port, controller_port = free_ports(2)
    made = Broker(Node(folder, 1, port, controller_port, extra=dict(extra or {})))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        made.start()
        yield made
    finally:
        if made.pid:
            with suppress(ProcessLookupError):
                made.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def cluster(extra: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """Three brokers of a test's own: three copies of everything, of which two must be there."""
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
            if each.alive:
                each.kill()
        shutil.rmtree(folder, ignore_errors=True)
