"""A claim whose end is not known is settled after its horizon: by what its process knows, or as the tool declares."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.execution_bench import SETTINGS, Crash, ExecutionBench

from callgate.control.scopes import Switches
from callgate.events.control import ControlChanged
from callgate.failures import TemporaryFailure
from callgate.log.port import LeaseLost
from callgate.worker.effects import Timer


def bench(**options: Any) -> ExecutionBench:
    """A bench with the one tool `pay`."""
    made = ExecutionBench()
    made.tool(**options)
    return made


async def crash_at(on: ExecutionBench, stage: int) -> None:
    """Deliver a call to a process that dies before it can commit `stage`, then start another one."""

    def die(at: int) -> None:
        if at == stage:
            raise Crash

    on.before_stage = die
    with pytest.raises(Crash):
        await on.deliver(on.decided(on.proposed()))
    on.before_stage = lambda _: None
    on.boot()


async def left_running() -> tuple[ExecutionBench, asyncio.Event]:
    """A bench whose one tool runs although the lease was lost under it, and what lets it come to its end."""
    gate, begun = asyncio.Event(), asyncio.Event()

    async def wait() -> str:
        begun.set()
        await gate.wait()
        return "done"

    on = bench(behave=wait)
    delivered = asyncio.create_task(on.deliver(on.decided(on.proposed())))
    await begun.wait()
    delivered.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivered
    return on, gate


@pytest.mark.parametrize("effect", ["read", "idempotent", "verifiable", "unsafe"])
async def test_a_crash_before_the_claim_is_no_claim(effect: Any) -> None:
    """What was not committed did not happen: the record is delivered again and runs for the first time."""
    on = bench(effect=effect, **({"probe": lambda _call, _arguments: True} if effect == "verifiable" else {}))
    await crash_at(on, 0)
    assert not on.starts
    await on.deliver(on.decided(on.proposed()))
    assert on.statuses() == ["executed"]
    assert sum(on.starts.values()) == 1


async def test_an_unsafe_tool_is_never_started_again_after_a_crash() -> None:
    """A crash after the start leaves a claim: before its horizon nobody touches it, then it is in doubt, once."""
    on = bench()
    await crash_at(on, 1)
    await on.deliver(on.decided(on.proposed()))
    await on.clock.advance(30.0)
    await on.fire_due()
    assert not on.published
    await on.clock.advance(7.0)
    await on.fire_due()
    await on.fire_due()
    await on.deliver(on.decided(on.proposed()))
    assert len(on.doubts()) == 1
    assert not on.ends()
    assert sum(on.starts.values()) == 1


@pytest.mark.parametrize("effect", ["read", "idempotent"])
async def test_a_harmless_tool_is_started_again_after_a_crash(effect: Any) -> None:
    """A tool that says that another start is harmless is started again once the horizon has passed, and ends."""
    on = bench(effect=effect)
    await crash_at(on, 1)
    await on.clock.advance(37.0)
    await on.fire_due()
    assert on.statuses() == ["executed"]
    assert sum(on.starts.values()) == 2


@pytest.mark.parametrize(
    ("found", "status", "doubts"), [(True, "executed", 0), (False, "not_executed", 0), (None, None, 1)]
)
async def test_a_verifiable_tool_is_probed_after_a_crash(found: Any, status: Any, doubts: int) -> None:
    """The probe settles what it can tell; what it can't tell is in doubt, and asked again later."""
    on = bench(effect="verifiable", probe=lambda _call, _arguments: found)
    await crash_at(on, 1)
    await on.clock.advance(37.0)
    await on.fire_due()
    assert on.statuses() == ([status] if status else [])
    assert len(on.doubts()) == doubts
    assert sum(on.starts.values()) == 1
    await on.clock.advance(61.0)
    await on.fire_due()
    assert len(on.doubts()) == doubts


async def test_a_process_that_lost_its_lease_knows_how_its_own_tool_ended() -> None:
    """Where the claim comes back to the process that ran the tool, it ends with what the tool said, without a start."""
    on = bench()

    def lose(stage: int) -> None:
        if stage == 1:
            raise LeaseLost("taken away while the tool ran")

    on.before_stage = lose
    with pytest.raises(LeaseLost):
        await on.deliver(on.decided(on.proposed()))
    on.before_stage = lambda _: None
    await on.deliver(on.decided(on.proposed()))
    assert on.statuses() == ["executed"]
    assert not on.doubts()
    assert sum(on.starts.values()) == 1


