"""Where a BIGHUB answer carries constraints, and how they become one mapping of names to values. Pure.

No document says where they go, so every place that can hold them counts, on every answer: `constraints` (an object, or
a list), `decision_packet.constraints` (a list), and the fields of a limited result, `max_percentage` and `duration`.
A list's items are objects with `name` (or `type`, or `constraint`) and `value`, objects of one key, or bare names.
What can't be read as a name and a value can't be honoured either, so it asks for a person.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from callgate.bighub.signals import Severity, Signal


class Gathered(msgspec.Struct, frozen=True):
    """The constraints of an answer, and what their presence means for its severity."""

    constraints: Mapping[str, object]
    signal: Signal | None


class _Unreadable(Exception):  # noqa: N818 - never leaves this file
    """A constraint without a name, or one name with two values."""


def gather(answer: Mapping[str, object]) -> Gathered:
    """All constraints of `answer`. A carrier of the wrong JSON type blocks; an unreadable constraint is a review."""
    packet = answer.get("decision_packet")
    carriers: list[tuple[str, object]] = [("constraints", answer.get("constraints"))]
    if isinstance(packet, dict):
        carriers.append(("decision_packet.constraints", packet.get("constraints")))
    for field, carrier in carriers:
        if carrier is not None and not isinstance(carrier, dict | list):
            return Gathered({}, Signal(field, f"a {type(carrier).__name__}", Severity.BLOCK))
    limit, duration = answer.get("max_percentage"), answer.get("duration")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float)):
        return Gathered({}, Signal("max_percentage", f"a {type(limit).__name__}", Severity.BLOCK))
    if duration is not None and not isinstance(duration, str):
        return Gathered({}, Signal("duration", f"a {type(duration).__name__}", Severity.BLOCK))
    found: dict[str, object] = {}
    try:
        for field, carrier in (*carriers, ("max_percentage", limit), ("duration", duration or None)):
            for name, value in _named(field, carrier):
                _put(found, name, value)
    except (_Unreadable, RecursionError):  # two values nested too deep to compare differ, for all that we know
        return Gathered(found, Signal(field, "can't be read as names and values", Severity.REVIEW))
    said = ", ".join(sorted(found))[:64]
    return Gathered(found, Signal("constraints", said, Severity.CONSTRAINED) if found else None)


def _put(found: dict[str, object], name: str, value: object) -> None:
    """Keep a constraint; one that is said twice must be the same both times, since nothing says which would count."""
    if name in found and found[name] != value:
        raise _Unreadable
    found[name] = value


def _named(field: str, carrier: object) -> Iterator[tuple[str, object]]:
    match carrier:
        case None:
            return
        case dict():
            yield from ((str(name), value) for name, value in carrier.items())
        case list():
            for item in carrier:
                yield from _item(item)
        case _:
            yield field, carrier


def _item(item: object) -> Iterator[tuple[str, object]]:
    """One item of a list. Raises `_Unreadable` rather than guess: a guessed constraint is one that nobody keeps to."""
    match item:
        case str() if item.strip():
            yield item, True
        case dict():
            name = item.get("name") or item.get("type") or item.get("constraint")
            if isinstance(name, str) and "value" in item:
                yield name, item["value"]
            elif isinstance(name, str) and len(item) == 1 and "name" in item:
                yield name, True
            elif len(item) == 1 and name is None:
                yield from ((str(key), value) for key, value in item.items())
            else:
                raise _Unreadable
        case _:
            raise _Unreadable
