"""What users of other consumers have reported to go wrong, tried on our worker on a real broker.

The reports that are about the worker: 1 long work, 2 silent stop, 4 stop and poll that wait for each other, 5 commits
that run ahead, 6 records that can't be handled. Those about brokers, members and transactions have files of their own.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families
from tests.support.copying_worker import SETTINGS, Copying, Working, copied, outgoing, until
from tests.support.log_engines import SESSION_SECONDS, Engine

from callgate.events.topics import DEADLETTERS, OBSERVED
from callgate.log.kafka import membership, reading
from callgate.log.kafka.reading import Reader
from callgate.log.port import Log
from callgate.settings import WorkerSettings
from callgate.worker import deadletters

ROOT = Path(__file__).resolve().parents[2]


async def all_copied(log: Log, names: set[str]) -> bool:
    """Whether each of them is there."""
    return names <= set(await copied(log))


def lost(working: Working) -> float:
    """How many leases a worker has lost."""
    families = text_string_to_metric_families(working.metrics.exposition().decode())
    samples = [each for family in families for each in family.samples]
    return sum(each.value for each in samples if each.name == "callgate_worker_leases_lost_total")


@pytest.mark.slow
async def test_report_1_long_work_loses_no_lease_and_does_not_loop(engine: Engine) -> None:
    """Work of three sessions' length is begun once and copied once; a second member gets its share meanwhile."""
    log, other = await engine.open(), await engine.open()
    going = asyncio.Event()

    async def long(name: str) -> None:
        if name == "long":
            going.set()
            await asyncio.sleep(3 * SESSION_SECONDS)

    first = Working(log, Copying(long))
    await log.publish([outgoing("long", 0)])
    async with asyncio.timeout(30):
        await going.wait()
    second = Working(other, Copying())
    names = {f"short {number}" for number in range(20)}
    await log.publish([outgoing(name, number % log.partitions) for number, name in enumerate(sorted(names))])
    await until(lambda: all_copied(log, names | {"long"}), 40)

    async def shared() -> bool:
        return len(first.leases) == len(second.leases) == log.partitions // 2

    await until(shared, 20)
    assert first.handler.calls["long"] + second.handler.calls["long"] == 1
    assert lost(first) == lost(second) == 0
    assert set((await copied(log)).values()) == {1}
    await first.ended()
    await second.ended()


