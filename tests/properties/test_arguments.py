"""Arguments are read strictly: one reading, or a fault."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.event_values import json_values, text

from callgate.events.actions import Fault
from callgate.tools.arguments import MAX_BYTES, compile_schema, parse, validate
from callgate.tools.strict_json import MAX_DEPTH


@given(st.dictionaries(text, json_values, max_size=5))
def test_every_json_object_is_read_as_it_is(value: dict[str, Any]) -> None:
    """A JSON object gives the value that every other reader gets, whatever its spacing and escapes."""
    assert parse(orjson.dumps(value)) == value
    assert parse(json.dumps(value, indent=2)) == value


def test_a_repeated_key_is_found_as_fast_as_the_text_is_read() -> None:
    """Among as many keys as arguments can have, one that occurs twice holds up nobody else's work for seconds."""
    keys = [f"{number:x}" for number in range(25_000)]
    raw = "{" + ",".join(f'"{key}":1' for key in [*keys, keys[-1]]) + "}"
    assert len(raw) < MAX_BYTES
    began = time.process_time()
    result = parse(raw)
    assert time.process_time() - began < 1.0
    assert isinstance(result, Fault)
    assert "occurs twice" in result.message


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
@example("[" * 100_000)
@example('{"a":' * 5000 + "1" + "}" * 5000)
@example('{"a":"\ud800"}')
@example("{" + '"a":1' + "9" * 5000 + "}")
def test_any_text_gives_an_object_or_a_fault(raw: str) -> None:
    """Parsing is total, and what it accepts orjson reads alike."""
    result = parse(raw)
    if isinstance(result, Fault):
        assert result.code in {"malformed_arguments", "too_large"}
    else:
        assert result == orjson.loads(raw)


@given(st.binary())
def test_any_bytes_give_an_object_or_a_fault(raw: bytes) -> None:
    """Bytes that are no text are a fault like any other."""
    assert isinstance(parse(raw), (dict, Fault))


@given(st.dictionaries(text, st.integers(0, 9), min_size=1, max_size=4), st.data())
def test_a_key_that_occurs_twice_is_refused(value: dict[str, int], data: st.DataObject) -> None:
    """Duplicate keys, which readers resolve differently, refuse the call at any depth."""
    again = data.draw(st.sampled_from(sorted(value)))
    inner = orjson.dumps(value).decode()[:-1] + f",{json.dumps(again)}:0}}"
    for raw in (inner, f'{{"outer":[{inner}]}}'):
        result = parse(raw)
        assert isinstance(result, Fault)
        assert "twice" in result.message


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ("", "not valid JSON"),
        ("null", "one JSON object"),
        ("[1]", "one JSON object"),
        ('"{}"', "one JSON object"),
        ('{"a":NaN}', "NaN"),
        ('{"a":-Infinity}', "-Infinity"),
        ('{"a":1e999}', "too large"),
        (f'{{"a":{2**64}}}', "64 bits"),
        (f'{{"a":{-(2**63) - 1}}}', "64 bits"),
        ('{"a":1,}', "line 1"),
        ("{'a':1}", "line 1"),
        ('{"a":"\\ud800"}', "not valid JSON"),
        ('{"a":1} {"b":2}', "line 1"),
        ('{"a":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}", "deeper"),
        (json.dumps({"a": "x" * MAX_BYTES}), "larger"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(raw: str, told: str) -> None:
    """Each trap of JSON is refused with a sentence that tells the model what to mend."""
    result = parse(raw)
    assert isinstance(result, Fault)
    assert told in result.message


def test_the_bounds_themselves_are_accepted() -> None:
    """The largest and smallest 64-bit numbers and the deepest allowed nesting are no faults."""
    assert parse(f'{{"a":{2**64 - 1},"b":{-(2**63)}}}') == {"a": 2**64 - 1, "b": -(2**63)}
    deepest = parse('{"a":' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}")
    assert isinstance(deepest, dict)


SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {"type": "number", "minimum": 1},
        "card": {"type": "string", "pattern": "^[0-9]{4}$"},
        "kind": {"enum": ["a", "b"]},
        "who": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
    "required": ["amount"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "`amount` is missing"),
        ({"amount": "x"}, "`amount` must be of type number"),
        ({"amount": 0}, "`amount` does not satisfy minimum 1"),
        ({"amount": 1, "more": 1}, "`more` is not known"),
        ({"amount": 1, "kind": "c"}, '`kind` must be one of ["a","b"]'),
        ({"amount": 1, "who": {}}, "in `who` `name` is missing"),
    ],
)
def test_the_model_is_told_what_does_not_fit(arguments: dict[str, Any], told: str) -> None:
    """Arguments that don't fit give one fault that names the argument and the demand."""
    fault = validate(compile_schema(SCHEMA), arguments)
    assert fault is not None
    assert fault.code == "invalid_arguments"
    assert told in fault.message


@given(st.dictionaries(st.sampled_from(["amount", "card", "kind", "who"]), json_values))
def test_values_are_never_repeated(arguments: dict[str, Any]) -> None:
    """What the model is told of a misfit holds no value of the arguments: it may be a secret."""
    secret = "hunter2-hunter2"
    fault = validate(compile_schema(SCHEMA), {**arguments, "card": secret, "amount": secret})
    assert fault is not None
    assert secret not in fault.message


@given(st.floats() | st.integers())
def test_numbers_mean_the_same_to_everybody(number: float) -> None:
    """A number is either read as what orjson, and so the digest and the executor, reads, or refused."""
    raw = json.dumps({"n": number})
    result = parse(raw)
    if isinstance(result, Fault):
        assert not math.isfinite(number) or not -(2**63) <= number < 2**64
    else:
        assert result == orjson.loads(raw)
