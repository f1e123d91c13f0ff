"""From an action that has ended, or waits, to what its agent is told and what the turn keeps of it. Pure."""

from __future__ import annotations

import msgspec

from callgate.events.actions import ActionDecided, ActionFinished, ActionInDoubt
from callgate.events.turns import ActionReply, ResponseFormat
from callgate.proposer.answering import item
from callgate.proposer.completing import execution_event
from callgate.proposer.state import End

_MOST = 900_000
"""Bytes of one answer: it must leave room in a record for the decision that is told with it."""


def kept_end(finished: ActionFinished, format_: ResponseFormat, caller: bytes | None, *, deliverable: bool) -> End:
    """What a call came to, small enough for a record: the model's answer goes before the copy in the execution."""
    answer = item(finished, format_, caller, deliverable=deliverable)
    if _length(answer) > _MOST:
        return kept_end(finished, format_, caller, deliverable=False)
    event = execution_event(finished, deliverable=deliverable)
    if _length(answer) + _length(event) > _MOST:
        event = execution_event(finished, deliverable=False)
    return End(event=event, item=answer)


def _length(raw: msgspec.Raw | None) -> int:
    return 0 if raw is None else len(bytes(raw))


def stand_in(
    event: ActionDecided | ActionInDoubt, caller: bytes | None, text: str
) -> tuple[ActionFinished, msgspec.Raw | None]:
    """The shape of an end, and the item that says `text`, for a call that has none yet. It is never published."""
    finished = ActionFinished(
        action=event.action, decision=event.decision, status="not_executed", via="gate", finished_at=0.0
    )
    return finished, item(finished, "responses", caller, text=text)


def reply_of(
    event: ActionFinished | ActionInDoubt | ActionDecided, status: str, now: float, answer: msgspec.Raw | None
) -> ActionReply:
    """A reply about one call, with the decision behind it: for the agent's program, not for its model."""
    ref = event.action.ref
    return ActionReply(
        action_id=ref.id,
        turn_key=ref.turn_key,
        tenant=ref.tenant,
        session=ref.session,
        turn=ref.turn,
        round=ref.round,
        position=ref.position,
        call_id=ref.call_id,
        tool=ref.tool,
        digest=ref.digest,
        status=status,  # type: ignore[arg-type]
        item=answer,
        decision=event.decision,
        approval_id=event.decision.approval_id,
        replied_at=now,
    )
