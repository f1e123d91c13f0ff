"""Days of downtime: what came due happens once and in order, and a vote in time counts before its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from tests.support.approval_values import DIGEST, proposed, question

from callgate.approvals.service import build
from callgate.clock import SystemClock
from callgate.control.view import ControlView
from callgate.events import ids, topics
from callgate.events.actions import ActionDecided
from callgate.events.approvals import (
    ApprovalEscalated,
    ApprovalReminded,
    ApprovalRequested,
    ApprovalResolved,
    ApprovalVoted,
    EscalationLevel,
)
from callgate.events.codec import decode, encode
from callgate.events.event import Event
from callgate.events.routing import address
from callgate.log.address import open_log
from callgate.log.port import Log, Outgoing
from callgate.log.sqlite.hostile import Hostility
from callgate.settings import ApprovalSettings, Settings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.host import Host
from callgate.worker.worker import Worker

_KINDS = pytest.mark.parametrize("seed", [None, 1, 2], ids=["plain", "hostile 1", "hostile 2"])
_MANY = 24
_DAY = 86_400.0


class _Ahead(SystemClock):
    """The machine's clock, set forward by hand: a wait still takes as long as it takes."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        """See `Clock.now`."""
        return super().now() + self.ahead


@asynccontextmanager
async def _log(path: Path, clock: _Ahead, seed: int | None) -> AsyncIterator[Log]:
    hostile = None if seed is None else Hostility(seed=seed)
    log = await open_log(f"sqlite:///{path}", clock=clock, hostile=hostile)
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def _serving(log: Log, clock: _Ahead) -> AsyncIterator[None]:
    settings = Settings(approval=ApprovalSettings(trusted=True))
    metrics = Metrics(TelemetrySettings())
    host = Host(log=log, clock=clock, settings=settings, metrics=metrics, control=ControlView(log))
    stop = asyncio.Event()
    (job,) = build(host)
    worker = Worker(log, job, settings=settings.worker, clock=clock, metrics=metrics, jitter=lambda: 0.5)
    running = asyncio.create_task(worker.run(stop))
    try:
        yield
    finally:
        stop.set()
        await running


def _asked(number: int, partitions: int, now: float) -> ApprovalRequested:
    turn = ids.turn_key(number % partitions, "acme", f"s{number}", "1")
    action = proposed()
    ref = msgspec.structs.replace(action.ref, id=ids.action_id(turn, 0, 0, "c"), turn_key=turn, session=f"s{number}")
    return question(
        approval_id=ids.approval_id(number % partitions, ref.id, 1, 0, "action"),
        action=msgspec.structs.replace(action, ref=ref),
        requested_at=now,
        deadline=now + _DAY,
        eligible=("lee",),
        reminders=(now + 100, now + 40_000),
        escalation=(EscalationLevel(at=now + 20_000, approvers=("ann",)),),
    )


async def _write(log: Log, event: Event) -> None:
    at = address(event, log.partitions)
    value, headers = encode(event, source="test", time=0.0)
    await log.publish([Outgoing(at.topic, at.partition, at.key.encode(), value, headers)])


async def _all(log: Log, topic: topics.Topic) -> list[Event]:
    found: list[Event] = []
    for partition in range(log.partitions):
        found += [decode(each.value, each.headers).event async for each in log.scan(topic.name, partition)]
    return found


async def _until(done: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not await done():  # noqa: ASYNC110 - the log tells nobody outside
            await asyncio.sleep(0.05)


async def _ended(log: Log, how_many: int) -> None:
    async def enough() -> bool:
        return len(await _all(log, topics.DECIDED)) >= how_many

    await _until(enough)


async def _counted(log: Log, clock: _Ahead) -> list[ApprovalRequested]:
    """Questions that the tally has taken up before it went down."""
    asked = [_asked(number, log.partitions, clock.now()) for number in range(_MANY)]
    async with _serving(log, clock):
        for each in asked:
            await _write(log, each)

        async def all_counted() -> bool:
            known = [key async for _, key, _ in log.tables("approvals") if key.startswith("request/")]
            return len(known) == _MANY

        await _until(all_counted)
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


@_KINDS
async def test_what_came_due_in_a_downtime_happens_once_and_in_order(tmp_path: Path, seed: int | None) -> None:
    """Three days after the questions were counted: both reminders, the level between them, and then the expiry."""
    clock = _Ahead()
    async with _log(tmp_path / "log.db", clock, seed) as log:
        asked = await _counted(log, clock)
        clock.ahead = 3 * _DAY
        async with _serving(log, clock):
            await _ended(log, _MANY)
        resolved = await _all(log, topics.RESOLVED)
        for each in asked:
            assert _told(resolved, each.approval_id) == [
                ("reminder", 1),
                ("level", 1),
                ("reminder", 2),
                ("expired", 0),
            ]


@_KINDS
async def test_a_vote_cast_in_time_counts_however_long_nobody_counted(tmp_path: Path, seed: int | None) -> None:
    """Votes appended in time on any partition of the entrance are counted before the deadlines that passed since."""
    clock = _Ahead()
    async with _log(tmp_path / "log.db", clock, seed) as log:
        asked = await _counted(log, clock)
        clock.ahead = 30_000.0
        for place, each in enumerate(asked):
            vote = ApprovalVoted(
                vote_id="1", approval_id=each.approval_id, digest=DIGEST, answer="approve", approver="ann"
            )
            value, headers = encode(vote, source="test", time=0.0)
            entrance = (place * 3 + 1) % log.partitions
            await log.publish([Outgoing(topics.VOTES.name, entrance, None, value, headers)])
        clock.ahead = 3 * _DAY
        async with _serving(log, clock):
            await _ended(log, _MANY)
        decided = [event for event in await _all(log, topics.DECIDED) if isinstance(event, ActionDecided)]
        assert {event.decision.verdict for event in decided} == {"allow"}
        assert len(decided) == _MANY
