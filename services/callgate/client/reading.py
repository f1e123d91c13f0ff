"""Which of the two known shapes a model's answer has, from the answer alone."""

from __future__ import annotations

import orjson

from callgate.events.turns import ResponseFormat
from callgate.failures import BadInput

_WAY_OUT = "Give the model's answer as its API returned it"


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
