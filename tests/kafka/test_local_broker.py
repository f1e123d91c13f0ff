"""The broker that `make kafka` and the tests start: there when it is needed, the same one again, and gone when told."""

from __future__ import annotations

import itertools
import re
import shutil
import signal
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from broker import jars as fetching
from broker.jars import HERE, NoBroker
from broker.local import Node, alive, answers, detached, end, free_ports, kill, running
from tests.support.brokers import IMAGE, Source, container_environment, need_jars, source

ROOT = HERE.parent


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a detached broker, which is ended with the test."""
    need_jars()
    yield tmp_path / "local"
    end(tmp_path / "local")


def pid_of(folder: Path) -> int:
    """The process that a detached broker's note names."""
    found = re.search(r'"pid": (\d+)', (folder / "node.json").read_text())
    assert found
    return int(found[1])


@pytest.mark.timeout(240)
async def test_a_killed_broker_is_noticed_and_comes_back_as_it_was(folder: Path) -> None:
    """A start starts once, also when two do it at once; after a SIGKILL it has its address and its records again."""
    with ThreadPoolExecutor(2) as both:
        found = list(both.map(detached, [folder, folder]))
    (node, _), (same, _) = found
    assert sorted(fresh for _, fresh in found) == [False, True]
    assert node.address == same.address
    assert running(folder) == node
    await written(node.address, b"kept")
    kill(pid_of(folder))
    assert running(folder) is None
    again, fresh = detached(folder)
    assert (again.address, fresh) == (node.address, True)
    assert await read(again.address) == b"kept"
    assert end(folder)
    assert not answers(node.port)
    assert not end(folder)


async def written(address: str, value: bytes) -> None:
    """A record on a topic that is made for it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic("t", 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all")
    await producer.start()
    await producer.send_and_wait("t", value)
    await producer.stop()


async def read(address: str) -> bytes | None:
    """The first record of that topic."""
    consumer = AIOKafkaConsumer("t", bootstrap_servers=address, auto_offset_reset="earliest", group_id=None)
    await consumer.start()
    try:
        value: bytes | None = (await consumer.getone()).value
        return value
    finally:
        await consumer.stop()


def test_a_port_of_somebody_else_is_refused_in_words(tmp_path: Path) -> None:
    """A broker is not started on a port that is taken, and whoever has the port is not taken for it."""
    port, controller_port = free_ports(2)
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(NoBroker, match=f"port {port} .* is taken"):
            Node(tmp_path / "local", 1, port, controller_port).start()
        assert not (tmp_path / "local").exists()


def test_free_ports_are_none_that_clients_are_given() -> None:
    """A broker that restarts never finds its port in a client's hands: none is from the range for outgoing calls."""
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert max(ports) < 32_768


def test_a_stranger_with_the_noted_pid_is_not_killed(tmp_path: Path) -> None:
    """A note may outlive its broker, and its pid may be another program's by then: that one is left alone."""
    folder = tmp_path / "local"
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        port, controller_port = free_ports(2)
        (folder / "node.json").write_text(
            f'{{"pid": {stranger.pid}, "port": {port}, "controller_port": {controller_port}}}'
        )
        assert not alive(stranger.pid)
        assert running(folder) is None
        assert not end(folder)
        assert stranger.poll() is None
        stranger.send_signal(signal.SIGKILL)


def test_a_broken_note_is_no_broker(tmp_path: Path) -> None:
    """A note that was cut off by a crash says that nothing runs, and no more."""
    (tmp_path / "node.json").write_text('{"pid": 1')
    assert running(tmp_path) is None
    assert not end(tmp_path)


@pytest.mark.parametrize("missing", ["java", "mvn"])
def test_what_is_missing_is_said(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a JDK or without Maven the command says which is missing, with exit code 2 and no traceback."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in {"java", "mvn"} - {missing}:
        (tools / tool).symlink_to(shutil.which(tool) or "/bin/false")
    project = tmp_path / "project"
    shutil.copytree(HERE, project / "broker", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-m", "broker", "start"],
        cwd=project, env={"PATH": str(tools)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"there is no `{missing}`" in done.stderr
    assert "Traceback" not in done.stderr


def test_jars_that_cannot_be_fetched_leave_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maven's failure is told in its own words, and the next try begins anew instead of with half of the jars."""
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\necho '[ERROR] no network'\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setattr(fetching, "FOLDER", tmp_path / "kept")
    monkeypatch.setattr(shutil, "which", lambda name: str(maven) if name == "mvn" else "/bin/true")
    with pytest.raises(NoBroker, match="no network"):
        fetching.jars()
    assert not list((tmp_path / "kept").glob("jars-*"))


def test_one_version_is_pinned() -> None:
    """The pom names exact versions of everything, and the container is of the same Kafka."""
    tree = ET.parse(HERE / "pom.xml")  # noqa: S314 - our own file
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    versions = {
        each.findtext("m:artifactId", None, space): each.findtext("m:version", None, space)
        for each in itertools.chain(tree.iterfind(".//m:dependency", space), tree.iterfind(".//m:plugin", space))
    }
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version or "") for version in versions.values()), versions
    assert f"apache/kafka:{versions['kafka_2.13']}" == IMAGE


@pytest.mark.parametrize(
    ("environ", "docker", "jars", "expected"),
    [
        ({"CALLGATE_TEST_BOOTSTRAP": "h:1"}, True, True, "given"),
        ({"CI": "true"}, True, True, "docker"),
        ({"CI": "true"}, False, True, "jars"),
        ({}, False, True, "jars"),
        ({"CI": "true"}, False, False, "fail"),
        ({}, False, False, "skip"),
    ],
)
def test_where_the_broker_of_the_tests_comes_from(
    environ: dict[str, str], expected: Source, *, docker: bool, jars: bool
) -> None:
    """What is given comes first, then Docker, then the jars; without any, CI fails and others skip."""
    assert source(environ, lambda: docker, lambda: None if jars else "there is no `java` here") == expected


def test_a_container_is_told_what_the_local_broker_is(tmp_path: Path) -> None:
    """Tests see the same broker in a container: every setting is handed over, and the address is the outside's."""
    told = container_environment("h", 7)
    here = Node(tmp_path, 1, 9092, 9093).settings()
    assert told["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://h:7"
    assert told["KAFKA_LISTENERS"].startswith("PLAINTEXT://0.0.0.0:9092,")
    assert set(told) == {f"KAFKA_{name.upper().replace('.', '_')}" for name in here}
    assert told["KAFKA_MESSAGE_MAX_BYTES"] == here["message.max.bytes"]
