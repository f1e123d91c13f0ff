"""The output items of an OpenAI Responses object.

Three sorts of item call something. What the agent's side carries out becomes an action; what the provider has
carried out is recorded; and what looks like a call of a kind that is not known here becomes an action that is refused,
because running nothing and saying so is the only reading that can't do harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from callgate.events.actions import CallKind, Fault
from callgate.proposer.calls import ReadCall, Reading, Recorded, Unreadable, incomplete, made, numbered

Item = Mapping[str, Any]

PROVIDER_EXECUTED = frozenset(
    {
        "code_interpreter_call",
        "file_search_call",
        "image_generation_call",
        "mcp_call",
        "program",
        "web_search_call",
        "x_search_call",
    }
)
"""Items that the provider has carried out by the time that the response is complete."""

_FINAL = (None, "completed")
"""Statuses of a finished response or item. Compatible servers leave it out; one that is not finished always says so."""


def read_response(response: object) -> Reading:
    """The calls of a Responses object. Raises `Unreadable`."""
    if not isinstance(response, dict) or not isinstance(response.get("output"), list):
        reason = _error_of(response)
        message = f"the response has no list `output`{reason}"
        raise Unreadable(message)
    status = response.get("status")
    note = None if status in _FINAL else f"the response's status is {str(status)[:40]!r}"
    items = response["output"]
    answered = {_text(item, "call_id") for item in items if _is_output(item)} - {None, ""}
    calls: list[ReadCall] = []
    recorded: list[Recorded] = []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            message = f"`output[{index}]` is not an object"
            raise Unreadable(message)
        if _by_provider(item, answered):
            recorded.append(_recorded(item))
        elif _is_call(item):
            calls.append(_call(item, incomplete(note) if note else None))
    return Reading(calls=numbered(calls), recorded=tuple(recorded), note=note)


def _by_provider(item: Item, answered: set[str | None]) -> bool:
    """Whether the provider has carried it out by itself.

    A shell call has no field that says so in every version: one in the provider's container, or one whose output came
    in the same response, is over. Anything else is taken to be ours, because asking too often is the safe mistake.
    """
    kind = _text(item, "type")
    if kind in PROVIDER_EXECUTED:
        return True
    if kind == "tool_search_call":
        return item.get("execution") == "server"
    if kind == "shell_call":
        environment = item.get("environment")
        hosted = isinstance(environment, dict) and environment.get("type") == "container_reference"
        return hosted or _text(item, "call_id") in answered
    return False


def _is_call(item: Item) -> bool:
    """Whether something is to be carried out. New kinds show by their name or by having a call id."""
    kind = item.get("type")
    if kind == "mcp_approval_request":
        return True
    if not isinstance(kind, str):
        # Without a type it may be the short form of a message, which has a role; anything else may be a call.
        return "role" not in item and any(field in item for field in ("call_id", "arguments", "name"))
    if kind.endswith("_output"):
        return False
    return kind.endswith("_call") or "call_id" in item


def _is_output(item: object) -> bool:
    """Items that answer a call; in a response only the provider writes them."""
    return isinstance(item, dict) and str(item.get("type")).endswith("_output")


def _call(item: Item, fault: Fault | None) -> ReadCall:
    """The call of an item. The response's fault, where it has one, stands above the item's own status."""
    if fault is None and item.get("status") not in _FINAL:
        fault = incomplete(f"the call's status is {str(item.get('status'))[:40]!r}")
    reader = _READERS.get(str(item.get("type")), _unsupported)
    return reader(item, fault)


def _function(item: Item, fault: Fault | None) -> ReadCall:
    """A function call: the arguments are a JSON text, and stay one until they are validated."""
    return made(
        "function_call",
        tool=_qualified(item),
        call_id=item.get("call_id"),
        arguments=item.get("arguments"),
        caller=item.get("caller"),
        fault=fault,
    )


def _custom(item: Item, fault: Fault | None) -> ReadCall:
    """A custom tool takes free text. It becomes the one argument `input`, so that a schema can bound it."""
    return made(
        "custom_tool_call",
        tool=_qualified(item),
        call_id=item.get("call_id"),
        arguments=orjson.dumps({"input": item.get("input")}).decode(),
        caller=item.get("caller"),
        fault=fault,
    )


def _mcp_approval(item: Item, fault: Fault | None) -> ReadCall:
    """The provider asks whether it may run a tool of an MCP server.

    It has no call id: the request's own id is what the answer names.
    """
    return made(
        "mcp_approval_request",
        tool=item.get("name"),
        call_id=item.get("id"),
        arguments=item.get("arguments"),
        fault=fault,
    )


def _carrying(kind: CallKind, field: str) -> Callable[[Item, Fault | None], ReadCall]:
    """A reader for kinds without a name, whose one object says what is to be done; they are named by their kind."""

    def reader(item: Item, fault: Fault | None) -> ReadCall:
        return made(
            kind,
            tool=kind,
            call_id=item.get("call_id"),
            arguments=orjson.dumps(item.get(field)).decode(),
            caller=item.get("caller"),
            fault=fault,
        )

    return reader


def _computer(item: Item, fault: Fault | None) -> ReadCall:
    """Safety checks belong to what a person has to see, so they are arguments like the action itself."""
    asked = {name: item[name] for name in ("action", "actions", "pending_safety_checks") if name in item}
    return made(
        "computer_call",
        tool="computer_call",
        call_id=item.get("call_id"),
        arguments=orjson.dumps(asked).decode(),
        fault=fault,
    )


def _unsupported(item: Item, fault: Fault | None) -> ReadCall:
    """The whole item is kept as arguments: an operator can see what was asked, and it is never run."""
    kind = str(item.get("type") or "call")
    return made(
        "unsupported_call",
        tool=kind,
        call_id=item.get("call_id") or item.get("id"),
        arguments=orjson.dumps({"item": item}).decode(),
        fault=fault or Fault(code="unsupported_kind", message="Calls of this kind are not supported here."),
    )


_READERS: dict[str, Callable[[Item, Fault | None], ReadCall]] = {
    "function_call": _function,
    "custom_tool_call": _custom,
    "mcp_approval_request": _mcp_approval,
    "shell_call": _carrying("shell_call", "action"),
    "local_shell_call": _carrying("local_shell_call", "action"),
    "apply_patch_call": _carrying("apply_patch_call", "operation"),
    "computer_call": _computer,
}


def _text(item: Item, field: str) -> str | None:
    """A field that is a text, else None: models and servers put anything anywhere."""
    value = item.get(field)
    return value if isinstance(value, str) else None


def _qualified(item: Item) -> object:
    """A tool in a namespace is another tool than the one of that name outside it."""
    name, namespace = item.get("name"), item.get("namespace")
    return f"{namespace}.{name}" if isinstance(namespace, str) and namespace and isinstance(name, str) else name


def _recorded(item: Item) -> Recorded:
    """What is kept of a provider's call: who and what. Its output is in the response already."""
    return Recorded(
        tool=_text(item, "name") or str(item["type"]),
        item=str(item["type"]),
        call_id=_text(item, "call_id") or _text(item, "id"),
    )


def _error_of(response: object) -> str:
    """The code of an error body, which agents often submit in place of a response; its text may quote input."""
    error = response.get("error") if isinstance(response, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return f"; it is an error ({code[:80]})" if isinstance(code, str) else ""
