"""Approvals and reporter over the real worker and log, plain and hostile: once, whatever is repeated."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.support.approval_values import DIGEST, proposed, question, review

from callgate.approvals.service import build as approvals
from callgate.bighub.client import Bighub
from callgate.bighub.requests import EvaluateRequest
from callgate.client.client import Client
from callgate.clock import Clock, SystemClock
from callgate.control.view import ControlView
from callgate.events import ids, topics
from callgate.events.actions import ActionDecided, ActionFinished, ActionProposed
from callgate.events.approvals import ApprovalRequested, ApprovalResolved, ApprovalVoted
from callgate.events.codec import decode, encode
from callgate.events.event import Event
from callgate.events.outcomes import OutcomeObserved
from callgate.events.routing import address
from callgate.log.address import open_log
from callgate.log.port import Log, Outgoing
from callgate.log.sqlite.hostile import Hostility
from callgate.reporter.service import build as reporter
from callgate.sandbox.service import Sandbox
from callgate.settings import ApprovalSettings, BighubSettings, Secret, Settings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.host import Host
from callgate.worker.job import Job
from callgate.worker.worker import Worker

_KINDS = pytest.mark.parametrize("seed", [None, 1, 2], ids=["plain", "hostile 1", "hostile 2"])
_MANY = 24


@asynccontextmanager
async def _running(seed: int | None, build: Callable[[Host], Sequence[Job]]) -> AsyncIterator[Log]:
    """A log in memory with the jobs' workers on it."""
    clock = SystemClock()
    hostile = None if seed is None else Hostility(seed=seed)
    log = await open_log("sqlite://:memory:", clock=clock, hostile=hostile)
    settings = Settings(approval=ApprovalSettings(trusted=True))
    metrics = Metrics(TelemetrySettings())
    host = Host(log=log, clock=clock, settings=settings, metrics=metrics, control=ControlView(log))
    stop = asyncio.Event()
    workers = [
        Worker(log, job, settings=settings.worker, clock=clock, metrics=metrics, jitter=lambda: 0.5)
        for job in build(host)
    ]
    running = [asyncio.create_task(worker.run(stop)) for worker in workers]
    try:
        yield log
    finally:
        stop.set()
        await asyncio.gather(*running)
        await log.close()


async def _write(log: Log, *events: Event) -> None:
    for event in events:
        at = address(event, log.partitions)
        value, headers = encode(event, source="test", time=0.0)
        await log.publish([Outgoing(at.topic, at.partition, at.key.encode(), value, headers)])


async def _all(log: Log, topic: topics.Topic) -> list[Event]:
    found: list[Event] = []
    for partition in range(log.partitions):
        found += [decode(each.value, each.headers).event async for each in log.scan(topic.name, partition)]
    return found


async def _until(done: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Ask again and again, as a stranger to the process would have to."""
    async with asyncio.timeout(seconds):
        while not await done():  # noqa: ASYNC110 - the log tells nobody outside
            await asyncio.sleep(0.05)


def _action(number: int, partitions: int) -> ActionProposed:
    turn = ids.turn_key(number % partitions, "acme", f"s{number}", "1")
    action = proposed()
    ref = msgspec.structs.replace(
        action.ref, id=ids.action_id(turn, 0, 0, "c"), turn_key=turn, session=f"s{number}", tool=f"tool{number % 3}"
    )
    return msgspec.structs.replace(action, ref=ref)


def _question(number: int, partitions: int, clock: Clock, seconds: float) -> ApprovalRequested:
    action = _action(number, partitions)
    identifier = ids.approval_id(number % partitions, action.ref.id, 1, 0, "action")
    now = clock.now()
    return question(approval_id=identifier, action=action, requested_at=now, deadline=now + seconds)


def _votes(asked: ApprovalRequested, kind: str) -> list[ApprovalVoted]:
    if kind == "expire":
        return []
    answer = "approve" if kind == "allow" else "reject"
    good = ApprovalVoted(vote_id="1", approval_id=asked.approval_id, digest=DIGEST, answer=answer, approver="lee")  # type: ignore[arg-type]
    other = msgspec.structs.replace(good, vote_id="0", digest="f" * 64)
    return [other, good, good]


@_KINDS
async def test_every_question_has_one_answer(seed: int | None) -> None:
    """Approved, rejected or unanswered: one resolution and one decision each, with votes before, after and repeated."""
    async with _running(seed, approvals) as log:
        clock = SystemClock()
        client = Client(log, clock)
        expected: dict[str, str] = {}
        for number in range(_MANY):
            kind = ("allow", "reject", "expire")[number % 3]
            asked = _question(number, log.partitions, clock, 1.0 if kind == "expire" else 600.0)
            expected[asked.approval_id] = kind
            votes = _votes(asked, kind)
            if number % 2:
                await _write(log, asked, asked)
            for vote in votes:
                await client.vote(vote)
            if number % 2 == 0:
                await _write(log, asked)

        async def answered() -> bool:
            return len(await _all(log, topics.DECIDED)) >= _MANY

        await _until(answered)
        decided = [event for event in await _all(log, topics.DECIDED) if isinstance(event, ActionDecided)]
        resolved = [event for event in await _all(log, topics.RESOLVED) if isinstance(event, ApprovalResolved)]
        assert {str(event.decision.approval_id): event.decision.verdict for event in decided} == expected
        assert len(decided) == len(resolved) == _MANY
        assert await _all(log, topics.DEADLETTERS) == []


@_KINDS
async def test_every_end_is_reported(seed: int | None) -> None:
    """Each action's outcome stands once under its decision, and what observers say on any partition follows it."""
    async with Sandbox() as sandbox, Bighub(BighubSettings(url=sandbox.url, key=Secret("k"))) as bighub:
        async with _running(seed, lambda host: reporter(host, bighub)) as log:
            for number in range(_MANY):
                resolution = await bighub.evaluate(EvaluateRequest(action="pay", idempotency_key=f"evt_{number}"))
                action = _action(number, log.partitions)
                end = ActionFinished(
                    action=action,
                    decision=review(verdict="allow", request_id=resolution.request_id),
                    status="executed",
                    via="run",
                    finished_at=1_700_000_000.0,
                )
                seen = OutcomeObserved(
                    outcome_id=str(number), tenant="acme", action_id=action.ref.id, status="CHURN", observed_at=1.7e9
                )
                value, headers = encode(seen, source="test", time=0.0)
                elsewhere = (number + 1) % log.partitions
                await _write(log, end, end)
                await log.publish([Outgoing(topics.OBSERVED.name, elsewhere, None, value, headers)] * 2)

            async def reported() -> bool:
                return len(sandbox.store.outcomes()) >= 2 * _MANY and len(sandbox.store.ingested()) >= 2 * _MANY

            await _until(reported)
        statuses = Counter((str(each["request_id"]), str(each["status"])) for each in sandbox.store.outcomes())
        assert set(statuses.values()) == {1}
        assert Counter(status for _, status in statuses) == {"SUCCESS": _MANY, "CHURN": _MANY}
        assert len(sandbox.store.ingested()) == 2 * _MANY
