"""The part of JSON Schema that strict tools may use, refused in the API's own words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from callgate.sandbox.model.refusals import Invalid

_FORBIDDEN = ("allOf", "not", "oneOf", "if", "then", "else", "dependentRequired", "dependentSchemas", "prefixItems")
_LEVELS = 10


def check_strict(name: str, schema: object, param: str) -> None:
    """Raise `Invalid` with code `invalid_function_parameters` where the schema is not strict."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise _invalid(name, (), 'schema must be a JSON Schema of \'type: "object"\'', param)
    _check(name, schema, (), param, 0)
    for key in ("$defs", "definitions"):
        for each, found in (schema.get(key) or {}).items():
            _check(name, found, (key, each), param, 0)


def _check(name: str, schema: object, at: tuple[str, ...], param: str, level: int) -> None:
    if not isinstance(schema, dict):
        raise _invalid(name, at, "schema must be an object", param)
    if level > _LEVELS:
        raise _invalid(name, at, f"more than {_LEVELS} levels of nesting", param)
    for keyword in _FORBIDDEN:
        if keyword in schema:
            raise _invalid(name, at, f"'{keyword}' is not permitted", param)
    if "properties" in schema or schema.get("type") == "object":
        _check_object(name, schema, at, param)
    for each, found in (schema.get("properties") or {}).items():
        _check(name, found, (*at, "properties", each), param, level + 1)
    if "items" in schema:
        _check(name, schema["items"], (*at, "items"), param, level + 1)
    elif schema.get("type") == "array":
        raise _invalid(name, at, "array schema missing items", param)
    for index, found in enumerate(schema.get("anyOf") or []):
        _check(name, found, (*at, "anyOf", str(index)), param, level)
    if not {"type", "$ref", "anyOf", "enum", "const"} & schema.keys():
        raise _invalid(name, at, "schema must have a 'type' key", param)


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
