"""BIGHUB's queue and our own people on one approval: whichever is first in the log wins, and the other is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.support.approval_values import DIGEST, numbered_question, review
from tests.support.log_engines import Engine
from tests.support.serving import everything, serving, until_there, write

from callgate.approvals.service import build as approvals
from callgate.bighub.client import Bighub
from callgate.bighub.queue import Answer
from callgate.bighub.requests import EvaluateRequest
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.events import topics
from callgate.events.approvals import ApprovalRequested, ApprovalResolved, ApprovalVoted
from callgate.log.port import Log
from callgate.reporter.service import build as reporter
from callgate.sandbox.policy import parse_policy
from callgate.sandbox.service import Sandbox
from callgate.settings import ApprovalSettings, BighubSettings, Secret, Settings

_REVIEW = """
[default]
decision = "review"
"""


@asynccontextmanager
async def _bridged(engine: Engine) -> AsyncIterator[tuple[Log, Bighub, Sandbox]]:
    log = await engine.open()
    settings = Settings(approval=ApprovalSettings(trusted=True, bighub_identity="bighub", bighub_poll_seconds=0.2))
    async with (
        Sandbox(policy=parse_policy(_REVIEW)) as sandbox,
        Bighub(BighubSettings(url=sandbox.url, key=Secret("k"))) as bighub,
        serving(log, settings, lambda host: (*approvals(host), *reporter(host, bighub))),
    ):
        yield log, bighub, sandbox


async def _asked(log: Log, bighub: Bighub, number: int, eligible: tuple[str, ...] = ()) -> ApprovalRequested:
    """A question that BIGHUB has asked for, and that stands in its queue too."""
    resolution = await bighub.evaluate(EvaluateRequest(action="pay", idempotency_key=f"evt_{number}", value=number))
    decision = review(request_id=resolution.request_id)
    asked = numbered_question(number, log.partitions, SystemClock().now(), decision=decision, eligible=eligible)
    await write(log, asked, asked)
    return asked


async def _resolved(log: Log, how_many: int) -> dict[str, ApprovalResolved]:
    await until_there(log, topics.RESOLVED, how_many)
    resolved = [event for event in await everything(log, topics.RESOLVED) if isinstance(event, ApprovalResolved)]
    assert len(resolved) == how_many
    return {event.approval_id: event for event in resolved}


async def _status(sandbox: Sandbox, asked: ApprovalRequested, wanted: str) -> None:
    async with asyncio.timeout(40):
        while True:
            approval = sandbox.store.approval(asked.decision.request_id or "")
            if approval is not None and approval.status == wanted:
                return
            await asyncio.sleep(0.05)


async def test_an_answer_in_bighubs_queue_resolves_the_approval(engine: Engine) -> None:
    """Approved there is approved here and denied is rejected, once each, in the identity's name."""
    async with _bridged(engine) as (log, bighub, _):
        asked = [await _asked(log, bighub, number) for number in range(6)]
        for place, each in enumerate(asked):
            answer: Answer = "approved" if place % 2 == 0 else "denied"
            assert await bighub.resolve_approval(each.decision.request_id or "", answer, "seen in the console")
        resolved = await _resolved(log, len(asked))
    for place, each in enumerate(asked):
        found = resolved[each.approval_id]
        assert found.resolution == ("approved" if place % 2 == 0 else "rejected")
        assert found.approvers == ("bighub",)


async def test_an_answer_of_our_people_is_told_bighub(engine: Engine) -> None:
    """A vote here resolves BIGHUB's own entry, with who gave it."""
    async with _bridged(engine) as (log, bighub, sandbox):
        asked = await _asked(log, bighub, 1)
        vote = ApprovalVoted(
            vote_id="1", approval_id=asked.approval_id, digest=DIGEST, answer="reject", approver="lee", comment="no"
        )
        await Client(log, SystemClock()).vote(vote)
        await _status(sandbox, asked, "denied")
        approval = sandbox.store.approval(asked.decision.request_id or "")
        assert approval is not None
        assert approval.body["comment"] == "Callgate: rejected by lee: no"
        assert (await _resolved(log, 1))[asked.approval_id].approvers == ("lee",)


@pytest.mark.parametrize("engine", ["plain"], indirect=True)
async def test_the_identity_has_no_more_say_than_the_policy_gives_it(engine: Engine) -> None:
    """Where the policy names others, an answer in BIGHUB's queue is evidence, and our people decide."""
    async with _bridged(engine) as (log, bighub, sandbox):
        asked = await _asked(log, bighub, 1, eligible=("lee",))
        assert await bighub.resolve_approval(asked.decision.request_id or "", "approved", "hasty")
        await asyncio.sleep(1.0)
        await Client(log, SystemClock()).vote(
            ApprovalVoted(vote_id="1", approval_id=asked.approval_id, digest=DIGEST, answer="reject", approver="lee")
        )
        found = (await _resolved(log, 1))[asked.approval_id]
        assert (found.resolution, found.approvers) == ("rejected", ("lee",))
        await _status(sandbox, asked, "approved")
