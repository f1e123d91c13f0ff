"""Reminders and levels at the handler: one after the other, once each, also after days of downtime."""

from __future__ import annotations

from tests.support.approval_values import APPROVAL, DEADLINE, NOW, cast, deadline, question
from tests.support.handler_bench import HandlerBench

from callgate.approvals.handler import ApprovalHandler
from callgate.clock import ManualClock
from callgate.events.actions import ActionDecided
from callgate.events.approvals import (
    ApprovalDue,
    ApprovalEscalated,
    ApprovalReminded,
    ApprovalRequested,
    ApprovalResolved,
    EscalationLevel,
)
from callgate.events.event import Event
from callgate.settings import ApprovalSettings, TelemetrySettings
from callgate.telemetry.metrics import Metrics

NEXT = f"next/{APPROVAL}"


def _bench() -> HandlerBench:
    settings = ApprovalSettings(trusted=True, valid_seconds=120)
    return HandlerBench(ApprovalHandler(settings, Metrics(TelemetrySettings())), clock=ManualClock(NOW))


def _asked() -> ApprovalRequested:
    return question(
        eligible=("lee",),
        reminders=(NOW + 10, NOW + 40),
        escalation=(EscalationLevel(at=NOW + 20, approvers=("ann",)),),
    )


async def _played(bench: HandlerBench) -> list[Event]:
    """Let the timer of the next moment fire, and read what it wrote, until it is set no more."""
    published: list[Event] = []
    while NEXT in bench.timers:
        for moment in await bench.fire(NEXT):
            published += await bench.deliver(moment)
    return published


def _named(events: list[Event]) -> list[tuple[str, int]]:
    return [
        ("level", event.level) if isinstance(event, ApprovalEscalated) else ("reminder", event.ordinal)
        for event in events
        if isinstance(event, ApprovalEscalated | ApprovalReminded)
    ]


async def test_each_moment_sets_the_timer_of_the_next() -> None:
    """One timer at a time, for the moment itself; reading the moment announces it and sets the next."""
    bench = _bench()
    await bench.deliver(_asked())
    assert bench.timers[NEXT].due == NOW + 10
    (moment,) = await bench.fire(NEXT)
    assert isinstance(moment, ApprovalDue)
    assert (moment.kind, moment.ordinal, moment.due_at) == ("reminder", 1, NOW + 10)
    (told,) = await bench.deliver(moment)
    assert isinstance(told, ApprovalReminded)
    assert (told.ordinal, told.reminded_at, told.deadline) == (1, NOW + 10, DEADLINE)
    assert bench.timers[NEXT].due == NOW + 20


async def test_all_come_in_the_order_of_their_times() -> None:
    """Reminders and levels are one sequence; a level names the people that it adds."""
    bench = _bench()
    await bench.deliver(_asked())
    events = await _played(bench)
    assert _named(events) == [("reminder", 1), ("level", 1), ("reminder", 2)]
    assert isinstance(events[1], ApprovalEscalated)
    assert events[1].eligible == ("ann",)


async def test_a_moment_read_twice_is_announced_once() -> None:
    """A repeat publishes nothing, and does not move the timer of the next."""
    bench = _bench()
    await bench.deliver(_asked())
    (moment,) = await bench.fire(NEXT)
    assert len(await bench.deliver(moment)) == 1
    assert await bench.deliver(moment) == []
    assert bench.timers[NEXT].due == NOW + 20


async def test_what_the_deadline_overtakes_is_announced_before_the_end() -> None:
    """After a downtime the deadline may be read first: what was due before it comes first all the same, and once."""
    bench = _bench()
    await bench.deliver(_asked())
    await bench.clock.advance(5 * 86_400)
    (late,) = await bench.fire(NEXT)
    events = await bench.deliver(deadline())
    assert [type(event) for event in events[-2:]] == [ApprovalResolved, ActionDecided]
    assert _named(events) == [("reminder", 1), ("level", 1), ("reminder", 2)]
    assert await bench.deliver(late) == []
    assert NEXT not in bench.timers


async def test_an_answer_ends_all_reminding() -> None:
    """What is resolved reminds nobody: its timer is gone, and a moment on its way is read in vain."""
    bench = _bench()
    await bench.deliver(_asked())
    (moment,) = await bench.fire(NEXT)
    await bench.deliver(cast())
    assert NEXT not in bench.timers
    assert await bench.deliver(moment) == []


async def test_a_question_without_moments_has_no_such_timer() -> None:
    """Who wants no reminders pays for none."""
    bench = _bench()
    await bench.deliver(question())
    assert NEXT not in bench.timers
