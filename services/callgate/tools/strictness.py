"""Which schemas a model can be held to: the part of JSON Schema that the Responses API takes for strict tools. Pure.

Callgate holds every call to its whole schema in any case. This is about the model's side: a strict tool's arguments
fit when they are written, and the API refuses a whole request over one schema that it does not take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_UNSUPPORTED = frozenset(
    {"allOf", "not", "oneOf", "if", "then", "else", "dependentRequired", "dependentSchemas", "prefixItems", "default"}
)
_SAYS_WHAT = frozenset({"type", "$ref", "anyOf", "enum", "const"})


def strict(schema: object) -> bool:
    """Whether a schema keeps to what strict tools may use, in all its parts."""
    return obstacle(schema) is None


def obstacle(schema: object, place: str = "the arguments") -> str | None:
    """What keeps a schema from being strict, in words that name the place; None where nothing does."""
    if not isinstance(schema, Mapping):
        return f"{place} may be anything"
    unsupported = sorted(_UNSUPPORTED & schema.keys())
    if unsupported:
        return f"{place} has `{unsupported[0]}`"
    properties = schema.get("properties", {})
    if "properties" in schema or schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            return f"{place} takes keys that are not declared"
        optional = sorted(set(properties) - set(schema.get("required", ())))
        if optional:
            return f"{place}: `{optional[0]}` is not required"
    if schema.get("type") == "array" and "items" not in schema:
        return f"the items of {place} may be anything"
    if not _SAYS_WHAT & schema.keys():
        return f"{place} may be anything"
    return next((found for name, inner in _inner(schema, place) if (found := obstacle(inner, name)) is not None), None)


def _inner(schema: Mapping[str, Any], place: str) -> Iterator[tuple[str, object]]:
    for name, inner in schema.get("properties", {}).items():
        yield f"`{name}`", inner
    for inner in schema.get("anyOf", ()):
        yield f"a choice of {place}", inner
    for name, inner in schema.get("$defs", {}).items():
        yield f"`{name}`", inner
    if "items" in schema:
        yield f"an item of {place}", schema["items"]
