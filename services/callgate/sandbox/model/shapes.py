"""The Response object and its items, complete enough for the SDK's strict validation. Pure.

Ids come from what was asked, so that a run repeats itself; token counts come from bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from callgate.events.ids import fingerprint
from callgate.sandbox.model.rules import name_of
from callgate.sandbox.model.script import Round

Shape = dict[str, Any]

_ECHOED = (
    "instructions", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls", "previous_response_id",
    "reasoning", "safety_identifier", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p",
    "truncation", "user",
)  # fmt: skip
_DEFAULTS: Mapping[str, Any] = {
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
}
_BYTES_A_TOKEN = 4


def response_of(body: Mapping[str, Any], made: Round, seed: str, now: int) -> Shape:
    """The answer to a request. `seed` makes its ids; it must differ between any two answers of a conversation."""
    output = [] if made.status in ("failed", "queued", "in_progress", "cancelled") else _output(made, seed)
    return {
        "id": f"resp_{fingerprint(seed)}",
        "object": "response",
        "created_at": now,
        "completed_at": now if made.status == "completed" else None,
        "status": made.status,
        "background": body.get("background") is True,
        "conversation": {"id": conversation} if (conversation := name_of(body)) is not None else None,
        "error": dict(made.error) if made.error is not None else None,
        "incomplete_details": {"reason": made.reason} if made.status == "incomplete" else None,
        "model": body["model"],
        "output": output,
        "service_tier": "default",
        "store": body.get("store") is not False,
        "usage": None if made.status in ("queued", "in_progress") else usage_of(body, output),
        **{name: body[name] if body.get(name) is not None else _DEFAULTS.get(name) for name in _ECHOED},
    }


def _output(made: Round, seed: str) -> list[Shape]:
    if made.items is not None:
        return [dict(item) for item in made.items]
    cut = made.status == "incomplete"
    items: list[Shape] = []
    if made.reasoning is not None:
        sealed = fingerprint(seed, "sealed")
        shape = {"type": "reasoning", "summary": [{"type": "summary_text", "text": made.reasoning}]}
        items.append({"id": f"rs_{fingerprint(seed, 'r')}", **shape, "encrypted_content": sealed})
    parts: list[Shape] = []
    if made.text is not None:
        parts.append({"type": "output_text", "text": made.text, "annotations": [], "logprobs": []})
    if made.refusal is not None:
        parts.append({"type": "refusal", "refusal": made.refusal})
    if parts:
        status = "incomplete" if cut and not made.calls else "completed"
        items.append(
            {"id": f"msg_{fingerprint(seed, 'm')}", "type": "message", "role": "assistant", "status": status}
            | {"content": parts}
        )
    for index, call in enumerate(made.calls):
        last = index == len(made.calls) - 1
        items.append(
            {
                "id": f"fc_{fingerprint(seed, index)}",
                "type": "function_call",
                "call_id": call.call_id or f"call_{fingerprint(seed, 'call', index)}",
                "name": call.name,
                "arguments": call.arguments,
                "status": "incomplete" if cut and last else "completed",
            }
        )
    return items


def usage_of(body: Mapping[str, Any], output: Sequence[Shape]) -> Shape:
    """Tokens of a request and its answer, counted by bytes."""
    taken = _tokens([body.get("input"), body.get("instructions"), body.get("tools")])
    given = _tokens(output) if output else 0
    return {
        "input_tokens": taken,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": given,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": taken + given,
    }


def _tokens(value: object) -> int:
    return len(orjson.dumps(value)) // _BYTES_A_TOKEN + 1
