"""A response as the events of a stream, in the order and with the fields that the SDK demands. Pure.

Texts and arguments are cut into pieces of a fixed length, and no padding is added: a run repeats itself byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from callgate.sandbox.model.script import Break

Shape = dict[str, Any]

_PIECE = 16
_ENDS = {"completed": "response.completed", "incomplete": "response.incomplete", "failed": "response.failed"}


def events(response: Mapping[str, Any], fault: Break | None = None) -> Iterator[Shape]:
    """The events. With `cut` they end in the middle, with `no_end` before the last, with `error_event` in an error."""
    for number, event in enumerate(_broken(list(_events(response)), fault)):
        yield {**event, "sequence_number": number}


def _broken(whole: list[Shape], fault: Break | None) -> list[Shape]:
    if fault == "cut":
        return whole[: len(whole) // 2]
    if fault == "no_end":
        return whole[:-1]
    if fault == "error_event":
        error = {"type": "error", "code": "server_error", "message": "The script asked for this.", "param": None}
        return [*whole[:2], error]
    return whole


def _events(response: Mapping[str, Any]) -> Iterator[Shape]:
    early = {**response, "status": "in_progress", "output": [], "usage": None, "error": None, "completed_at": None}
    early["incomplete_details"] = None
    yield {"type": "response.created", "response": early}
    yield {"type": "response.in_progress", "response": early}
    for index, item in enumerate(response["output"]):
        yield from _item(index, item)
    yield {"type": _ENDS.get(response["status"], "response.in_progress"), "response": dict(response)}


def _item(index: int, item: Shape) -> Iterator[Shape]:
    place = {"item_id": item.get("id", ""), "output_index": index}
    kind = item.get("type")
    added = dict(item)
    if "status" in item:
        added["status"] = "in_progress"
    if kind == "message":
        added["content"] = []
    elif kind == "function_call":
        added["arguments"] = ""
    yield {"type": "response.output_item.added", "output_index": index, "item": added}
    if kind == "message":
        for at, part in enumerate(item["content"]):
            yield from _part({**place, "content_index": at}, part)
    elif kind == "function_call":
        for piece in _pieces(item["arguments"]):
            yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
        # The name stands in the item only; older versions of the SDK want it here, too.
        end = {"arguments": item["arguments"], "name": item["name"]}
        yield {"type": "response.function_call_arguments.done", **place, **end}
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
