"""A response as the events of a stream, in the order and with the fields that the SDK demands. Pure.

Texts and arguments are cut into pieces of a fixed length, and no padding is added: a run repeats itself byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from callgate.sandbox.model.breaks import Break, broken

Shape = dict[str, Any]

_PIECE = 16
_RAW = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
}
_ENDS = {"completed": "response.completed", "incomplete": "response.incomplete", "failed": "response.failed"}


def events(response: Mapping[str, Any], fault: Break | None = None) -> Iterator[Shape]:
    """The events, broken where a fault says so."""
    for number, event in enumerate(broken(list(_events(response)), fault)):
        yield {**event, "sequence_number": number}


def _events(response: Mapping[str, Any]) -> Iterator[Shape]:
    early = {**response, "status": "in_progress", "output": [], "usage": None, "error": None, "completed_at": None}
    early["incomplete_details"] = None
    yield {"type": "response.created", "response": early}
    if response["background"]:
        yield {"type": "response.queued", "response": {**early, "status": "queued"}}
    yield {"type": "response.in_progress", "response": early}
    for index, item in enumerate(response["output"]):
        yield from _item(index, item)
    # A cancelled response has no last event of its own.
    if response["status"] in _ENDS:
        yield {"type": _ENDS[response["status"]], "response": dict(response)}


def _item(index: int, item: Shape) -> Iterator[Shape]:
    place = {"item_id": item.get("id", ""), "output_index": index}
    kind = item.get("type")
    added = dict(item)
    if "status" in item:
        added["status"] = "in_progress"
    if kind == "message":
        added["content"] = []
    elif kind in _RAW:
        added[_RAW[kind][0]] = ""
    yield {"type": "response.output_item.added", "output_index": index, "item": added}
    if kind == "message":
        for at, part in enumerate(item["content"]):
            yield from _part({**place, "content_index": at}, part)
    elif kind in _RAW:
        field, name = _RAW[kind]
        for piece in _pieces(item[field]):
            yield {"type": f"{name}.delta", **place, "delta": piece}
        # The name stands in the item only; older versions of the SDK want it here, too.
        extra = {"name": item["name"]} if kind == "function_call" else {}
        yield {"type": f"{name}.done", **place, field: item[field], **extra}
    yield {"type": "response.output_item.done", "output_index": index, "item": dict(item)}


def _part(place: Shape, part: Shape) -> Iterator[Shape]:
    refused = part["type"] == "refusal"
    field = "refusal" if refused else "text"
    name = "response.refusal" if refused else "response.output_text"
    extra: Shape = {} if refused else {"logprobs": []}
    yield {"type": "response.content_part.added", **place, "part": {**part, field: ""}}
    for piece in _pieces(part[field]):
        yield {"type": f"{name}.delta", **place, "delta": piece, **extra}
    yield {"type": f"{name}.done", **place, field: part[field], **extra}
    yield {"type": "response.content_part.done", **place, "part": dict(part)}


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
