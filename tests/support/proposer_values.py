"""Turns and ended actions for tests of the proposer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from callgate.events.actions import ActionFinished, ActionProposed, Decision, Status, Verdict, Via
from callgate.events.turns import TurnOrigin, TurnRecorded
from callgate.tools.toolbox import Tool, Toolbox

NOW = 1_700_000_000.0


def origin(turn: str = "1", **changes: Any) -> TurnOrigin:
    """A turn of tenant `acme`, session `s`."""
    return TurnOrigin(**{"tenant": "acme", "session": "s", "turn": turn, "agent": "bot", **changes})


def function_call(
    name: object = "pay", arguments: object = "{}", call_id: object = "c1", **more: Any
) -> dict[str, Any]:
    """A Responses item that calls a function."""
    return {"type": "function_call", "name": name, "arguments": arguments, "call_id": call_id, **more}


def recorded_turn(items: Sequence[object], *, turn: str = "1", **changes: Any) -> TurnRecorded:
    """A turn whose response has these output items."""
    response = {"id": "resp_1", "object": "response", "status": "completed", "output": list(items)}
    return raw_turn(orjson.dumps(response), turn=turn, **changes)


def raw_turn(response: bytes, *, turn: str = "1", format_: str = "responses", **changes: Any) -> TurnRecorded:
    """A turn with any response."""
    submitted_at = changes.pop("submitted_at", NOW)
    return TurnRecorded(
        origin=origin(turn, **changes),
        format=format_,  # type: ignore[arg-type]
        response=msgspec.Raw(response),
        submitted_at=submitted_at,
    )


def open_toolbox() -> Toolbox:
    """A toolbox that knows every name, with an open schema."""
    return Toolbox(default=lambda name: Tool(name=name, function=lambda **_: None))


def decision(verdict: Verdict = "allow", **changes: Any) -> Decision:
    """A decision of BIGHUB's."""
    fields = {"by": "bighub", "reason": "rule 7", "told": "", "decided_at": NOW, "valid_until": NOW + 300}
    return Decision(**{"verdict": verdict, **fields, **changes})


def finished(
    action: ActionProposed,
    status: Status = "executed",
    *,
    output: object = None,
    verdict: Verdict = "allow",
    via: Via = "run",
    error: str | None = None,
    **changes: Any,
) -> ActionFinished:
    """The end of an action."""
    return ActionFinished(
        action=action,
        decision=decision(verdict, **changes),
        status=status,
        via=via,
        output=None if output is None else msgspec.Raw(orjson.dumps(output)),
        error=error,
        finished_at=NOW + 1,
    )
