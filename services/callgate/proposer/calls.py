"""What is read from a model's answer, whatever its format: the calls, and what the provider has done by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from callgate.events.actions import CallKind, Fault

MAX_TOOL = 256
"""Characters of a tool's name, as the events allow."""

MAX_CALL_ID = 256
"""Characters of a call id; providers allow 64."""

UNNAMED = "unnamed"
"""Stands for the tool of a call that names none; such a call is refused."""


class Unreadable(ValueError):  # noqa: N818 - it is said of the response
    """The response is no model's answer of its format: nothing in it is run. The message says why, for the agent."""


@dataclass(frozen=True, slots=True)
class ReadCall:
    """One call that the agent's side is asked to carry out."""

    kind: CallKind
    tool: str
    call_id: str | None
    """None where the provider sent none."""
    arguments: str
    """As the model sent them; for items without an arguments text, the JSON of what they carry instead."""
    caller: Mapping[str, Any] | None = None
    """Who called, where a program of the model did; the answer must repeat it."""
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A call that the provider has carried out: nothing to decide, but part of what happened."""

    tool: str
    item: str
    """The item's type, such as `web_search_call`."""
    call_id: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """A whole answer. Calls are in the response's order; every one of them has an id."""

    calls: tuple[ReadCall, ...]
    recorded: tuple[Recorded, ...] = ()
    note: str | None = None
    """What the agent should know of the response as a whole, such as that it was cut off."""


def made(
    kind: CallKind,
    *,
    tool: object,
    call_id: object,
    arguments: object,
    caller: object = None,
    fault: Fault | None = None,
) -> ReadCall:
    """A call from the raw fields of its item: what has the wrong type makes a fault, never an exception."""
    name = tool if isinstance(tool, str) and tool else UNNAMED
    if name != tool or len(name) > MAX_TOOL:
        fault = fault or Fault(code="unknown_tool", message=f"A tool's name has 1 to {MAX_TOOL} characters.")
    if not isinstance(arguments, str):
        fault = fault or Fault(code="malformed_arguments", message="The arguments must be JSON in a string.")
        arguments = _dumped(arguments)
    identity = call_id if isinstance(call_id, str) and call_id else None
    if identity is not None and len(identity) > MAX_CALL_ID:
        fault = fault or Fault(code="too_large", message=f"A call id has at most {MAX_CALL_ID} characters.")
        identity = identity[:MAX_CALL_ID]
    return ReadCall(
        kind=kind,
        tool=name[:MAX_TOOL],
        call_id=identity,
        arguments=arguments,
        caller=caller if isinstance(caller, dict) else None,
        fault=fault,
    )


def incomplete(what: str) -> Fault:
    """The fault of a call that the provider had not finished."""
    return Fault(code="incomplete", message=f"Not run: {what}. Send the call again if it is still wanted.")


def numbered(calls: Sequence[ReadCall]) -> tuple[ReadCall, ...]:
    """Give every call without an id one from its position, distinct from all ids that the provider sent."""
    taken = {call.call_id for call in calls}
    result = []
    for position, call in enumerate(calls):
        if call.call_id is not None:
            result.append(call)
            continue
        given = f"call_{position}"
        while given in taken:
            given += "_"
        taken.add(given)
        result.append(replace(call, call_id=given))
    return tuple(result)


def _dumped(value: object) -> str:
    """The JSON of fields that should have been a text: evidence of what came, never run."""
    return "" if value is None else orjson.dumps(value).decode()
