"""Hypothesis strategies for every event, derived from the structs: a new field is covered when it is written."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import orjson
from hypothesis import strategies as st
from msgspec import inspect

from callgate.events.codec import REGISTRY
from callgate.events.event import Event

PARTITIONS = 8
_DEPTH = 3
_HASH = "abcdefghijklmnopqrstuvwx"

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
"""Any text that UTF-8 can hold: a lone surrogate never comes out of the decoder."""

_integers = st.integers(-(2**63), 2**63 - 1)
_floats = st.floats(allow_nan=False, allow_infinity=False)
_PLAIN: dict[type[inspect.Type], st.SearchStrategy[Any]] = {
    inspect.IntType: _integers,
    inspect.FloatType: _floats,
    inspect.BoolType: st.booleans(),
    inspect.NoneType: st.none(),
}

located_ids = st.builds(
    lambda kind, partition, tail: f"{kind}_{partition:03d}_{tail}",
    st.sampled_from(["act", "trn", "apr"]),
    st.integers(0, PARTITIONS - 1),
    st.text(_HASH, min_size=24, max_size=24),
)
"""Ids as ours are made, on a log of `PARTITIONS` partitions."""

json_values = st.recursive(
    st.none() | st.booleans() | _integers | _floats | text,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(text, children, max_size=3),
    max_leaves=6,
)
"""Decoded JSON of any kind."""

raw_json = json_values.map(lambda value: msgspec.Raw(orjson.dumps(value)))
"""Undecoded JSON, as events carry it."""

some_json = json_values.filter(lambda value: value is not None).map(lambda value: msgspec.Raw(orjson.dumps(value)))
"""Undecoded JSON that is not null."""

kinds = st.sampled_from([REGISTRY[name] for name in sorted(REGISTRY)])
"""Every type of event."""


def events(kind: type[Event]) -> st.SearchStrategy[Event]:
    """Every event of `kind` that its struct allows, with ids of ours."""
    return _struct(inspect.type_info(kind), 0)


def any_event() -> st.SearchStrategy[Event]:
    """Every event of every kind."""
    return kinds.flatmap(events)


def _struct(info: inspect.Type, depth: int) -> st.SearchStrategy[Any]:
    assert isinstance(info, inspect.StructType)
    required = {each.name: _value(each.type, depth + 1) for each in info.fields if each.required}
    optional = {each.name: _value(each.type, depth + 1) for each in info.fields if not each.required and depth < _DEPTH}
    return st.fixed_dictionaries(required, optional=optional).map(lambda values: info.cls(**values))


def _value(info: inspect.Type, depth: int) -> st.SearchStrategy[Any]:
    match info:
        case inspect.StrType(pattern=pattern) if pattern is not None:
            return _matching(pattern)
        case inspect.StrType(min_length=least):
            return text if not least else text.filter(bool)
        case inspect.RawType():
            return raw_json
        case inspect.LiteralType(values=values):
            return st.sampled_from(sorted(values, key=str))
        case inspect.UnionType(types=types):
            return st.one_of([_optional(each, depth) for each in types])
        case inspect.VarTupleType(item_type=item):
            return st.lists(_value(item, depth), max_size=3).map(tuple)
        case inspect.StructType():
            return _struct(info, depth)
        case _ if type(info) in _PLAIN:
            return _PLAIN[type(info)]
        case _:
            message = f"no strategy for {info}: add one, so that the new field is covered"
            raise NotImplementedError(message)


def _optional(info: inspect.Type, depth: int) -> st.SearchStrategy[Any]:
    """An optional field can't tell a JSON null from its absence, so none is made there."""
    return some_json if isinstance(info, inspect.RawType) else _value(info, depth)


def _matching(pattern: str) -> st.SearchStrategy[str]:
    if re.fullmatch(pattern, "act_000_x"):
        return located_ids
    return st.from_regex(pattern, fullmatch=True)
