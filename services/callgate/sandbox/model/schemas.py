"""The part of JSON Schema that strict tools may use, refused in the API's own words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from callgate.sandbox.model.refusals import Invalid

_FORBIDDEN = frozenset(
    {"allOf", "not", "oneOf", "if", "then", "else", "dependentRequired", "dependentSchemas", "prefixItems"}
)
_LEVELS = 10


def check_strict(name: str, schema: object, param: str) -> None:
    """Raise `Invalid` with code `invalid_function_parameters` where the schema is not strict."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise _invalid(name, (), "schema must be a JSON Schema of 'type: \"object\"'", param)
    _check(name, schema, (), param, 0)
    for key in ("$defs", "definitions"):
        for each, found in (schema.get(key) or {}).items():
            _check(name, found, (key, each), param, 0)


def _check(name: str, schema: object, at: tuple[str, ...], param: str, level: int) -> None:
    if not isinstance(schema, dict):
        raise _invalid(name, at, "schema must be an object", param)
    if level > _LEVELS:
        raise _invalid(name, at, f"more than {_LEVELS} levels of nesting", param)
    for keyword in _FORBIDDEN & schema.keys():
        raise _invalid(name, at, f"'{keyword}' is not permitted", param)
    if not {"type", "$ref", "anyOf", "enum", "const"} & schema.keys():
        raise _invalid(name, at, "schema must have a 'type' key", param)
    if "properties" in schema or schema.get("type") == "object":
        _check_object(name, schema, at, param)
    if schema.get("type") == "array" and "items" not in schema:
        raise _invalid(name, at, "array schema missing items", param)
    for place, found in _inner(schema):
        _check(name, found, (*at, *place), param, level + 1)


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], object]]:
    for each, found in (schema.get("properties") or {}).items():
        yield ("properties", each), found
    if "items" in schema:
        yield ("items",), schema["items"]
    for index, found in enumerate(schema.get("anyOf") or []):
        yield ("anyOf", str(index)), found


def _check_object(name: str, schema: Mapping[str, Any], at: tuple[str, ...], param: str) -> None:
    if schema.get("additionalProperties") is not False:
        raise _invalid(name, at, "'additionalProperties' is required to be supplied and to be false", param)
    required = schema.get("required")
    for each in schema.get("properties") or {}:
        if not isinstance(required, list) or each not in required:
            message = "'required' is required to be supplied and to be an array including every key in properties."
            raise _invalid(name, at, f"{message} Missing '{each}'", param)


def _invalid(name: str, at: tuple[str, ...], problem: str, param: str) -> Invalid:
    context = "(" + ", ".join(f"'{each}'" for each in at) + ("," if len(at) == 1 else "") + ")"
    message = f"Invalid schema for function '{name}': In context={context}, {problem}."
    return Invalid(message, param=param, code="invalid_function_parameters")
