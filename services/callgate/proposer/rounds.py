"""One round with the model: what it is asked, and what its answer means. Pure.

The request holds the whole history and nothing of it is stored at the provider, so that any process can send the next
one. An answer is acted on only if it is whole: everything else ends the turn as what it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import orjson

from callgate.events.turns import TurnSubmitted
from callgate.proposer.calls import Reading, Unreadable
from callgate.proposer.responses import read_response
from callgate.tools import strict_json

SEALED = "reasoning.encrypted_content"
"""What must be included so that reasoning can be sent back without being stored."""

MOST_BYTES = 900_000
"""The largest answer that is kept: it must fit into a record together with what is said of it."""

_OURS = ("model", "input", "store", "stream", "stream_options", "background")
_STATEFUL = ("previous_response_id", "conversation")
_TRANSIENT = frozenset({"server_error", "rate_limit_exceeded", "vector_store_timeout"})
_SHOWN = 300


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens that the provider counted."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0

    def plus(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """What an answer means: `calls` are to be made, `final` is the model's last word, the rest ends the turn.

    `again` means that the provider failed in a way that passes: nothing was answered, and it may be asked again.
    `running` is an answer in the background that is not there yet.
    """

    outcome: Literal["calls", "final", "incomplete", "failed", "again", "running"]
    reason: str | None = None
    reading: Reading | None = None
    usage: Usage | None = None


def fault_of(turn: TurnSubmitted, *, background: bool = False) -> str | None:
    """Why a turn can't be run, or None; `background` says whether answers may be made there.

    What the loop needs for itself can't be an option of the agent's.
    """
    try:
        options = strict_json.loads(bytes(turn.options))
        given = strict_json.loads(bytes(turn.input))
    except strict_json.NotStrict as error:
        return f"its input or options are not valid JSON: {error}"
    if not isinstance(options, dict):
        return "its options are not a JSON object"
    if not isinstance(given, str) and not (isinstance(given, list) and all(isinstance(item, dict) for item in given)):
        return "its input is neither a text nor a list of items"
    for name in _STATEFUL:
        if options.get(name):
            return f"its option `{name}` can't be used: Callgate sends the whole history itself"
    if options.get("background") and not background:
        return "its option `background` can't be used: CALLGATE_MODEL_BACKGROUND_SECONDS is 0 here"
    if options.get("store"):
        return "its option `store` can't be used: nothing is stored at the provider"
    for name in ("model", "input"):
        if name in options:
            return f"`{name}` stands among its options; it has a field of its own"
    return None if turn.max_tool_rounds >= 0 else "its max_tool_rounds is negative"


def wants_stream(options: bytes) -> bool:
    """Whether the agent asked for the answer as it comes."""
    return orjson.loads(options).get("stream") is True


def wants_background(options: bytes) -> bool:
    """Whether the agent asked for the answer to be made in the background."""
    return bool(orjson.loads(options).get("background"))


def request(
    model: str, given: bytes, options: bytes, past: Sequence[bytes], tools: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The body of the next request. `past` are the items since the turn's own input, as JSON; they are copied as are.

    `tools` are offered where the agent names none.
    """
    asked = orjson.loads(options)
    body = {name: value for name, value in asked.items() if name not in _OURS and name not in _STATEFUL}
    include = body.get("include")
    listed = include if isinstance(include, list) else []
    body["include"] = listed if SEALED in listed else [*listed, SEALED]
    if tools and "tools" not in body:
        body["tools"] = list(tools)
    body["model"] = model
    body["store"] = False
    if asked.get("background"):
        # What is made in the background must be stored, to be fetched; and it is fetched, so nothing streams.
        body["background"] = body["store"] = True
    elif asked.get("stream") is True:
        body["stream"] = True
    body["input"] = [*(orjson.Fragment(item) for item in items_of(given)), *(orjson.Fragment(item) for item in past)]
    return body


def items_of(given: bytes) -> list[bytes]:
    """A turn's own input as items, each as JSON; a text is one message of the user's."""
    value = orjson.loads(given)
    if isinstance(value, str):
        return [orjson.dumps({"role": "user", "content": value})]
    return [bytes(item) for item in msgspec.json.decode(given, type=list[msgspec.Raw])]


def output_items(response: bytes) -> list[bytes]:
    """The items of an answer, each as the JSON that it came in."""
    return [bytes(item) for item in msgspec.json.decode(response, type=_Output).output]


def judge(response: bytes) -> Judged:
    """What an answer means. Total: any bytes have a meaning, and only a whole answer is one to act on."""
    if len(response) > MOST_BYTES:
        return Judged("failed", f"the model's answer of {len(response)} bytes is too large")
    try:
        value = strict_json.loads(response)
    except strict_json.NotStrict:
        return Judged("again", "the model's answer is not valid JSON")
    if not isinstance(value, dict):
        return Judged("again", "the model's answer is not a JSON object")
    error = _error(value)
    usage = _usage(value)
    if error is not None:
        code, message = error
        return Judged("again" if code in _TRANSIENT else "failed", message, usage=usage)
    try:
        reading = read_response(value)
    except Unreadable as unreadable:
        return Judged("failed", f"the model's answer can't be read: {unreadable}")
    status = value.get("status")
    if status == "incomplete":
        details = value.get("incomplete_details")
        why = details.get("reason") if isinstance(details, dict) else None
        return Judged("incomplete", f"the model's answer was cut off ({str(why)[:_SHOWN]})", usage=usage)
    if status not in (None, "completed"):
        return Judged("failed", f"the model's answer is not finished: its status is {str(status)[:40]!r}", usage=usage)
    if reading.calls:
        return Judged("calls", reading.note, reading, usage)
    return Judged("final", _lacking(value["output"]), reading, usage)


class _Output(msgspec.Struct):
    output: list[msgspec.Raw]


def _error(value: Mapping[str, Any]) -> tuple[str, str] | None:
    """Code and words of an answer that says that there is none: a failed response, an error body, or a flat error."""
    flat = value.get("type") == "error"
    error = value if flat else value.get("error")
    if value.get("status") != "failed" and not flat and ("output" in value or error is None):
        return None
    if not isinstance(error, dict):
        return "", "the model failed and did not say why"
    code, message = str(error.get("code") or ""), str(error.get("message") or "")
    words = ": ".join(part for part in (code, message[:_SHOWN]) if part)
    return code, f"the model failed: {words}" if words else "the model failed and did not say why"


def _usage(value: Mapping[str, Any]) -> Usage | None:
    """What was counted, where all of it is there and is a count: providers put anything anywhere."""
    usage = value.get("usage")
    if not isinstance(usage, dict):
        return None
    taken, given = usage.get("input_tokens"), usage.get("output_tokens")
    if not (isinstance(taken, int) and isinstance(given, int) and taken >= 0 and given >= 0):
        return None
    return Usage(input_tokens=taken, output_tokens=given, total_tokens=taken + given)


def _lacking(output: Sequence[Any]) -> str | None:
    """What an agent should know of a last word that is none: a refusal, or nothing at all."""
    parts = [part for item in output for part in _parts(item)]
    refusals = [str(part.get("refusal") or "") for part in parts if part.get("type") == "refusal"]
    if refusals:
        return f"the model refused: {' '.join(refusals)[:_SHOWN]}"
    if any(part.get("text") for part in parts):
        return None
    return "the model answered nothing"


def _parts(item: Any) -> Iterator[Mapping[str, Any]]:
    content = item.get("content") if isinstance(item, dict) and item.get("type") == "message" else None
    return (part for part in (content if isinstance(content, list) else []) if isinstance(part, dict))
