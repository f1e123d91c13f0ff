"""Brokers that die under the gate: everything goes on within a minute, and nothing is lost, ended or started twice."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition
from broker.local import free_ports
from tests.support.brokers import Broker, Cluster, broker, cluster
from tests.support.log_engines import GROUP, IN, OUT, SESSION_SECONDS, lay_out, sent, table, values
from tests.support.processes import environment, finish, running
from tests.support.whole import Whole, whole

from callgate.clock import SystemClock
from callgate.events import topics
from callgate.failures import TemporaryFailure
from callgate.log.address import open_log
from callgate.log.kafka.names import Names
from callgate.log.port import CommitUnknown, Group, Lease, LeaseLost, Log, LogUnavailable, Unit
from callgate.settings import KafkaSettings, TopicSettings

PROGRESS_SECONDS = 60.0
"""Within which everything goes on after any one broker has died."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def alone() -> Iterator[Broker]:
    """One broker that the test may break."""
    with broker() as started:
        yield started


@pytest.fixture(scope="module")
def three() -> Iterator[Cluster]:
    """Three brokers that the tests may break, and mend again."""
    with cluster() as started:
        yield started


@pytest.fixture
async def mended(three: Cluster) -> AsyncIterator[Cluster]:
    """The three, all of them there before and after."""
    await all_back(three)
    yield three
    await all_back(three)


async def all_back(three: Cluster) -> None:
    """Start whoever is gone, and wait until every copy is in step again: the next one that dies must not be missed."""
    for each in three.brokers.values():
        if not each.alive:
            await come_back(each)
    until = time.monotonic() + PROGRESS_SECONDS
    while await lagging(three):
        assert time.monotonic() < until, "the copies do not come into step"
        await asyncio.sleep(0.5)


async def come_back(lost: Broker) -> None:
    """Start a broker without standing still meanwhile: the gate runs in this very process."""
    lost.start(wait=False)
    await asyncio.to_thread(lost.node.wait)


async def lagging(three: Cluster) -> bool:
    """Whether some partition lacks a copy that is in step."""
    with suppress(Exception):
        async with admin_of(three.address) as admin:
            found = await admin.describe_topics()
            parts = [part for topic in found for part in topic["partitions"]]
            return any(len(part["isr"]) < len(part["replicas"]) for part in parts)
    return True


class admin_of:  # noqa: N801 - read as a phrase
    """An administration client for a while."""

    def __init__(self, address: str) -> None:
        """Not started yet."""
        self._client = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=5_000)

    async def __aenter__(self) -> Any:
        """Started."""
        await self._client.start()
        return self._client

    async def __aexit__(self, *_: object) -> None:
        """Closed."""
        await self._client.close()


async def coordinator(three: Cluster, kind: int, key: str) -> Broker:
    """Who keeps a group (kind 0) or a transactional id (kind 1)."""
    async with admin_of(three.address) as admin:
        return three.only(await admin.find_coordinator(key, kind))


async def leader(three: Cluster, place: TopicPartition) -> Broker:
    """Who takes the writes of a partition."""
    async with admin_of(three.address) as admin:
        (found,) = await admin.describe_topics([place.topic])
        return three.only(next(part["leader"] for part in found["partitions"] if part["partition"] == place.partition))


async def submitted(gate: Whole, session: str, turn: int) -> str:
    """A turn that is submitted until the log has taken it, as a client does: it is the same turn however often."""
    until = time.monotonic() + PROGRESS_SECONDS
    while True:
        try:
            return await gate.submit(session, ("act", {"n": turn}), turn=str(turn))
        except (TemporaryFailure, CommitUnknown):
            assert time.monotonic() < until, "nothing can be submitted"
            await asyncio.sleep(0.2)


async def all_ended(gate: Whole, keys: Sequence[str]) -> int:
    """How many of the turns' actions did not come to run for sure, once each of them has come to an end.

    One that was claimed as the broker died is started late or never: then it is in doubt, or known not to have run.
    """
    until = time.monotonic() + PROGRESS_SECONDS
    while True:
        with suppress(TemporaryFailure, CommitUnknown):
            found = await ended(gate)
            if found.keys() >= set(keys):
                assert set(found.values()) <= {"executed", "in_doubt", "not_executed"}
                return sum(status != "executed" for status in found.values())
            missing = len(set(keys) - found.keys())
            assert time.monotonic() < until, f"{missing} turns have no end"
        await asyncio.sleep(0.3)