async def test_report_2_a_consumer_that_stopped_silently_is_replaced(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers that hear nothing more under a running worker are noticed, and what came meanwhile is handled."""
    monkeypatch.setattr(reading, "STALL_SECONDS", 0.5)
    log = await engine.open()
    working = Working(log, Copying())
    await log.publish([outgoing(f"a{number}", number) for number in range(log.partitions)])
    await until(lambda: all_copied(log, {f"a{number}" for number in range(log.partitions)}), 30)
    readers = [each.lease._claimed.reader for each in working.worker.leases]  # type: ignore[attr-defined]
    assert all(isinstance(reader, Reader) for reader in readers)
    silent = [reader._consumer for reader in readers]
    for consumer in silent:
        # What is asked of the broker already would still bring one more answer.
        tasks = {consumer._fetcher._fetch_task, *consumer._fetcher._pending_tasks}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    await log.publish([outgoing(f"b{number}", number) for number in range(log.partitions)])
    await until(lambda: all_copied(log, {f"b{number}" for number in range(log.partitions)}), 30)
    assert set((await copied(log)).values()) == {1}
    assert all(reader._consumer is not consumer for reader, consumer in zip(readers, silent, strict=True))
    assert lost(working) == 0
    await working.ended()


async def test_report_4_a_full_queue_does_not_hold_up_a_revoke(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every window full and no handler that ends, leases pass on within the time for it, and nothing is lost."""
    monkeypatch.setattr(membership, "CLOSING_SECONDS", 1.0)
    closing = SESSION_SECONDS + membership.PATIENCE_SECONDS
    log, other = await engine.open(), await engine.open()
    stuck = asyncio.Event()

    async def wait(_: str) -> None:
        await stuck.wait()

    window = 2
    settings = WorkerSettings(concurrency=window * log.partitions, window=window, brake_run=1000)
    names = {f"{number:03}" for number in range(60)}
    await log.publish([outgoing(name, number % log.partitions) for number, name in enumerate(sorted(names))])
    first = Working(log, Copying(wait), settings)

    async def full() -> bool:
        return len(first.handler.calls) == settings.concurrency and len(first.leases) == log.partitions

    await until(full, 30)
    second = Working(other, Copying())

    async def passed_on() -> bool:
        return len(second.leases) == log.partitions // 2

    # Two rounds of the group come on top.
    await until(passed_on, closing + 4 * SESSION_SECONDS)
    stuck.set()
    await until(lambda: all_copied(log, names), 40)
    assert set((await copied(log)).values()) == {1}
    await first.ended()
    await second.ended()


@pytest.mark.slow
async def test_report_5_progress_never_runs_ahead_of_the_work(engine: Engine) -> None:
    """Killed at random moments while records end out of order, every record that was written is copied, and once."""
    log = await engine.open()
    names = {f"{number:04}" for number in range(400)}
    written = await log.publish([outgoing(name, number % log.partitions) for number, name in enumerate(sorted(names))])
    command = [sys.executable, "-m", "tests.support.copying_worker", engine.address, engine.prefix, "0.3"]
    chance = random.Random(5)
    killed_amid = 0
    for _ in range(4):
        before = len(await copied(log))
        process = subprocess.Popen(command, cwd=ROOT)  # noqa: ASYNC220 - it takes no time to start one

        async def moved(before: int = before) -> bool:
            return len(await copied(log)) > before

        try:
            await until(moved, 40)
            await asyncio.sleep(chance.uniform(0, 0.2))
        finally:
            process.kill()
            process.wait()
        killed_amid += before < len(await copied(log)) < len(names)
    assert killed_amid >= 2, "no kill came while there was work"
    last = Working(log, Copying())
    await until(lambda: all_copied(log, names), 40)
    await last.ended()
    assert await copied(log) == dict.fromkeys(names, 1)
    progress = await log.progress("tested")
    for partition in range(log.partitions):
        last_offset = max(each.offset for each in written if each.partition == partition)
        done = progress[OBSERVED.name, partition]
        assert (done.next_offset, done.done) == (last_offset + 1, ()), "not every offset is accounted for"


async def test_report_6_what_can_not_be_handled_costs_itself_only(engine: Engine) -> None:
    """Junk, an unknown type and a record of the largest size an entrance takes end as dead letters; all others pass."""
    log = await engine.open()
    outsider = AIOKafkaProducer(bootstrap_servers=engine.address.removeprefix("kafka://"), max_request_size=3_000_000)
    topic = f"{engine.prefix}{OBSERVED.name}"
    junk = [b"\x00\xff no JSON", b"", b"x" * 1_090_000]
    await log.publish([outgoing(f"before {number}", number) for number in range(log.partitions)])
    await outsider.start()
    try:
        for value in junk:
            await outsider.send_and_wait(topic, value, partition=1)
        await outsider.send_and_wait(topic, None, key=b"a tombstone", partition=1)
        await outsider.send_and_wait(topic, b"{}", partition=1, headers=[("ce_type", b"callgate.of.tomorrow.v9")])
    finally:
        await outsider.stop()
    await log.publish([outgoing(f"behind {number}", number) for number in range(log.partitions)])
    working = Working(log, Copying(), SETTINGS)
    names = {f"{place} {number}" for place in ("before", "behind") for number in range(log.partitions)}
    await until(lambda: all_copied(log, names), 40)

    async def buried() -> bool:
        return len([record async for record in log.scan(DEADLETTERS.name, 1)]) >= 5

    await until(buried, 20)
    await working.ended()
    letters = [deadletters.read(record) async for record in log.scan(DEADLETTERS.name, 1)]
    assert [letter.value if letter else b"unread" for letter in letters] == [*junk, None, b"{}"]
    assert set((await copied(log)).values()) == {1}
