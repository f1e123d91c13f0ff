"""Nothing starts on a stale yes, and nothing starts twice."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs
from tests.support.execution_bench import SETTINGS, ExecutionBench

from callgate.control.scopes import Switches
from callgate.events import topics
from callgate.events.actions import ActionFinished, Status, Verdict
from callgate.events.codec import encode
from callgate.events.control import ControlChanged
from callgate.executor import ending
from callgate.executor.ending import Place
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


@pytest.mark.usefixtures("every_level_is_logged")
async def test_a_changed_or_missing_tool_does_not_run() -> None:
    """A call that was proposed for another schema of the tool, or for none, starts nothing; the operator is told."""
    on = bench()
    with capture_logs() as logs:
        await on.deliver(on.decided(on.proposed(0, tool_version="other")))
        await on.deliver(on.decided(on.proposed(1, tool="unknown")))
        await on.deliver(on.decided(on.proposed(2), "block"))
    assert on.statuses() == ["not_executed", "not_executed", "blocked"]
    assert [(each["event"], each["tool"]) for each in logs] == [("not started", "pay"), ("not started", "unknown")]


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


def _hold(on: ExecutionBench, *, unclear: bool) -> None:
    change = ControlChanged(kind="hold", changed_by="op", changed_at=0.0)
    on.switches = on.switches.misread(b"x", 0) if unclear else on.switches.apply(change, 0)


@pytest.mark.parametrize("unclear", [False, True])
async def test_a_hold_set_after_the_claim_puts_the_start_off(*, unclear: bool) -> None:
    """Nothing starts once a hold is known, nor a record that may be a stop: the call is decided anew, and then runs."""
    on = bench()
    on.after_commit = lambda stage: _hold(on, unclear=unclear) if stage == 0 else None
    await on.deliver(on.decided(on.proposed()))
    assert not on.starts
    assert not on.ends()
    (again,) = on.again()
    assert (again.ref.attempt, again.cause) == (1, "gate")
    on.after_commit, on.switches = lambda _: None, Switches()
    await on.clock.advance(1000.0)
    await on.fire_due()
    await on.deliver(on.decided(again))
    assert on.statuses() == ["executed"]
    assert sum(on.starts.values()) == 1


async def test_holds_after_every_claim_end_the_call_unstarted() -> None:
    """A call that was held again and again after its claims is not tried for ever."""
    on = bench()
    action = on.proposed()
    for attempt in range(SETTINGS.attempts):
        on.switches = Switches()
        on.after_commit = lambda stage: _hold(on, unclear=False) if stage == 0 else None
        await on.deliver(on.decided(action))
        action = on.again()[-1] if attempt + 1 < SETTINGS.attempts else action
    assert on.statuses() == ["not_executed"]
    assert not on.starts


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


@pytest.mark.parametrize("better", [0, 400_000, 990_000])
def test_an_end_always_fits_into_a_record(better: int) -> None:
    """Whatever the decision carries, its better action and then the output give way: an end is never lost."""
    on = bench()
    raw = msgspec.Raw(b'"' + b"y" * better + b'"') if better else None
    decided = on.decided(on.proposed(), better_action=raw, constraints=msgspec.Raw(b'{"max":1}'))
    encode(decided, source="test", time=0.0)
    place = Place.at_home(decided.action)
    for length in (10, 250_000, 700_000, 999_990):
        effects = ending.end(
            decided, place, on.table, now=1.0, status="executed", via="run",
            output=b'"' + b"x" * length + b'"', error="\x01" * 1000 if length == 10 else None,
        )  # fmt: skip
        (event,) = [each.event for each in effects.publish]
        assert isinstance(event, ActionFinished)
        encode(event, source="test", time=0.0)
        assert (event.output is None) == (length == 999_990)
        assert event.output is not None or "too large" in (event.error or "")
        assert (event.decision.better_action is None) == (not better or length + better > 990_100)


async def test_what_a_tool_raises_is_its_error() -> None:
    """A tool's own exception ends as tool_error with its message and without a traceback."""

    def raising() -> None:
        raise RuntimeError("the bank said no")

    on = bench(behave=raising)
    await on.deliver(on.decided(on.proposed()))
    (end,) = on.ends()
    assert (end.status, end.error) == ("tool_error", "RuntimeError: the bank said no")


@pytest.mark.parametrize("kind", [OSError, TimeoutError])
async def test_an_error_that_is_no_unicode_ends_its_call(kind: type[Exception]) -> None:
    """Names of files and output of programs may hold what no JSON can: it is written out, and nothing hangs."""

    def raising() -> None:
        raise kind("no file \udcff")

    on = bench(behave=raising)
    await on.deliver(on.decided(on.proposed()))
    said = [*(end.error for end in on.ends()), *(doubt.reason for doubt in on.doubts())]
    assert ["no file \\udcff" in (each or "") for each in said] == [True]


async def test_what_is_given_up_before_its_claim_ends() -> None:
    """A record that becomes a dead letter ends its action, unless that was claimed already."""
    on = bench()
    await on.give_up(on.decided(on.proposed()))
    assert on.statuses() == ["not_executed"]
    await on.give_up(on.decided(on.proposed()))
    assert on.statuses() == ["not_executed"]


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


async def test_people_may_allow_a_call_whose_constraints_are_not_kept() -> None:
    """A review because of constraints is no dead end: whoever approves it has seen them, and the tool is told them."""
    on = bench()
    allow = on.decided(
        on.proposed(),
        by="approval",
        approval_id="apr_000_aaaaaaaaaaaaaaaaaaaaaaaa",
        constraints=msgspec.Raw(b'{"max":1}'),
    )
    await on.deliver(allow)
    assert on.statuses() == ["executed"]
