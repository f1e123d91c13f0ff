"""Days of downtime: what came due happens once and in order, and a vote in time counts before its deadline."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from tests.support.approval_values import numbered_question, vote
from tests.support.log_engines import Engine
from tests.support.serving import everything, serving, until, until_there, write, write_at

from callgate.approvals.service import build
from callgate.clock import SystemClock
from callgate.events import topics
from callgate.events.actions import ActionDecided
from callgate.events.approvals import (
    ApprovalEscalated,
    ApprovalReminded,
    ApprovalRequested,
    ApprovalResolved,
    EscalationLevel,
)
from callgate.events.event import Event
from callgate.log.port import Log
from callgate.settings import ApprovalSettings, Settings

_MANY = 24
_DAY = 86_400.0


class _Shifted(SystemClock):
    """The machine's clock, set by hand: a wait still takes as long as it takes."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead

    def now(self) -> float:
        """See `Clock.now`."""
        return super().now() + self.ahead


def _serving(log: Log, clock: _Shifted) -> AbstractAsyncContextManager[object]:
    return serving(log, Settings(approval=ApprovalSettings(trusted=True)), build, clock)


def _asked(number: int, partitions: int, now: float) -> ApprovalRequested:
    return numbered_question(
        number,
        partitions,
        now,
        _DAY,
        eligible=("lee",),
        reminders=(now + 100, now + 40_000),
        escalation=(EscalationLevel(at=now + 20_000, approvers=("ann",)),),
    )


async def _counted(log: Log, clock: _Shifted) -> list[ApprovalRequested]:
    """Questions that the approvals have taken in before they went down."""
    asked = [_asked(number, log.partitions, clock.now()) for number in range(_MANY)]
    async with _serving(log, clock):
        await write(log, *asked)

        async def counted() -> bool:
            known = [key async for _, key, _ in log.tables("approvals") if key.startswith("request/")]
            return len(known) == _MANY

        await until(counted)
    return asked


def _told(events: list[Event], approval_id: str) -> list[tuple[str, int]]:
    """What was announced of one approval, and its end, in the order of the log."""
    found: list[tuple[str, int]] = []
    for event in events:
        match event:
            case ApprovalReminded() if event.approval_id == approval_id:
                found.append(("reminder", event.ordinal))
            case ApprovalEscalated() if event.approval_id == approval_id:
                found.append(("level", event.level))
            case ApprovalResolved() if event.approval_id == approval_id:
                found.append((event.resolution, 0))
            case _:
                continue
    return found


async def test_what_came_due_in_a_downtime_happens_once_and_in_order(engine: Engine) -> None:
    """Three days after the questions were counted: both reminders, the level between them, and then the expiry."""
    engine.clock = clock = _Shifted(-3 * _DAY)
    log = await engine.open()
    asked = await _counted(log, clock)
    clock.ahead = 0.0
    async with _serving(log, clock):
        await until_there(log, topics.DECIDED, _MANY)
    resolved = await everything(log, topics.RESOLVED)
    for each in asked:
        assert _told(resolved, each.approval_id) == [("reminder", 1), ("level", 1), ("reminder", 2), ("expired", 0)]


async def test_a_vote_cast_in_time_counts_however_long_nobody_counted(engine: Engine) -> None:
    """Votes appended in time on any partition of the entrance are counted before the deadlines that passed since."""
    # The brokers date the votes by their own clock: so now is when they are cast, and the questions are of before.
    engine.clock = clock = _Shifted(600.0 - _DAY)
    log = await engine.open()
    asked = await _counted(log, clock)
    clock.ahead = 0.0
    for place, each in enumerate(asked):
        cast = vote(approver="ann", approval_id=each.approval_id)
        await write_at(log, topics.VOTES, (place * 3 + 1) % log.partitions, cast)
    # Brokers refuse what is dated more than an hour after their own time.
    clock.ahead = 1800.0 if engine.on_kafka else 3 * _DAY
    async with _serving(log, clock):
        await until_there(log, topics.DECIDED, _MANY)
    decided = [event for event in await everything(log, topics.DECIDED) if isinstance(event, ActionDecided)]
    assert {event.decision.verdict for event in decided} == {"allow"}
    assert len(decided) == _MANY
