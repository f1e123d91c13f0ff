"""Nothing starts on a stale yes, and nothing starts twice."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.support.execution_bench import Crash, ExecutionBench

from callgate.control.scopes import Switches
from callgate.events import topics
from callgate.events.actions import Status, Verdict
from callgate.failures import TemporaryFailure
from callgate.log.port import LeaseLost


def bench(**options: Any) -> ExecutionBench:
    """A bench with the one tool `pay`."""
    made = ExecutionBench()
    made.tool(**options)
    return made


async def test_an_allowed_call_runs_once_and_ends() -> None:
    """An allow is claimed, run and finished, with its output, and the claim leaves nothing behind but its end."""
    on = bench()
    await on.deliver(on.decided(on.proposed()))
    (end,) = on.ends()
    assert (end.status, end.via, bytes(end.output or b"")) == ("executed", "run", b'{"ok":true}')
    assert list(on.starts.values()) == [1]
    assert not [key for key in on.timers if key.startswith("horizon/")]


async def test_everything_delivered_twice_changes_nothing() -> None:
    """A repeat of any decision, at any time, starts and ends nothing more."""
    on = bench()
    review = on.decided(on.proposed(), "review")
    allow = on.decided(on.proposed(), by="approval", approval_id="apr_000_aaaaaaaaaaaaaaaaaaaaaaaa")
    for event in (review, review, allow, review, allow, allow, review):
        await on.deliver(event)
    assert on.statuses() == ["executed"]
    assert sum(on.starts.values()) == 1


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        ("block", "blocked"),
        ("reject", "rejected"),
        ("expire", "expired"),
        ("needs_context", "needs_context"),
        ("refuse", "refused"),
        ("respond", "responded"),
        ("settle", "not_executed"),
    ],
)
async def test_other_verdicts_end_unstarted(verdict: Verdict, status: Status) -> None:
    """Whatever is no allow ends with its own word, and starts nothing."""
    on = bench()
    await on.deliver(on.decided(on.proposed(), verdict))
    assert on.statuses() == [status]
    assert not on.starts


async def test_a_switch_kills_what_it_blocked_and_what_waits() -> None:
    """A stop ends what was decided before it as killed, and what the evaluator blocked because of it too."""
    on = bench()
    on.stop()
    await on.deliver(on.decided(on.proposed(0)))
    await on.deliver(on.decided(on.proposed(1), "block", by="control"))
    assert on.statuses() == ["killed", "killed"]
    assert not on.starts


async def test_unreadable_switches_start_nothing_and_end_nothing() -> None:
    """While nobody knows what the switches say the work waits; it is not killed for that."""
    on = bench()
    on.switches = Switches(readable=False)
    with pytest.raises(TemporaryFailure):
        await on.deliver(on.decided(on.proposed()))
    assert not on.published
    assert not on.starts


async def test_an_expired_yes_goes_back_to_be_evaluated_and_in_the_end_ends() -> None:
    """A stale decision is proposed again under the next attempt, a few times; the old one is then past."""
    on = bench()
    action = on.proposed()
    for attempt in range(2):
        decided = on.decided(action)
        await on.clock.advance(99.5)
        await on.deliver(decided)
        await on.deliver(decided)
        action = on.again()[attempt]
        assert (action.ref.attempt, action.cause) == (attempt + 1, "gate")
    decided = on.decided(action)
    await on.clock.advance(99.5)
    await on.deliver(decided)
    assert on.statuses() == ["not_executed"]
    assert not on.starts


async def test_altered_arguments_do_not_run() -> None:
    """The digest is computed anew from what would run: an event whose arguments were exchanged starts nothing."""
    on = bench()
    decided = on.decided(on.proposed())
    forged = msgspec.structs.replace(decided.action, arguments=msgspec.Raw(b'{"n":1000000}'))
    await on.deliver(msgspec.structs.replace(decided, action=forged))
    assert on.statuses() == ["not_executed"]
    assert not on.starts


async def test_a_changed_or_missing_tool_does_not_run() -> None:
    """A call that was proposed for another schema of the tool, or for none, starts nothing."""
    on = bench()
    await on.deliver(on.decided(on.proposed(0, tool_version="other")))
    await on.deliver(on.decided(on.proposed(1, tool="unknown")))
    assert on.statuses() == ["not_executed", "not_executed"]


async def test_constraints_that_the_tool_does_not_honour_start_nothing() -> None:
    """A demand that nobody will keep to is no yes, also where its shape is unknown."""
    on = bench()
    await on.deliver(on.decided(on.proposed(0), constraints=msgspec.Raw(b'{"max":1}')))
    await on.deliver(on.decided(on.proposed(1), constraints=msgspec.Raw(b'["max"]')))
    assert on.statuses() == ["not_executed", "not_executed"]


async def test_nothing_starts_after_the_lease_is_lost() -> None:
    """A zombie that committed its claim and then lost the lease does not start the tool."""
    on = bench()
    on.held = False
    with pytest.raises(LeaseLost):
        await on.deliver(on.decided(on.proposed()))
    assert not on.starts


async def test_a_claim_that_can_not_be_confirmed_is_withdrawn() -> None:
    """Where the log can't be asked after the claim, its own worker ends it unstarted: nobody else could know."""
    on = bench()
    on.held = TemporaryFailure("the log is away")
    await on.deliver(on.decided(on.proposed()))
    assert on.statuses() == ["not_executed"]
    assert not on.starts