async def test_a_claim_that_its_own_process_never_used_is_withdrawn_after_its_horizon() -> None:
    """A worker that knows that its own token never started a tool may claim again; nobody else may know that."""
    on = bench()
    on.held = False
    with pytest.raises(LeaseLost):
        await on.deliver(on.decided(on.proposed()))
    on.held = True
    await on.deliver(on.decided(on.proposed()))
    assert not on.published
    await on.clock.advance(37.0)
    await on.fire_due()
    assert on.statuses() == ["executed"]
    assert sum(on.starts.values()) == 1


async def test_a_tool_goes_on_when_its_lease_is_lost() -> None:
    """A running tool is not cut off: it comes to its own end, and its process knows it."""
    on, gate = await left_running()
    gate.set()
    for _ in range(5):
        await asyncio.sleep(0)
    await on.deliver(on.decided(on.proposed()))
    assert on.statuses() == ["executed"]
    assert sum(on.starts.values()) == 1


async def test_a_time_out_is_in_doubt_not_failed() -> None:
    """A tool that does not answer in time may have had its effect."""

    async def hang() -> None:
        await asyncio.sleep(3600)

    on = bench(timeout_seconds=0.01, behave=hang)
    await on.deliver(on.decided(on.proposed()))
    assert not on.ends()
    assert len(on.doubts()) == 1


async def test_a_time_out_of_the_tools_own_is_in_doubt_too() -> None:
    """A tool that reports that its own call timed out knows as little of the effect."""

    def raising() -> None:
        raise TimeoutError

    on = bench(behave=raising)
    await on.deliver(on.decided(on.proposed()))
    assert not on.ends()
    assert len(on.doubts()) == 1


async def test_a_time_out_without_effect_is_an_error() -> None:
    """A tool that has no effect leaves nothing to be in doubt about."""

    def raising() -> None:
        raise TimeoutError

    on = bench(effect="read", behave=raising)
    await on.deliver(on.decided(on.proposed()))
    assert on.statuses() == ["tool_error"]


async def test_an_idempotent_tool_that_timed_out_is_tried_again_and_doubted_once() -> None:
    """Its doubt is said once, whatever is tried afterwards; tries are bounded."""

    def raising() -> None:
        raise TimeoutError

    on = bench(effect="idempotent", behave=raising)
    await on.deliver(on.decided(on.proposed()))
    for _ in range(5):
        await on.clock.advance(10.0)
        await on.fire_due()
    assert len(on.doubts()) == 1
    assert sum(on.starts.values()) == 3
    assert not on.ends()


async def test_what_is_given_up_after_its_claim_is_left_to_its_horizon() -> None:
    """Nobody says of a claimed action that it did not run."""
    on = bench()
    await crash_at(on, 1)
    await on.give_up(on.decided(on.proposed()))
    assert not on.published


def hold(on: ExecutionBench) -> None:
    """Hold everything."""
    change = ControlChanged(kind="hold", changed_by="op", changed_at=0.0)
    on.switches = on.switches.apply(change, on.switches.epoch + 1)


@pytest.mark.parametrize("refusal", ["stop", "hold", "pause", "unreachable"])
async def test_a_refused_second_start_does_not_deny_the_first(refusal: str) -> None:
    """Where another start is refused after its claim, the earlier one may still have had its effect: that is doubt."""
    on = bench(effect="idempotent")
    await crash_at(on, 1)
    await on.clock.advance(37.0)

    def refuse(stage: int) -> None:
        if stage == 0 and refusal == "stop":
            on.stop()
        if stage == 0 and refusal == "hold":
            hold(on)
        if stage == 0 and refusal == "pause":
            object.__setattr__(on.clock, "_now", on.clock.now() + SETTINGS.start_seconds + 1)
        if stage == 0 and refusal == "unreachable":
            on.held = TemporaryFailure("the log is away")

    on.after_commit = refuse
    await on.fire_due()
    assert not on.ends()
    assert len(on.doubts()) == 1
    assert sum(on.starts.values()) == 1


async def test_a_refused_second_look_does_not_deny_the_first() -> None:
    """A read that was started and may not be started again ends as an error that says so, not as never started."""
    on = bench(effect="read")
    await crash_at(on, 1)
    await on.clock.advance(37.0)
    on.after_commit = lambda _: on.stop()
    await on.fire_due()
    assert on.statuses() == ["tool_error"]
    assert "was started and did not answer" in str(on.ends()[0].error)
    assert sum(on.starts.values()) == 1


async def test_a_hold_puts_off_another_start_and_says_that_it_is_in_doubt() -> None:
    """What may be started again is in doubt while it is held, and is started again once the hold is lifted."""
    on = bench(effect="idempotent")
    await crash_at(on, 1)
    hold(on)
    await on.clock.advance(37.0)
    await on.fire_due()
    assert len(on.doubts()) == 1
    assert not on.ends()
    on.switches = Switches()
    await on.clock.advance(61.0)
    await on.fire_due()
    assert on.statuses() == ["executed"]
    assert len(on.doubts()) == 1


