"""The worker on the embedded log, kind and unkind: each record's effects once, in the order of its lane."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.support.of_outcomes import OfOutcomes

from callgate.clock import SystemClock
from callgate.events.codec import Envelope, decode, encode
from callgate.events.outcomes import OutcomeObserved
from callgate.events.routing import Address
from callgate.events.topics import OBSERVED
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.log.address import open_log
from callgate.log.port import Log, Outgoing
from callgate.log.sqlite.hostile import Hostility
from callgate.settings import TelemetrySettings, WorkerSettings
from callgate.telemetry.metrics import Metrics
from callgate.worker import deadletters
from callgate.worker.effects import NOTHING, Context, Effects, Publish, Timer
from callgate.worker.worker import Job, Worker

LANES, EACH = 12, 10
SETTINGS = WorkerSettings(
    concurrency=16, window=40, retry_seconds=0.05, retry_first_seconds=0.01, park_seconds=0.05, drain_seconds=5
)


def observed(name: str, lane: str) -> OutcomeObserved:
    """An event with a name and a lane."""
    return OutcomeObserved(outcome_id=name, tenant=lane[:1], external_ref=lane, status="SUCCESS", observed_at=0.0)


class Acting(OfOutcomes):
    """Claims, acts in a second stage, ends; every seventh fails a few times first, some for good, some set a timer."""

    def __init__(self) -> None:
        self.acts: Counter[tuple[str, int]] = Counter()

    async def handle(self, envelope: Envelope, context: Context) -> Effects:
        event = envelope.event
        assert isinstance(event, OutcomeObserved)
        name = event.outcome_id
        number = int(name.split(".")[1])
        if context.table.get(f"end/{name}") is not None:
            return NOTHING
        if number % 7 == 3 and context.attempt < 4:
            raise TemporaryFailure("not yet")
        if number % 7 == 5:
            raise PermanentFailure("never")

        async def act() -> Effects:
            await asyncio.sleep(0)
            if await context.held():
                self.acts[name, context.epoch] += 1
            ends = {f"end/{name}": b"1", f"claim/{name}": None}
            timers = (Timer(f"t/{name}", event.external_ref or "", context.clock.now()),) if number % 7 == 1 else ()
            return Effects(publish=(_said(name, context),), put=ends, timers=timers)

        return Effects(put={f"claim/{name}": b"1"}, then=act)

    async def on_timer(self, key: str, context: Context) -> Effects:
        return Effects(publish=(_said(f"timer {key}", context),))

    async def on_dead(self, envelope: Envelope, context: Context, reason: str) -> Effects:
        event = envelope.event
        assert isinstance(event, OutcomeObserved)
        return Effects(publish=(_said(f"dead {event.outcome_id}", context),))


def _said(name: str, context: Context) -> Publish:
    return Publish(observed(name, "x"), Address("replies", context.lease, "k"))


async def _names(log: Log) -> list[str]:
    names: list[str] = []
    for partition in range(log.partitions):
        async for record in log.scan("replies", partition):
            event = decode(record.value, record.headers).event
            assert isinstance(event, OutcomeObserved)
            names.append(event.outcome_id)
    return names


def expected() -> Counter[str]:
    """What must be said, each once."""
    said: Counter[str] = Counter()
    for lane in range(LANES):
        for number in range(EACH):
            name = f"{lane}.{number}"
            said[f"dead {name}" if number % 7 == 5 else name] += 1
            if number % 7 == 1:
                said[f"timer t/{name}"] += 1
    return said


async def _fill(log: Log) -> None:
    for number in range(EACH):
        for lane in range(LANES):
            value, headers = encode(observed(f"{lane}.{number}", f"lane {lane}"), source="test", time=0.0)
            await log.publish([Outgoing(OBSERVED.name, lane % log.partitions, None, value, headers)])


async def _until(check: Callable[[], Awaitable[bool]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 - it is the log that is watched, as a checker would
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("seed", [None, 1, 2, 3, 4, 5])
async def test_every_record_comes_to_its_effects_once_whatever_the_log_does(tmp_path: Path, seed: int | None) -> None:
    """All effects exactly once, per lane in order, at most one act per claim, and nothing left in the state."""
    clock = SystemClock()
    hostile = None if seed is None else Hostility(seed=seed, unknown=0.05, lost=0.02)
    log = await open_log(f"sqlite:///{tmp_path}/test.db", clock=clock, hostile=hostile)
    handler = Acting()
    settings = SETTINGS if seed is None else _patient()
    job = Job("tester", "tester", (OBSERVED,), handler)
    worker = Worker(log, job, settings=settings, clock=clock, metrics=Metrics(TelemetrySettings()))
    stop = asyncio.Event()
    await _fill(log)
    task = asyncio.ensure_future(worker.run(stop))

    async def complete() -> bool:
        if task.done():
            task.result()
        return len(await _names(log)) >= expected().total()

    await _until(complete, 40)
    stop.set()
    await task
    names = await _names(log)
    assert Counter(names) == expected()
    for lane in range(LANES):
        own = [name for name in names if name.split(".")[0] in (str(lane), f"dead {lane}")]
        numbers = [int(name.split(".")[1]) for name in own]
        assert numbers == sorted(numbers)
    assert max(handler.acts.values()) == 1
    left = [key async for _, key, _ in log.tables("tester") if not key.startswith("end/")]
    assert left == []
    for partition in range(log.partitions):
        async for record in log.scan("deadletters", partition):
            assert deadletters.read(record) is not None
    await log.close()


def _patient() -> WorkerSettings:
    # Records that lost leases deliver again are dead letters again: the brake is not what is tested here.
    return WorkerSettings(
        concurrency=16,
        window=40,
        retry_seconds=0.05,
        retry_first_seconds=0.01,
        park_seconds=0.05,
        drain_seconds=5,
        brake_run=1000,
        brake_window=1000,
    )


async def test_a_restart_in_the_middle_repeats_no_effect(tmp_path: Path) -> None:
    """A worker that is stopped while it works, and another on the same file, must together do all of it once."""
    clock = SystemClock()
    address = f"sqlite:///{tmp_path}/test.db"
    log = await open_log(address, clock=clock)
    await _fill(log)
    handler = Acting()
    for _ in range(4):
        job = Job("tester", "tester", (OBSERVED,), handler)
        worker = Worker(log, job, settings=_patient(), clock=clock, metrics=Metrics(TelemetrySettings()))
        stop = asyncio.Event()
        task = asyncio.ensure_future(worker.run(stop))
        await asyncio.sleep(0.03)
        stop.set()
        await task
        await log.close()
        log = await open_log(address, clock=clock)
    job = Job("tester", "tester", (OBSERVED,), handler)
    worker = Worker(log, job, settings=_patient(), clock=clock, metrics=Metrics(TelemetrySettings()))
    stop = asyncio.Event()
    task = asyncio.ensure_future(worker.run(stop))

    async def complete() -> bool:
        return len(await _names(log)) >= expected().total()

    await _until(complete, 30)
    stop.set()
    await task
    assert Counter(await _names(log)) == expected()
    assert Counter(name for name, _ in handler.acts.elements()).most_common(1)[0][1] == 1
    await log.close()
