"""BIGHUB's queue and our own people on one approval: whichever is first in the log wins, and the other is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.support.approval_values import DIGEST, proposed, question, review

from callgate.approvals.service import build as approvals
from callgate.bighub.client import Bighub
from callgate.bighub.queue import Answer
from callgate.bighub.requests import EvaluateRequest
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.control.view import ControlView
from callgate.events import ids, topics
from callgate.events.approvals import ApprovalRequested, ApprovalResolved, ApprovalVoted
from callgate.events.codec import decode, encode
from callgate.events.routing import address
from callgate.log.address import open_log
from callgate.log.port import Log, Outgoing
from callgate.log.sqlite.hostile import Hostility
from callgate.reporter.service import build as reporter
from callgate.sandbox.policy import parse_policy
from callgate.sandbox.service import Sandbox
from callgate.settings import ApprovalSettings, BighubSettings, Secret, Settings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.host import Host
from callgate.worker.worker import Worker

_KINDS = pytest.mark.parametrize("seed", [None, 1], ids=["plain", "hostile"])
_REVIEW = """
[default]
decision = "review"
"""


@asynccontextmanager
async def _bridged(seed: int | None) -> AsyncIterator[tuple[Log, Bighub, Sandbox]]:
    clock = SystemClock()
    log = await open_log("sqlite://:memory:", clock=clock, hostile=None if seed is None else Hostility(seed=seed))
    settings = Settings(approval=ApprovalSettings(trusted=True, bighub_identity="bighub", bighub_poll_seconds=0.2))
    metrics = Metrics(TelemetrySettings())
    host = Host(log=log, clock=clock, settings=settings, metrics=metrics, control=ControlView(log))
    stop = asyncio.Event()
    async with (
        Sandbox(policy=parse_policy(_REVIEW)) as sandbox,
        Bighub(BighubSettings(url=sandbox.url, key=Secret("k"))) as bighub,
    ):
        workers = [
            Worker(log, job, settings=settings.worker, clock=clock, metrics=metrics, jitter=lambda: 0.5)
            for job in (*approvals(host), *reporter(host, bighub))
        ]
        running = [asyncio.create_task(worker.run(stop)) for worker in workers]
        try:
            yield log, bighub, sandbox
        finally:
            stop.set()
            await asyncio.gather(*running)
            await log.close()


async def _asked(log: Log, bighub: Bighub, number: int, eligible: tuple[str, ...] = ()) -> ApprovalRequested:
    """A question that BIGHUB has asked for, and that stands in its queue too."""
    resolution = await bighub.evaluate(EvaluateRequest(action="pay", idempotency_key=f"evt_{number}", value=number))
    turn = ids.turn_key(number % log.partitions, "acme", f"s{number}", "1")
    action = proposed()
    ref = msgspec.structs.replace(action.ref, id=ids.action_id(turn, 0, 0, "c"), turn_key=turn, session=f"s{number}")
    now = SystemClock().now()
    asked = question(
        approval_id=ids.approval_id((number * 3) % log.partitions, ref.id, 1, 0, "action"),
        action=msgspec.structs.replace(action, ref=ref),
        decision=review(request_id=resolution.request_id),
        eligible=eligible,
        requested_at=now,
        deadline=now + 600,
    )
    at = address(asked, log.partitions)
    value, headers = encode(asked, source="test", time=now)
    await log.publish([Outgoing(at.topic, at.partition, at.key.encode(), value, headers)] * 2)
    return asked


async def _resolved(log: Log, how_many: int) -> dict[str, ApprovalResolved]:
    async with asyncio.timeout(40):
        while True:
            found = [
                decode(each.value, each.headers).event
                for partition in range(log.partitions)
                async for each in log.scan(topics.RESOLVED.name, partition)
            ]
            resolved = [event for event in found if isinstance(event, ApprovalResolved)]
            if len(resolved) >= how_many:
                assert len(resolved) == how_many
                return {event.approval_id: event for event in resolved}
            await asyncio.sleep(0.05)


async def _status(sandbox: Sandbox, asked: ApprovalRequested, wanted: str) -> None:
    async with asyncio.timeout(40):
        while True:
            approval = sandbox.store.approval(asked.decision.request_id or "")
            if approval is not None and approval.status == wanted:
                return
            await asyncio.sleep(0.05)


@_KINDS
async def test_an_answer_in_bighubs_queue_resolves_the_approval(seed: int | None) -> None:
    """Approved there is approved here and denied is rejected, once each, in the identity's name."""
    async with _bridged(seed) as (log, bighub, _):
        asked = [await _asked(log, bighub, number) for number in range(6)]
        for place, each in enumerate(asked):
            answer: Answer = "approved" if place % 2 == 0 else "denied"
            assert await bighub.resolve_approval(each.decision.request_id or "", answer, "seen in the console")
        resolved = await _resolved(log, len(asked))
    for place, each in enumerate(asked):
        found = resolved[each.approval_id]
        assert found.resolution == ("approved" if place % 2 == 0 else "rejected")
        assert found.approvers == ("bighub",)


@_KINDS
async def test_an_answer_of_our_people_is_told_bighub(seed: int | None) -> None:
    """A vote here resolves BIGHUB's own entry, with who gave it."""
    async with _bridged(seed) as (log, bighub, sandbox):
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


async def test_the_identity_has_no_more_say_than_the_policy_gives_it() -> None:
    """Where the policy names others, an answer in BIGHUB's queue is evidence, and our people decide."""
    async with _bridged(None) as (log, bighub, sandbox):
        asked = await _asked(log, bighub, 1, eligible=("lee",))
        assert await bighub.resolve_approval(asked.decision.request_id or "", "approved", "hasty")
        await asyncio.sleep(1.0)
        await Client(log, SystemClock()).vote(
            ApprovalVoted(vote_id="1", approval_id=asked.approval_id, digest=DIGEST, answer="reject", approver="lee")
        )
        found = (await _resolved(log, 1))[asked.approval_id]
        assert (found.resolution, found.approvers) == ("rejected", ("lee",))
        await _status(sandbox, asked, "approved")