async def test_a_read_is_never_in_doubt() -> None:
    """A tool without effect that never answers ends as an error of its own, after a few starts."""
    on = bench(effect="read")
    for _ in range(3):
        on.before_stage = _dying
        with pytest.raises(Crash):
            await (on.fire_due() if on.table.entries else on.deliver(on.decided(on.proposed())))
        on.before_stage = lambda _: None
        on.boot()
        await on.clock.advance(37.0)
    await on.fire_due()
    assert on.statuses() == ["tool_error"]
    assert not on.doubts()
    assert sum(on.starts.values()) == SETTINGS.attempts


def _dying(stage: int) -> None:
    if stage == 1:
        raise Crash


async def test_a_tool_that_no_longer_declares_itself_harmless_is_not_started_again() -> None:
    """What the event says of the tool's effect counts only as long as the tool itself still says so."""
    on = bench()
    action = on.proposed(effect="idempotent")
    on.before_stage = _dying
    with pytest.raises(Crash):
        await on.deliver(on.decided(action))
    on.before_stage = lambda _: None
    on.boot()
    await on.clock.advance(37.0)
    await on.fire_due()
    assert len(on.doubts()) == 1
    assert sum(on.starts.values()) == 1


async def test_no_run_outlasts_the_time_out_that_its_horizon_was_reckoned_with() -> None:
    """A time-out that was raised after the call was proposed does not reach beyond the claim's horizon."""

    async def hang() -> None:
        await asyncio.sleep(3600)

    on = bench(timeout_seconds=3000.0, behave=hang)
    await on.deliver(on.decided(on.proposed(timeout_seconds=0.01)))
    assert len(on.doubts()) == 1


async def test_a_lost_time_out_is_remembered_with_its_thread() -> None:
    """Where the lease was lost while a tool timed out, its own process says the doubt, and knows its horizon."""

    def raising() -> None:
        raise TimeoutError

    on = bench(effect="verifiable", probe=lambda _call, _arguments: False, behave=raising)

    def lose(stage: int) -> None:
        if stage == 1:
            raise LeaseLost("taken away while the tool ran")

    on.before_stage = lose
    with pytest.raises(LeaseLost):
        await on.deliver(on.decided(on.proposed()))
    on.before_stage = lambda _: None
    await on.deliver(on.decided(on.proposed()))
    (doubt,) = on.doubts()
    assert doubt.horizon == doubt.doubted_at + SETTINGS.skew_seconds
    await on.clock.advance(2.0)
    await on.fire_due()
    assert on.statuses() == ["not_executed"]


async def test_an_open_claim_is_never_forgotten() -> None:
    """However old a doubt is, forgetting it would let the call be claimed once more."""
    on = bench()
    await crash_at(on, 1)
    await on.clock.advance(37.0)
    await on.fire_due()
    kept = dict(on.table.entries)
    assert kept
    on.timers.update({f"forget/{key}": _forgetting(on, key) for key in kept if key.startswith("act/")})
    await on.clock.advance(1.0)
    before = on.clock.now()
    await on.fire_due()
    assert on.table.entries == kept
    assert all(timer.due > before for timer in on.timers.values())


def _forgetting(on: ExecutionBench, key: str) -> Timer:
    return Timer(f"forget/{key}", "any", on.clock.now())


async def test_a_claim_past_its_horizon_ends_with_what_its_own_process_knows() -> None:
    """Where nothing is delivered again, the horizon brings the end: the tool is not started again for it."""
    on = bench()

    def lose(stage: int) -> None:
        if stage == 1:
            raise LeaseLost("taken away while the tool ran")

    on.before_stage = lose
    with pytest.raises(LeaseLost):
        await on.deliver(on.decided(on.proposed()))
    on.before_stage = lambda _: None
    await on.clock.advance(37.0)
    await on.fire_due()
    assert on.statuses() == ["executed"]
    assert sum(on.starts.values()) == 1


async def test_a_tool_that_still_runs_here_past_its_horizon_is_waited_for() -> None:
    """Its own process knows that it has not come back: it says nothing, and looks again."""
    on, gate = await left_running()
    await on.clock.advance(37.0)
    await on.fire_due()
    assert not on.published
    gate.set()
    await on.clock.advance(2.0)
    await on.fire_due()
    assert on.statuses() == ["executed"]
    assert sum(on.starts.values()) == 1
