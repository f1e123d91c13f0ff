"""Approvals and reporter over the real worker and log of every engine: once, whatever is repeated."""

from __future__ import annotations

from collections import Counter

from tests.support.approval_values import numbered_action, numbered_question, review, vote
from tests.support.log_engines import Engine
from tests.support.serving import everything, serving, until, until_there, write, write_at

from callgate.approvals.service import build as approvals
from callgate.bighub.client import Bighub
from callgate.bighub.requests import EvaluateRequest
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.events import topics
from callgate.events.actions import ActionDecided, ActionFinished
from callgate.events.approvals import ApprovalRequested, ApprovalResolved, ApprovalVoted
from callgate.events.outcomes import OutcomeObserved
from callgate.reporter.service import build as reporter
from callgate.sandbox.service import Sandbox
from callgate.settings import ApprovalSettings, BighubSettings, Secret, Settings

_MANY = 24
_SETTINGS = Settings(approval=ApprovalSettings(trusted=True))


def _votes(asked: ApprovalRequested, kind: str) -> list[ApprovalVoted]:
    if kind == "expire":
        return []
    good = vote("approve" if kind == "allow" else "reject", approval_id=asked.approval_id)
    other = vote(good.answer, vote_id="other", approval_id=asked.approval_id, digest="f" * 64)
    return [other, good, good]


async def test_every_question_has_one_answer(engine: Engine) -> None:
    """Approved, rejected or unanswered: one resolution and one decision each, with votes before, after and repeated."""
    log, clock = await engine.open(), SystemClock()
    async with serving(log, _SETTINGS, approvals):
        client = Client(log, clock)
        expected: dict[str, str] = {}
        for number in range(_MANY):
            kind = ("allow", "reject", "expire")[number % 3]
            action = numbered_action(number, log.partitions, tool=f"tool{number % 3}")
            seconds = 1.0 if kind == "expire" else 600.0
            asked = numbered_question(number, log.partitions, clock.now(), seconds, action=action)
            expected[asked.approval_id] = kind
            if number % 2:
                await write(log, asked, asked)
            for each in _votes(asked, kind):
                await client.vote(each)
            if number % 2 == 0:
                await write(log, asked)
        await until_there(log, topics.DECIDED, _MANY)
        decided = [event for event in await everything(log, topics.DECIDED) if isinstance(event, ActionDecided)]
        resolved = [event for event in await everything(log, topics.RESOLVED) if isinstance(event, ApprovalResolved)]
        assert {str(event.decision.approval_id): event.decision.verdict for event in decided} == expected
        assert len(decided) == len(resolved) == _MANY
        assert await everything(log, topics.DEADLETTERS) == []


async def test_every_end_is_reported(engine: Engine) -> None:
    """Each action's outcome stands once under its decision, and what observers say on any partition follows it."""
    log = await engine.open()
    async with Sandbox() as sandbox, Bighub(BighubSettings(url=sandbox.url, key=Secret("k"))) as bighub:
        async with serving(log, _SETTINGS, lambda host: reporter(host, bighub)):
            for number in range(_MANY):
                resolution = await bighub.evaluate(EvaluateRequest(action="pay", idempotency_key=f"evt_{number}"))
                action = numbered_action(number, log.partitions)
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
                await write(log, end, end)
                await write_at(log, topics.OBSERVED, (number + 1) % log.partitions, seen, seen)

            async def reported() -> bool:
                return len(sandbox.store.outcomes()) >= 2 * _MANY and len(sandbox.store.ingested()) >= 2 * _MANY

            await until(reported)
        statuses = Counter((str(each["request_id"]), str(each["status"])) for each in sandbox.store.outcomes())
        assert set(statuses.values()) == {1}
        assert Counter(status for _, status in statuses) == {"SUCCESS": _MANY, "CHURN": _MANY}
        assert len(sandbox.store.ingested()) == 2 * _MANY
