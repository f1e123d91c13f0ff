"""What a proposer says to agents, as values, and the way to the log for it."""

from __future__ import annotations

from typing import Any

import msgspec

from callgate.events import ids
from callgate.events.codec import encode
from callgate.events.event import Event
from callgate.events.routing import address
from callgate.events.turns import ActionReply, TurnCompleted
from callgate.log.port import Log, Outgoing


async def write(log: Log, *events: Event) -> None:
    """Write events where they belong."""
    for event in events:
        at = address(event, log.partitions)
        value, headers = encode(event, source="test", time=0.0)
        await log.publish([Outgoing(at.topic, at.partition, at.key.encode(), value, headers)])


def completed(key: str, **changes: Any) -> TurnCompleted:
    """The end of a turn of session `s-1`."""
    empty = msgspec.Raw(b"[]")
    fields: dict[str, Any] = {"turn_key": key, "tenant": "acme", "session": "s-1", "turn": "1", "agent": "bot"}
    rest: dict[str, Any] = {"llm_response": empty, "execution": empty, "items": empty, "completed_at": 1.0}
    return TurnCompleted(**{**fields, **rest, "status": "completed", **changes})


def reply(key: str) -> ActionReply:
    """A call of the turn waits for a person."""
    return ActionReply(
        action_id=ids.action_id(key, 0, 0, "c"),
        turn_key=key,
        tenant="acme",
        session="s-1",
        turn="1",
        round=0,
        position=0,
        call_id="c",
        tool="pay",
        digest="a" * 64,
        status="approval_required",
        replied_at=0.5,
    )
