"""A Chat Completions answer: a whole completion, or only its assistant message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from callgate.events.actions import Fault
from callgate.proposer.calls import ReadCall, Reading, Unreadable, incomplete, made, numbered

LEGACY = "function_call"
"""The tool name of a call in the old field; it gets no answering message."""

_FINAL = (None, "stop", "tool_calls", "function_call")
"""Finish reasons after which the calls are whole; a bare message has none."""


def read_chat(response: object) -> Reading:
    """The calls of a completion or assistant message. Raises `Unreadable`."""
    message, finish = _message(response)
    role = message.get("role", "assistant")
    if role != "assistant":
        reason = f"the message's role is {str(role)[:40]!r}, not 'assistant'"
        raise Unreadable(reason)
    note = None if finish in _FINAL else f"the completion's finish reason is {str(finish)[:40]!r}"
    entries = message.get("tool_calls")
    if entries is None:
        entries = []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        reason = "`tool_calls` is not a list of objects"
        raise Unreadable(reason)
    fault = incomplete(note) if note else None
    calls = [_call(entry, fault) for entry in entries]
    if message.get("function_call") is not None:
        calls.append(_legacy(message["function_call"], fault))
    return Reading(calls=numbered(calls), note=note)


def _message(response: object) -> tuple[Mapping[str, Any], object]:
    """The assistant message and the finish reason; a bare message has none, and counts as whole."""
    if not isinstance(response, dict):
        reason = "the response is not an object"
        raise Unreadable(reason)
    if "choices" not in response:
        if not {"role", "content", "tool_calls"} & response.keys():
            reason = "the response is neither a completion with `choices` nor an assistant message"
            raise Unreadable(reason)
        return response, None
    choices = response["choices"]
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        reason = "`choices` must hold exactly one choice: which of several counts is the agent's to say"
        raise Unreadable(reason)
    message = choices[0].get("message")
    if not isinstance(message, dict):
        reason = "`choices[0].message` is not an object"
        raise Unreadable(reason)
    return message, choices[0].get("finish_reason")


def _call(entry: Mapping[str, Any], fault: Fault | None) -> ReadCall:
    """A function or custom call; an entry of another type is refused, and still answered by its id."""
    kind = entry.get("type", "function")
    if kind == "function":
        function = entry.get("function")
        inner = function if isinstance(function, dict) else {}
        return made(
            "function_call",
            tool=inner.get("name"),
            call_id=entry.get("id"),
            arguments=inner.get("arguments"),
            fault=fault,
        )
    custom = entry.get("custom")
    if kind == "custom" and isinstance(custom, dict):
        return made(
            "custom_tool_call",
            tool=custom.get("name"),
            call_id=entry.get("id"),
            arguments=orjson.dumps({"input": custom.get("input")}).decode(),
            fault=fault,
        )
    return made(
        "unsupported_call",
        tool=str(kind)[:80],
        call_id=entry.get("id"),
        arguments=orjson.dumps({"item": entry}).decode(),
        fault=fault or Fault(code="unsupported_kind", message="Calls of this kind are not supported here."),
    )


def _legacy(function: object, fault: Fault | None) -> ReadCall:
    """The `function_call` field that `tool_calls` has replaced: it has no id under which it could be answered."""
    return made(
        "unsupported_call",
        tool=LEGACY,
        call_id=None,
        arguments=orjson.dumps({"item": function}).decode(),
        fault=fault or Fault(code="unsupported_kind", message="Use tool calls instead of `function_call`."),
    )