@pytest.mark.parametrize("pause", [6.0, 1000.0])
async def test_a_worker_that_was_paused_after_its_claim_does_not_start(pause: float) -> None:
    """Past `start_by` or the decision's validity the claim ends unstarted."""
    on = bench()
    on.after_commit = lambda stage: object.__setattr__(on.clock, "_now", on.clock.now() + pause) if stage == 0 else None
    await on.deliver(on.decided(on.proposed()))
    assert on.statuses() == ["not_executed"]
    assert not on.starts


async def test_a_switch_set_after_the_claim_stops_the_start() -> None:
    """The switch is looked at again as the last act before the effect."""
    on = bench()
    on.after_commit = lambda stage: on.stop() if stage == 0 else None
    await on.deliver(on.decided(on.proposed()))
    assert on.statuses() == ["killed"]
    assert not on.starts


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


async def test_an_output_that_is_no_json_is_an_error_of_the_output() -> None:
    """The effect happened: it ends executed, and says that the output could not be used."""
    on = bench(behave=object)
    await on.deliver(on.decided(on.proposed()))
    (end,) = on.ends()
    assert (end.status, end.output) == ("executed", None)
    assert "not JSON" in (end.error or "")


async def test_an_output_over_the_limit_is_left_out() -> None:
    """A huge output does not keep the end off the log."""
    on = bench(behave=lambda: "x" * 2000)
    await on.deliver(on.decided(on.proposed()))
    (end,) = on.ends()
    assert (end.status, end.output) == ("executed", None)


async def test_what_a_tool_raises_is_its_error() -> None:
    """A tool's own exception ends as tool_error with its message and without a traceback."""

    def raising() -> None:
        raise RuntimeError("the bank said no")

    on = bench(behave=raising)
    await on.deliver(on.decided(on.proposed()))
    (end,) = on.ends()
    assert (end.status, end.error) == ("tool_error", "RuntimeError: the bank said no")


async def test_what_is_given_up_before_its_claim_ends() -> None:
    """A record that becomes a dead letter ends its action, unless that was claimed already."""
    on = bench()
    await on.give_up(on.decided(on.proposed()))
    assert on.statuses() == ["not_executed"]
    await on.give_up(on.decided(on.proposed()))
    assert on.statuses() == ["not_executed"]


async def test_what_is_given_up_after_its_claim_is_left_to_its_horizon() -> None:
    """Nobody says of a claimed action that it did not run."""
    on = bench()
    await crash_at(on, 1)
    await on.give_up(on.decided(on.proposed()))
    assert not on.published


async def test_ends_are_forgotten_after_the_identity_window() -> None:
    """State does not grow for ever."""
    on = bench()
    await on.deliver(on.decided(on.proposed()))
    await on.clock.advance(topics.IDENTITY_WINDOW + 1)
    await on.fire_due()
    assert not on.table.entries
    assert not on.timers


async def test_a_call_older_than_the_identity_window_does_not_run() -> None:
    """What could have been forgotten is refused."""
    on = bench()
    old = on.proposed(proposed_at=on.clock.now() - topics.IDENTITY_WINDOW - 1)
    await on.deliver(on.decided(old))
    assert on.statuses() == ["not_executed"]
