"""What BIGHUB's own approval queue is told of an answer that people gave here. Pure."""

from __future__ import annotations

from callgate.bighub.queue import COMMENT_MOST, OURS, Answer
from callgate.events.approvals import ApprovalResolved, Resolution

_ANSWERS: dict[Resolution, Answer] = {
    "approved": "approved",
    "rejected": "denied",
    "edited": "denied",
    "responded": "denied",
}
"""The call that BIGHUB was asked about does not run after an edit or a response. Expiry is no answer: the queue has its
own. What is settled was answered before."""


def answer_of(event: ApprovalResolved) -> Answer | None:
    """What to tell the queue, or None where there is nothing to tell."""
    return _ANSWERS.get(event.resolution) if event.request_id and event.kind == "action" else None


def comment_of(event: ApprovalResolved) -> str:
    """Who has answered what; it begins with what marks it as ours, so that it does not come back as an answer."""
    who = ", ".join(event.approvers) or "nobody"
    said = f": {event.comment}" if event.comment else ""
    return f"{OURS}{event.resolution} by {who}{said}"[:COMMENT_MOST]
