"""The voter: answers the approvals of a play through the votes entrance, as a person's client would."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from callgate.cli.play.player import publish
from callgate.clock import Clock
from callgate.events import topics
from callgate.events.approvals import ApprovalRequested, ApprovalVoted
from callgate.events.codec import Undecodable, decode
from callgate.log.port import Log

APPROVER = "play"


async def answer_all(log: Log, clock: Clock, answer: Literal["approve", "reject"], turn_keys: Collection[str]) -> None:
    """Give every approval of these turns the same answer, for ever. A vote cast twice has one id, and counts once."""
    async for record in log.follow(topics.BALLOTS.name, range(log.partitions), {}):
        try:
            event = decode(record.value, record.headers).event
        except Undecodable:
            continue
        if isinstance(event, ApprovalRequested) and event.action.ref.turn_key in turn_keys:
            vote = ApprovalVoted(
                vote_id=f"play-{event.approval_id}",
                approval_id=event.approval_id,
                digest=event.action.ref.digest,
                answer=answer,
                approver=APPROVER,
            )
            await publish(log, clock, vote)