async def ended(gate: Whole) -> dict[str, str]:
    """How the one action of each turn ended."""
    return {
        event.action.ref.turn_key: getattr(event, "status", "in_doubt")
        for event in await gate.events(topics.FINISHED)
        if hasattr(event, "action")
    }


async def under_way(gate: Whole, keys: Sequence[str]) -> None:
    """Wait until some of the turns, and not yet all of them, have come through."""
    until = time.monotonic() + PROGRESS_SECONDS
    while len(await ended(gate)) < len(keys) // 4:
        assert time.monotonic() < until, "nothing comes through"
        await asyncio.sleep(0.05)


async def test_a_broker_that_restarts_under_the_gate_costs_nothing(alone: Broker, tmp_path: Path) -> None:
    """Killed and started again, stopped and started again: every turn ends, none starts twice, the checker is content.

    What was submitted meanwhile is taken once the broker is back, and counts once however often it was tried.
    """
    async with whole(tmp_path / "log", kafka=alone.address, prefix="r.") as gate:
        keys = [await submitted(gate, f"s{n % 7}", n) for n in range(30)]
        await under_way(gate, keys)
        alone.kill()
        late = asyncio.gather(*(submitted(gate, f"s{n}", n) for n in range(100, 105)))
        await asyncio.sleep(SESSION_SECONDS * 1.5)
        await come_back(alone)
        keys += await late
        assert await all_ended(gate, keys) < len(keys) // 2
        await asyncio.to_thread(alone.stop)
        late = asyncio.gather(*(submitted(gate, f"s{n}", n) for n in range(200, 205)))
        await come_back(alone)
        keys += await late
        assert await all_ended(gate, keys) < len(keys) // 2
        assert all(count == 1 for count in gate.marks.effects.values())
        assert await gate.violations() == []


async def test_a_leader_that_is_lost_is_succeeded(mended: Cluster, tmp_path: Path) -> None:
    """The leader of an entrance, and then that of the executor's state, die under load: everything goes on."""
    prefix = "l."
    async with whole(tmp_path / "log", kafka=mended.address, prefix=prefix) as gate:
        names = Names(prefix)
        keys: list[str] = []
        for round_, topic in enumerate((names.topic(topics.TURNS.name), names.state("executor"))):
            keys += [await submitted(gate, f"s{n % 7}", 100 * round_ + n) for n in range(30)]
            await under_way(gate, keys)
            lost = await leader(mended, TopicPartition(topic, 0))
            lost.kill()
            keys += [await submitted(gate, f"s{n % 7}", 100 * round_ + n) for n in range(30, 40)]
            await all_ended(gate, keys)
            await all_back(mended)
        assert all(count == 1 for count in gate.marks.effects.values())
        assert await gate.violations() == []


class Counting:
    """A member that counts: each unit has the next number as an output, and in its table."""

    def __init__(self, group: Group) -> None:
        """It has no lease yet."""
        self._group = group
        self._lease: Lease | None = None
        self._next = 0
        self.committed = 0
        """Commits that are known to be done."""

    async def run(self) -> None:
        """Count until cancelled; a lease that is lost is claimed anew, and its table tells where to go on."""
        while True:
            with suppress(LeaseLost, CommitUnknown, LogUnavailable):
                await self._step()
                continue
            await asyncio.sleep(0.05)

    async def _step(self) -> None:
        if self._lease is None:
            claimed = await self._group.claim(1.0)
            if claimed is None:
                return
            if claimed.number != 0:
                return
            self._lease, self._next = claimed, int(claimed.table.get("n", b"0"))
        number = str(self._next).encode()
        unit = Unit(outputs=(sent(number, topic=OUT),), puts={"n": str(self._next + 1).encode()})
        try:
            # Shielded, as the worker does: a commit must not be cut off.
            await asyncio.shield(self._lease.commit(unit))
        except (LeaseLost, CommitUnknown):
            self._lease = None
            raise
        self._next += 1
        self.committed += 1


