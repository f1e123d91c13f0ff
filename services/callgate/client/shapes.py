"""What an agent's program is given: the response shape of the published adapters, also of turns that still wait.

    {"llm_response": {…}, "execution": {"events": […], "last": …}, "output_text": "…", "items": […], "status": "…", …}

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from callgate.bighub.wording import decision_shape
from callgate.events.turns import ActionReply, TurnCompleted

Response = dict[str, Any]
"""See the module. `status` is that of the turn: completed, refused, failed, incomplete, or `waiting` before its end."""

WAITING = "waiting"

WAITS = frozenset({"approval_required", "in_doubt"})
"""Standings of a call that are followed by another; every other one is its end."""


def ended(completed: TurnCompleted) -> Response:
    """The response of a turn that is over."""
    response = orjson.loads(bytes(completed.llm_response))
    return {
        "llm_response": response,
        "execution": orjson.loads(bytes(completed.execution)),
        "output_text": text_of(response),
        "items": orjson.loads(bytes(completed.items)),
        "status": completed.status,
        "reason": completed.reason,
        "turn_key": completed.turn_key,
        "session": completed.session,
        "turn": completed.turn,
        "rounds": completed.rounds,
        "usage": None if completed.usage is None else orjson.loads(bytes(completed.usage)),
    }


def waiting(turn_key: str, replies: Iterable[ActionReply]) -> Response:
    """The response of a turn that has not ended: where each call stands that has been heard of.

    There are no items: a history that holds a call without its answer can't be sent.
    """
    latest: dict[str, ActionReply] = {}
    for reply in replies:
        if _is_end(reply) or reply.action_id not in latest or not _is_end(latest[reply.action_id]):
            latest[reply.action_id] = reply
    events = [call_event(each) for each in sorted(latest.values(), key=lambda each: (each.round, each.position))]
    still = [event for event in events if event["status"] in WAITS]
    first = next(iter(latest.values()), None)
    return {
        "llm_response": None,
        "execution": {"events": events, "last": next(reversed(still or events), None)},
        "output_text": "",
        "items": [],
        "status": WAITING,
        "reason": None,
        "turn_key": turn_key,
        "session": first.session if first is not None else None,
        "turn": first.turn if first is not None else None,
        "rounds": 0,
        "usage": None,
    }


def call_event(reply: ActionReply) -> dict[str, Any]:
    """Where one call stands, as an object of `execution.events`."""
    decision = reply.decision
    event: dict[str, Any] = {
        "tool": reply.tool,
        "call_id": reply.call_id,
        "action_id": reply.action_id,
        "position": reply.position,
        "status": reply.status,
        "approval_id": reply.approval_id,
        "decision": None if decision is None else _plain(decision_shape(reply.status, decision)),
        "recommendation": None if decision is None else decision.recommendation,
        "risk_score": None if decision is None else decision.risk_score,
        "enforcement_mode": None if decision is None else decision.enforcement_mode,
        "item": None if reply.item is None else orjson.loads(bytes(reply.item)),
    }
    return event


def text_of(response: object) -> str:
    """What a model's answer says in words, refusals too; empty where it says nothing or has another shape."""
    output = response.get("output") if isinstance(response, Mapping) else None
    parts = [
        part
        for item in (output if isinstance(output, list) else [])
        if isinstance(item, dict) and item.get("type") == "message"
        for part in (item.get("content") or [])
        if isinstance(part, dict)
    ]
    return "\n".join(str(part.get("text") or part.get("refusal") or "") for part in parts)


def _is_end(reply: ActionReply) -> bool:
    return reply.status not in WAITS


def _plain(shape: dict[str, Any]) -> dict[str, Any]:
    """The same without raw JSON in it."""
    plain = orjson.loads(orjson.dumps(shape))
    assert isinstance(plain, dict)
    return plain
