"""Stopping in good order: take no more, finish what has begun, commit, release, leave."""

from __future__ import annotations

import asyncio

from tests.support.worker_bench import INPUT, Bench, held, said, settle

from callgate.events.outcomes import OutcomeObserved
from callgate.failures import TemporaryFailure
from callgate.log.port import Progress
from callgate.worker.effects import Context, Effects


async def test_what_has_begun_is_finished_and_committed_before_the_lease_is_released() -> None:
    """A handler that runs when the stop comes must end and be committed; nothing new may begin."""
    bench = Bench()
    release = asyncio.Event()
    bench.script.steps["slow"] = held(release)
    bench.see("slow", "behind")
    async with bench.working() as running:
        lease = running.lease
        running.stop.set()
        await settle()
        bench.see("late", lane="b")
        await settle()
        assert not lease.released
        release.set()
        await settle()
        assert lease.released
        assert running.task.done()
    assert bench.said() == ["slow"]
    assert bench.log.positions[INPUT, 0] == Progress(1)


async def test_the_stages_of_what_has_begun_are_finished_too() -> None:
    """A drain must let a handler go from its first stage to its last."""
    bench = Bench()
    release = asyncio.Event()

    async def staged(_: OutcomeObserved, __: Context) -> Effects:
        async def act() -> Effects:
            await release.wait()
            return Effects(publish=(said("end"),))

        return Effects(publish=(said("claim"),), then=act)

    bench.script.steps["one"] = staged
    bench.see("one")
    async with bench.working() as running:
        running.stop.set()
        await settle()
        release.set()
        await settle()
    assert bench.said() == ["claim", "end"]


async def test_a_drain_ends_with_its_budget() -> None:
    """A handler that does not end in time is cut off, what others did is committed, and the lease is released."""
    bench = Bench().tune(drain_seconds=10)

    async def hangs(_: OutcomeObserved, __: Context) -> Effects:
        await asyncio.Event().wait()
        return Effects(publish=(said("never"),))

    bench.script.steps["hangs"] = hangs
    bench.see("hangs")
    bench.see("beside", lane="b")
    async with bench.working() as running:
        lease = running.lease
        running.stop.set()
        await settle()
        assert not running.task.done()
        await bench.clock.advance(9.5)
        await settle()
        assert lease.released
        assert running.task.done()
    assert bench.said() == ["beside"]


async def test_a_handler_is_told_how_long_it_has() -> None:
    """`remaining` must be None until somebody asks for the lease, and then count down."""
    bench = Bench().tune(drain_seconds=10)
    release = asyncio.Event()
    told: list[float | None] = []

    async def asks(_: OutcomeObserved, context: Context) -> Effects:
        told.append(context.remaining())
        await release.wait()
        told.append(context.remaining())
        return Effects()

    bench.script.steps["asks"] = asks
    bench.see("asks")
    async with bench.working() as running:
        running.stop.set()
        await settle()
        await bench.clock.advance(4)
        release.set()
        await settle()
    assert told == [None, 6.0]


async def test_a_lease_that_is_wanted_back_is_drained_and_released_while_the_worker_goes_on() -> None:
    """`closing` must lead to release after the last commit, and the next claim goes on from there."""
    bench = Bench()
    release = asyncio.Event()
    bench.script.steps["slow"] = held(release)
    bench.see("slow", "behind")
    async with bench.working() as running:
        lease = running.lease
        lease.closing = 10.0
        bench.log.wake()
        await settle()
        release.set()
        await settle()
        assert lease.released
        assert not running.task.done()
        await settle()
        assert bench.said() == ["slow", "behind"]


async def test_waiting_retries_do_not_hold_up_a_stop() -> None:
    """A lane that waits for its next attempt must not use up the budget."""
    bench = Bench()

    async def fails(_: OutcomeObserved, __: Context) -> Effects:
        raise TemporaryFailure("later")

    bench.script.steps["bad"] = fails
    bench.see("bad")
    async with bench.working() as running:
        running.stop.set()
        await settle()
        assert running.task.done()
    assert INPUT not in {topic for topic, _ in bench.log.positions}
