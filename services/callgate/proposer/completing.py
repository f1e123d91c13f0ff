"""From an ended turn to what the agent is told: the execution record and the completed turn.

The shape is that of the published adapters: `execution.events` has one object per call, `execution.last` is the last of
them, and each names tool, status, decision, recommendation, risk_score and enforcement_mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from callgate.bighub.wording import decision_shape, raw
from callgate.events.actions import ActionFinished
from callgate.events.codec import MAX_RECORD_BYTES
from callgate.events.turns import TurnCompleted
from callgate.proposer.calls import Recorded
from callgate.proposer.rounds import Usage
from callgate.proposer.state import End, TurnEntry

_MARGIN = 20_000
"""Bytes left in a record for its headers and the fields beside the three large ones."""

_NULL = b"null"


def execution_event(finished: ActionFinished, *, deliverable: bool = True) -> msgspec.Raw:
    """The object in `execution.events` for an ended action."""
    ref, decision = finished.action.ref, finished.decision
    event: dict[str, Any] = {
        "tool": ref.tool,
        "call_id": ref.call_id,
        "action_id": ref.id,
        "position": ref.position,
        "status": finished.status,
        "via": finished.via,
        "decision": decision_shape(finished.status, decision),
        "recommendation": decision.recommendation,
        "risk_score": decision.risk_score,
        "enforcement_mode": decision.enforcement_mode,
        "output": raw(finished.output) if deliverable else None,
        "error": finished.error,
    }
    if finished.action.fault is not None:
        event["fault"] = {"code": finished.action.fault.code, "message": finished.action.fault.message}
    if not deliverable:
        event["omitted"] = ["output"]
    return msgspec.Raw(orjson.dumps(event))


def recorded_event(recorded: Recorded) -> dict[str, Any]:
    """The object in `execution.events` for a call that the provider has carried out."""
    return {"tool": recorded.tool, "type": recorded.item, "call_id": recorded.call_id, "status": "recorded"}


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a turn has besides its calls where the model was run for it."""

    items: Sequence[bytes]
    """Everything that follows the turn's own input, in its order."""
    rounds: int
    usage: Usage | None
    follow_up: str | None = None
    """See `TurnCompleted.follow_up`."""


def completed(
    entry: TurnEntry,
    key: str,
    *,
    response: bytes,
    recorded: bytes,
    ends: Sequence[End],
    now: float,
    conversation: Conversation | None = None,
) -> TurnCompleted:
    """The completed turn. What does not fit into one record is left out, in the order of what the agent misses least.

    The outputs are in the items as well; the response came from the agent; and each item was in an `ActionReply` of its
    own. `execution.omitted` names what was left out.
    """
    events = [bytes(end.event) for end in ends]
    items = [bytes(end.item) for end in ends if end.item is not None]
    if conversation is not None:
        items = list(conversation.items)
    usage = conversation.usage if conversation is not None else None
    omitted: list[str] = []
    if _size(response, recorded, events, items) > MAX_RECORD_BYTES:
        events = [_without_output(event) for event in events]
        omitted.append("outputs")
    if _size(response, recorded, events, items) > MAX_RECORD_BYTES:
        response = _NULL
        omitted.append("llm_response")
    if _size(response, recorded, events, items) > MAX_RECORD_BYTES:
        items = []
        omitted.append("items")
    if _size(response, recorded, events, items) > MAX_RECORD_BYTES:
        events, recorded = [], b"[]"
        omitted.append("events")
    return TurnCompleted(
        turn_key=key,
        tenant=entry.tenant,
        session=entry.session,
        turn=entry.turn,
        agent=entry.agent,
        status="refused" if entry.refused else entry.failure or "completed",
        reason=entry.reason,
        llm_response=msgspec.Raw(_clean(response)),
        execution=msgspec.Raw(_execution(events, recorded, omitted)),
        items=msgspec.Raw(b"[" + b",".join(items) + b"]"),
        completed_at=now,
        rounds=conversation.rounds if conversation is not None else 0,
        usage=msgspec.Raw(msgspec.json.encode(usage)) if usage is not None else None,
        follow_up=conversation.follow_up if conversation is not None else None,
    )


def _execution(events: Sequence[bytes], recorded: bytes, omitted: Sequence[str]) -> bytes:
    """The execution record as JSON; outputs are copied as they are, never decoded."""
    calls = [orjson.Fragment(event) for event in events]
    # What the provider carried out had happened before the response came, so it stands first.
    execution: dict[str, Any] = {"events": [*orjson.loads(recorded), *calls], "last": calls[-1] if calls else None}
    if omitted:
        execution["omitted"] = list(omitted)
    return orjson.dumps(execution)


def _size(response: bytes, recorded: bytes, events: Sequence[bytes], items: Sequence[bytes]) -> int:
    """An upper bound of the event's bytes; the last execution event occurs twice."""
    last = len(events[-1]) if events else 0
    separators = len(events) + len(items)
    return len(response) + len(recorded) + sum(map(len, events)) + last + sum(map(len, items)) + separators + _MARGIN


def _without_output(event: bytes) -> bytes:
    """An execution event without the one field that can be large. It says what it lacks."""
    value = orjson.loads(event)
    return orjson.dumps({**value, "output": None, "omitted": ["output"]}) if value["output"] is not None else event


def _clean(response: bytes) -> bytes:
    """The response as it was; the decoder of events lets bytes pass that are no text, which nobody could read again."""
    try:
        response.decode()
    except UnicodeDecodeError:
        return _NULL
    return response
