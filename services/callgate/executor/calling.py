"""What a decision gives a tool: the call, its arguments, and a person's words in its stead. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from callgate.events.actions import ActionDecided
from callgate.tools.tool import Call


def call_of(decided: ActionDecided) -> Call:
    """What the tool may know of its call. Constraints of a shape that nobody knows stand under a name of their own."""
    ref, raw = decided.action.ref, decided.decision.constraints
    given = orjson.loads(bytes(raw)) if raw is not None else {}
    constraints = given if isinstance(given, dict) else {"unreadable": given}
    return Call(action_id=ref.id, tenant=ref.tenant, session=ref.session, agent=ref.agent, constraints=constraints)


def arguments_of(decided: ActionDecided) -> Mapping[str, Any]:
    """The decoded arguments: they were held against the schema before they were proposed."""
    arguments: Mapping[str, Any] = orjson.loads(bytes(decided.action.arguments))
    return arguments


def response_of(decided: ActionDecided) -> bytes | None:
    """What people have given as the result, as JSON; None where they have not."""
    response: msgspec.Raw | None = decided.decision.response
    return bytes(response) if response is not None else None
