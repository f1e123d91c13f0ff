"""Streams that are broken on purpose: cut, ended early, or in contradiction to themselves. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

Shape = dict[str, Any]

Break = Literal[
    "cut", "cut_before_delta", "cut_after_delta", "cut_after_item", "no_end", "error_event", "nested_error",
    "flat_error", "no_created", "other_id", "other_call", "early_delta", "added_twice", "unfinished",
]  # fmt: skip
"""`cut`: the stream ends in the middle, or, more exactly, before or after the first delta, or after the first item
that is done; `no_end`: without its last event; `error_event`: with an `error` event; `nested_error`: with an event that
has an error inside; `flat_error`: the whole answer is an error object under status 200. The rest break what the SDK
relies on: `no_created` lacks the first event, `other_id` ends with another response, `other_call` with another call,
`early_delta` has a delta before its item, `added_twice` an item twice, `unfinished` an item that is never done. Without
streaming, whatever cuts the stream closes the connection before the answer, and the rest leaves it as it is."""

CUTTING: frozenset[str] = frozenset(
    {"cut", "cut_before_delta", "cut_after_delta", "cut_after_item", "no_end", "error_event", "nested_error"}
)
"""Those that end a stream before its last event."""

_FLAT: Shape = {"type": "error", "code": "server_error", "message": "The script asked for this.", "param": None}
_NESTED: Shape = {
    "type": "error",
    "error": {"type": "server_error", "code": "server_error", "message": "The script asked for this.", "param": None},
}


def broken(whole: list[Shape], fault: str | None) -> list[Shape]:
    """The events with that fault; whole where they have no place for it."""
    return _BREAKS[fault](whole) if fault is not None and fault in _BREAKS else whole


def _first(whole: list[Shape], part: str) -> int:
    """Where the first event is whose type contains `part`; the middle where there is none."""
    return next((at for at, event in enumerate(whole) if part in event["type"]), len(whole) // 2)


def _ending(whole: list[Shape], change: Callable[[Shape], Shape]) -> list[Shape]:
    return [*whole[:-1], {**whole[-1], "response": change(whole[-1]["response"])}]


def _other_call(whole: list[Shape]) -> list[Shape]:
    at = _first(whole, "output_item.done")
    if "item" not in whole[at]:
        return whole
    item: Mapping[str, Any] = whole[at]["item"]
    other = {name: f"{item[name]}_other" for name in ("id", "call_id") if name in item}
    return [*whole[:at], {**whole[at], "item": {**item, **other}}, *whole[at + 1 :]]


def _early_delta(whole: list[Shape]) -> list[Shape]:
    added, delta = _first(whole, "output_item.added"), _first(whole, ".delta")
    return [*whole[:added], whole[delta], *whole[added:delta], *whole[delta + 1 :]]


def _added_twice(whole: list[Shape]) -> list[Shape]:
    at = _first(whole, "output_item.added")
    return [*whole[: at + 1], *whole[at:]]


def _unfinished(whole: list[Shape]) -> list[Shape]:
    at = _first(whole, "output_item.done")
    return _ending(whole[:at] + whole[at + 1 :], lambda response: {**response, "output": []})


_BREAKS: Mapping[str, Callable[[list[Shape]], list[Shape]]] = {
    "cut": lambda whole: whole[: len(whole) // 2],
    "cut_before_delta": lambda whole: whole[: _first(whole, ".delta")],
    "cut_after_delta": lambda whole: whole[: _first(whole, ".delta") + 1],
    "cut_after_item": lambda whole: whole[: _first(whole, "output_item.done") + 1],
    "no_end": lambda whole: whole[:-1],
    "error_event": lambda whole: [*whole[:2], _FLAT],
    "nested_error": lambda whole: [*whole[:2], _NESTED],
    "no_created": lambda whole: whole[1:],
    "other_id": lambda whole: _ending(whole, lambda response: {**response, "id": f"{response['id']}_other"}),
    "other_call": _other_call,
    "early_delta": _early_delta,
    "added_twice": _added_twice,
    "unfinished": _unfinished,
}
