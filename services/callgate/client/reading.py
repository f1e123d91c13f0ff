"""A model's answer as a program has it: its bytes, and which of the two known shapes it has, from the answer alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from callgate.events.turns import ResponseFormat
from callgate.failures import BadInput

_WAY_OUT = "Give the model's answer as its API returned it"


class Typed(Protocol):
    """An answer as the `openai` package gives it."""

    def to_dict(self, *, mode: Any = ...) -> Mapping[str, Any]:
        """The answer as its API sent it; JSON with `mode="json"`."""
        ...


Answer = Mapping[str, Any] | bytes | Typed
"""A model's answer: a Responses object, or a Chat Completions message or completion; typed, decoded or as JSON."""


def raw_of(answer: Answer) -> bytes:
    """The answer as JSON; bytes stay as they are. Raises BadInput."""
    if isinstance(answer, bytes):
        return answer
    try:
        given = answer if isinstance(answer, Mapping) else answer.to_dict(mode="json")
        return orjson.dumps(dict(given))
    except (AttributeError, TypeError, ValueError) as error:
        raise BadInput("response", f"is not JSON ({error})", _WAY_OUT) from error


def format_of(response: bytes) -> ResponseFormat:
    """`responses` for an object with `output`; `chat_completions` for an assistant message or a completion."""
    try:
        value = orjson.loads(response)
    except orjson.JSONDecodeError as error:
        raise BadInput("response", "is not JSON", _WAY_OUT) from error
    if isinstance(value, dict):
        if isinstance(value.get("output"), list):
            return "responses"
        if isinstance(value.get("choices"), list) or value.get("role") == "assistant":
            return "chat_completions"
    raise BadInput(
        "response",
        "is neither a Responses object (with `output`) nor a chat completion or its assistant message",
        _WAY_OUT,
    )
