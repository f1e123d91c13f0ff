"""The voter: answers approvals through the votes entrance, as a person's client would, where there is no person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from callgate.cli.play.player import publish
from callgate.clock import Clock
from callgate.events import topics
from callgate.events.approvals import ApprovalRequested, ApprovalVoted
from callgate.events.codec import Undecodable, decode
from callgate.log.port import Log

Says = Literal["approve", "reject"]


async def answer_all(log: Log, clock: Clock, approver: str, answer: Callable[[ApprovalRequested], Says | None]) -> None:
    """Answer each approval as `answer` says, for ever; None leaves it open. A repeat has one id: it counts once."""
    async for record in log.follow(topics.BALLOTS.name, range(log.partitions), {}):
        try:
            event = decode(record.value, record.headers).event
        except Undecodable:
            continue
        if not isinstance(event, ApprovalRequested) or event.kind != "action":
            continue  # what became of something in doubt nobody here can know
        if (said := answer(event)) is not None:
            vote = ApprovalVoted(
                vote_id=f"{approver}-{event.approval_id}",
                approval_id=event.approval_id,
                digest=event.action.ref.digest,
                answer=said,
                approver=approver,
            )
            await publish(log, clock, vote)