async def opened(address: str, prefix: str) -> Log:
    """A log on these brokers."""
    return await open_log(
        address,
        clock=SystemClock(),
        kafka=KafkaSettings(session_seconds=SESSION_SECONDS),
        topic=TopicSettings(prefix=prefix),
    )


@pytest.mark.parametrize("kind", ["transaction", "group"])
async def test_a_coordinator_that_dies_is_succeeded(kind: str, mended: Cluster) -> None:
    """Who keeps the transactions, or the group, dies between any two steps: commits go on, each number stands once."""
    prefix = f"c{secrets.token_hex(3)}."
    names, address = Names(prefix), f"kafka://{mended.address}"
    await lay_out(address, prefix)
    log = await opened(address, prefix)
    counting = Counting(await log.join(GROUP, (IN,)))
    running_ = asyncio.create_task(counting.run())
    try:
        await more(counting, 20)
        key = names.transactional(GROUP, 0) if kind == "transaction" else names.group(GROUP)
        lost = await coordinator(mended, 1 if kind == "transaction" else 0, key)
        lost.kill()
        await asyncio.sleep(0.2)
        await more(counting, 20)
    finally:
        running_.cancel()
        await asyncio.wait((running_,))
        await log.close()
    await all_back(mended)
    log = await opened(address, prefix)
    counted = int((await table(log))[0, "n"])
    assert await values(log, OUT) == [str(n).encode() for n in range(counted)]
    assert counted >= counting.committed
    await log.close()


async def more(counting: Counting, count: int) -> None:
    """Wait for so many commits more."""
    goal, until = counting.committed + count, time.monotonic() + PROGRESS_SECONDS
    while counting.committed < goal:
        assert time.monotonic() < until, f"{counting.committed} of {goal} commits"
        await asyncio.sleep(0.05)


GRACE_SECONDS = 30.0
"""What orchestrators commonly wait between SIGTERM and SIGKILL."""

TOOLS = '''
from callgate.tools.toolbox import Toolbox

toolbox = Toolbox()


@toolbox.tool
def look(n: int) -> int:
    """Look."""
    return n
'''


def answers(url: str) -> bool:
    """Whether a probe says yes."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own loopback
        return bool(answer.status == 200)
    return False


def test_a_stop_does_not_wait_for_brokers_that_are_gone(
    alone: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM while no broker answers, and a call is under way, ends all services within the grace period in words."""
    (tmp_path / "my_tools.py").write_text(TOOLS)
    monkeypatch.chdir(tmp_path)
    (port,) = free_ports(1)
    env = environment(
        CALLGATE_TELEMETRY_PORT=str(port),
        CALLGATE_LOG=f"kafka://{alone.address}",
        CALLGATE_TOPIC_PARTITIONS="2",
        CALLGATE_KAFKA_SESSION_SECONDS="2",
        CALLGATE_BIGHUB_URL="http://127.0.0.1:9",
        CALLGATE_BIGHUB_KEY="any",
        CALLGATE_APPROVAL_TRUSTED="true",
        CALLGATE_TOOLS="my_tools:toolbox",
    )
    out = tmp_path / "run.out"
    with running("topics", "apply", env=env) as laid_out:
        assert laid_out.wait(60) == 0
    with running("run", "--all", env=env, log=out) as process:
        until = time.monotonic() + PROGRESS_SECONDS
        while not answers(f"http://127.0.0.1:{port}/readyz"):
            assert time.monotonic() < until, out.read_text()
            assert process.poll() is None, out.read_text()
            time.sleep(0.1)
        (tmp_path / "turn.json").write_text('{"calls": [{"name": "look", "arguments": {"n": 7}}]}')
        assert finish("submit", "turn.json", env=env).returncode == 0
        proposed = ("actions", "list", "--json")
        while '"look"' not in finish(*proposed, env=env).stdout:
            assert time.monotonic() < until, out.read_text()
        alone.kill()
        time.sleep(SESSION_SECONDS)  # long enough for every part of it to have noticed
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        code = process.wait(60)
        took = time.monotonic() - began
    assert took < GRACE_SECONDS
    assert code in {0, 1}
    assert "Traceback" not in out.read_text()
