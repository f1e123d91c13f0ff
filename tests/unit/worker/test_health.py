"""What a worker says of itself: to the orchestrator, to the fleet, and in numbers."""

from __future__ import annotations

import asyncio

from tests.support.worker_bench import Bench, settle

from callgate.events.codec import decode
from callgate.events.control import WorkerReported
from callgate.events.outcomes import OutcomeObserved
from callgate.events.topics import OBSERVED
from callgate.failures import TemporaryFailure
from callgate.worker.effects import Context, Effects
from callgate.worker.worker import STALLED_SECONDS, Job, Worker


def reports(bench: Bench) -> list[WorkerReported]:
    """What was published on the fleet's topic."""
    events = [decode(record.value, record.headers).event for record in bench.log.written("fleet")]
    return [event for event in events if isinstance(event, WorkerReported)]


async def test_a_worker_is_ready_while_it_works_and_not_before_or_after() -> None:
    """Readiness must follow joining and stopping."""
    bench = Bench()
    assert not bench.worker().health().ready
    async with bench.working() as running:
        assert running.worker.health().ready
        running.stop.set()
        await settle()
        assert not running.worker.health().ready


async def test_the_job_s_own_reason_makes_it_unready() -> None:
    """A service that can't do its work must be shown as such, by name and reason."""
    bench = Bench()
    job = Job("tester", "tester", (OBSERVED,), bench.script, ready=lambda: "the key is refused")
    worker = Worker(bench.log, job, settings=bench.settings, clock=bench.clock, metrics=bench.metrics)
    health = worker.health()
    assert not health.ready
    assert health.live
    assert "tester: the key is refused" in health.reasons


async def test_a_worker_that_moves_nothing_while_it_must_is_not_live() -> None:
    """A commit that never ends must be noticed; waiting without work must not."""
    bench = Bench()
    async with bench.working() as running:
        await bench.clock.advance(STALLED_SECONDS * 3)
        assert running.worker.health().live
        bench.log.gate.clear()
        bench.see("one")
        await settle()
        await bench.clock.advance(STALLED_SECONDS + 1)
        assert not running.worker.health().live
        bench.log.gate.set()
        await settle()
        assert running.worker.health().live


async def test_waiting_for_another_side_is_not_being_dead() -> None:
    """Retries and parked records must leave a worker live, however long they last."""
    bench = Bench()

    async def fails(_: OutcomeObserved, __: Context) -> Effects:
        raise TemporaryFailure("away")

    bench.script.steps["bad"] = fails
    bench.see("bad", "behind")
    async with bench.working() as running:
        await bench.clock.advance(STALLED_SECONDS * 2)
        assert running.worker.health().live


async def test_the_fleet_learns_of_leases_and_epochs() -> None:
    """A report must come at once after a claim, name the leases and the epoch, and be repeated."""
    bench = Bench()
    bench.log.partitions = 2
    job = Job("tester", "tester", (OBSERVED,), bench.script)
    worker = Worker(bench.log, job, settings=bench.settings, clock=bench.clock, metrics=bench.metrics, epoch=lambda: 42)
    stop = asyncio.Event()
    task = asyncio.ensure_future(worker.run(stop))
    await settle()
    last = reports(bench)[-1]
    assert (last.service, last.member, last.leases, last.epoch, last.ready) == ("tester", "member-1", (0, 1), 42, True)
    before = len(reports(bench))
    await bench.clock.advance(11)
    assert len(reports(bench)) == before + 2
    stop.set()
    await settle()
    await task


async def test_numbers_show_what_waits() -> None:
    """Leases, in flight, lag, parked and their ages must be readable from the exposition."""
    bench = Bench()

    async def fails(_: OutcomeObserved, __: Context) -> Effects:
        raise TemporaryFailure("away")

    bench.script.steps["bad"] = fails
    bench.see("bad")
    async with bench.working():
        await bench.clock.advance(10)
        await settle()
        text = bench.metrics.exposition().decode()
        assert 'callgate_worker_in_flight{service="tester"} 1.0' in text
        assert 'callgate_worker_lag{service="tester"} 1.0' in text
        assert 'callgate_worker_oldest_in_flight_seconds{service="tester"} 10.0' in text
        await bench.clock.advance(90)
        text = bench.metrics.exposition().decode()
        assert 'callgate_worker_parked{service="tester"} 1.0' in text
        assert 'callgate_worker_oldest_parked_seconds{service="tester"} 100.0' in text
        assert 'callgate_worker_lag{service="tester"} 0.0' in text
        assert 'callgate_worker_failures_total{failure="TemporaryFailure",service="tester"}' in text


async def test_a_switch_is_acknowledged_within_a_second() -> None:
    """When the epoch changes the fleet must learn it at once, not with the next regular report."""
    bench = Bench()
    epoch = 1
    job = Job("tester", "tester", (OBSERVED,), bench.script)
    worker = Worker(
        bench.log, job, settings=bench.settings, clock=bench.clock, metrics=bench.metrics, epoch=lambda: epoch
    )
    stop = asyncio.Event()
    task = asyncio.ensure_future(worker.run(stop))
    await settle()
    assert reports(bench)[-1].epoch == 1
    epoch = 2
    await bench.clock.advance(0.6)
    await settle()
    assert reports(bench)[-1].epoch == 2
    stop.set()
    await settle()
    await task
