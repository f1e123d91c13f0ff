"""Crashes between any two lines, lost leases, commits of unknown end: nothing is lost and nothing is early."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.memory_log import Fault
from tests.support.worker_bench import INPUT, Bench, said, settle

from callgate.events.outcomes import OutcomeObserved
from callgate.log.port import Progress
from callgate.worker.effects import Context, Effects
from callgate.worker.worker import BrakeTripped


def staged(bench: Bench, acts: list[str]) -> None:
    """A claim, an act in the world, an end: the act must come after the claim is committed."""

    async def handle(event: OutcomeObserved, context: Context) -> Effects:
        name = event.outcome_id
        if context.table.get(f"claim/{name}") is not None:
            return Effects(publish=(said(f"doubt {name}"),), put={f"claim/{name}": None})

        async def act() -> Effects:
            if not await context.held():
                return Effects(publish=(said(f"withdrawn {name}"),), put={f"claim/{name}": None})
            assert bench.table.get(f"claim/{name}") == b"1", "acted before the claim was visible"
            acts.append(name)
            return Effects(publish=(said(f"end {name}"),), put={f"claim/{name}": None})

        return Effects(put={f"claim/{name}": b"1"}, then=act)

    bench.script.steps["one"] = handle


async def test_the_next_stage_starts_only_after_the_commit_of_the_one_before() -> None:
    """While the log holds a stage back, the next must not begin; the record is done with the last."""
    bench, acts = Bench(), list[str]()
    staged(bench, acts)
    bench.log.gate.clear()
    bench.see("one")
    async with bench.working():
        await settle()
        assert acts == []
        bench.log.gate.set()
        await settle()
        assert acts == ["one"]
    assert bench.said() == ["end one"]
    assert [unit.progress for unit in bench.log.units] == [{}, {INPUT: Progress(1)}]


@pytest.mark.parametrize("fault", ["lost", "unknown, kept", "unknown, dropped"])
@pytest.mark.parametrize("after", [0, 1])
async def test_a_lease_that_ends_in_a_commit_leaves_one_act_and_one_end(fault: Fault, after: int) -> None:
    """Whatever commit fails, and however, the act must happen at most once and the record must come to an end."""
    bench, acts = Bench(), list[str]()
    staged(bench, acts)
    if after:
        bench.log.faults.append("unavailable")
    bench.log.faults.append(fault)
    bench.see("one")
    async with bench.working():
        await settle()
        await bench.clock.advance(5)
        await settle()
    assert len(acts) <= 1
    assert len(bench.said()) == 1
    assert bench.log.positions[INPUT, 0] == Progress(1)
    assert bench.table == {}


async def test_a_crash_between_stages_delivers_the_record_again() -> None:
    """A lease that ends after the claim's commit must lead to a doubt, never to a second act."""
    bench, acts = Bench(), list[str]()
    staged(bench, acts)
    bench.log.gate.clear()
    bench.see("one")
    async with bench.working() as running:
        await settle()
        lease = running.lease
        bench.log.gate.set()
        bench.log.faults.append("unknown, kept")
        await settle()
        assert lease.ended
    assert acts == []
    assert bench.said() == ["doubt one"]


async def test_a_lease_lost_while_a_handler_runs_publishes_nothing_of_it() -> None:
    """What a handler returns after its lease is lost must not become visible, and its wait must be cut short."""
    bench = Bench()
    started = asyncio.Event()
    cancelled: list[str] = []

    async def slow(event: OutcomeObserved, context: Context) -> Effects:
        if context.epoch > 1:
            return Effects(publish=(said("second holder"),))
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(event.outcome_id)
            raise
        return Effects(publish=(said("zombie"),))

    bench.script.steps["one"] = slow
    bench.see("one")
    async with bench.working() as running:
        await started.wait()
        running.lease.take_away()
        await settle()
    assert cancelled == ["one"]
    assert bench.said() == ["second holder"]


async def test_a_handler_that_swallows_its_cancelling_is_still_not_published() -> None:
    """Even a handler that returns after it was cancelled must not get its effects out on a lost lease."""
    bench = Bench()
    tables: list[bytes | None] = []

    async def stubborn(_: OutcomeObserved, context: Context) -> Effects:
        if context.epoch > 1:
            tables.append(context.table.get("kind/zombie"))
            return Effects()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert not await context.held()
        return Effects(publish=(said("zombie"),), put={"kind/zombie": b"1"})

    bench.script.steps["one"] = stubborn
    bench.see("one")
    async with bench.working() as running:
        await settle()
        running.lease.take_away()
        await settle()
    assert bench.said() == []
    assert tables == [None]
    assert "kind/zombie" not in bench.table


async def test_a_log_that_is_away_is_asked_again_with_the_same_unit() -> None:
    """An unavailable log must delay effects, in their order, and lose none; meanwhile the worker is not ready."""
    bench = Bench()
    bench.log.faults.extend(["unavailable"] * 3)
    bench.see("one", "two")
    async with bench.working() as running:
        await settle()
        assert bench.said() == []
        assert not running.worker.health().ready
        await bench.clock.advance(10)
        await settle()
        assert bench.said() == ["one", "two"]
        assert running.worker.health().ready


async def test_a_defect_of_the_engine_ends_the_worker_with_its_name() -> None:
    """An error that the port does not know must not be swallowed."""
    bench = Bench()
    bench.see("one")
    bench.log._append = None  # type: ignore[method-assign,assignment]
    with pytest.raises(TypeError):
        async with bench.working():
            await settle()


async def test_a_cancellation_of_the_handler_s_own_making_is_a_defect_and_hangs_no_lane() -> None:
    """A handler that lets its own cancelled future escape must not leave its lane stuck."""
    bench = Bench()

    async def cancels(_: OutcomeObserved, __: Context) -> Effects:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future
        return Effects()

    bench.script.steps["one"] = cancels
    bench.see("one", "behind")
    async with bench.working():
        await settle()
    assert bench.said() == ["ended one", "behind"]


async def test_a_holder_that_does_not_know_of_its_loss_cannot_pull_the_brake() -> None:
    """What a holder of a lost lease gives up on out of old tables must neither stop the service nor count later."""
    bench = Bench().tune(brake_run=3)
    names = [f"one {number}" for number in range(9)]
    release = asyncio.Event()

    async def puzzled(event: OutcomeObserved, context: Context) -> Effects:
        if context.epoch > 1:
            return Effects(publish=(said(event.outcome_id),))
        await release.wait()
        raise RuntimeError("nothing in my tables explains this")

    for name in names:
        bench.script.steps[name] = puzzled
        bench.see(name, lane=name)
    async with bench.working() as running:
        await settle()
        bench.log.gate.clear()
        running.lease.ended = True  # and nobody tells it
        release.set()
        await settle()
        bench.log.gate.set()
        bench.log.wake()
        await settle()
        assert running.worker.health().ready
    assert sorted(bench.said()) == names


async def test_what_is_given_up_under_a_lease_that_is_held_still_pulls_the_brake() -> None:
    """An engine that says that the lease is held must not keep the brake from its work after an earlier loss."""
    bench = Bench().tune(brake_run=3)
    names = [f"bad {number}" for number in range(5)]

    async def bad(event: OutcomeObserved, context: Context) -> Effects:
        del event, context
        raise RuntimeError("a defect")

    for name in names:
        bench.script.steps[name] = bad
        bench.see(name, lane=name)
    bench.log.faults.append("lost")
    with pytest.raises(BrakeTripped):
        async with bench.working():
            await settle()
