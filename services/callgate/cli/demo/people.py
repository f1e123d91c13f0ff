"""The demo's people: they follow the questions, and answer through the votes entrance as the script says."""

from __future__ import annotations

import asyncio

import msgspec
import orjson

from callgate.cli.demo.script import Says, turns
from callgate.cli.play.player import publish
from callgate.clock import Clock
from callgate.events import topics
from callgate.events.approvals import ApprovalRequested, ApprovalVoted
from callgate.events.codec import Undecodable, decode
from callgate.log.port import Log


async def answer(log: Log, clock: Clock) -> None:
    """Answer every question once, for ever; whom the script does not name says nothing."""
    answers = {turn.session: turn.answers for turn in turns()}
    asked: set[str] = set()
    async with asyncio.TaskGroup() as group:
        async for record in log.follow(topics.BALLOTS.name, range(log.partitions), {}):
            try:
                event = decode(record.value, record.headers).event
            except Undecodable:
                continue
            if isinstance(event, ApprovalRequested) and event.approval_id not in asked:
                asked.add(event.approval_id)
                for says in answers.get(event.action.ref.session, ()):
                    if says.kind == event.kind:
                        group.create_task(_say(log, clock, event, says))


async def _say(log: Log, clock: Clock, asked: ApprovalRequested, says: Says) -> None:
    await clock.sleep(says.after)
    vote = ApprovalVoted(
        vote_id=f"{says.who}-{says.answer}-{asked.approval_id}",
        approval_id=asked.approval_id,
        digest=asked.action.ref.digest,
        answer=says.answer,
        approver=says.who,
        arguments=None if says.arguments is None else msgspec.Raw(orjson.dumps(dict(says.arguments))),
        response=None if says.response is None else msgspec.Raw(orjson.dumps(says.response)),
        delegate_to=says.delegate_to,
    )
    await publish(log, clock, vote)
