"""What the model is told of the toolbox: the tools, in the shape of the Responses API. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from callgate.tools.toolbox import Tool

_UNSUPPORTED = frozenset(
    {"allOf", "not", "oneOf", "if", "then", "else", "dependentRequired", "dependentSchemas", "prefixItems", "default"}
)


def definitions(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """The function tools. `strict` only where the API would take the schema so: it refuses whole requests otherwise."""
    return [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
            "strict": strict(tool.parameters),
        }
        for tool in tools
        if tool.accepts("function_call")
    ]


def strict(schema: object) -> bool:
    """Whether a schema keeps to what strict tools may use, in all its parts."""
    if not isinstance(schema, Mapping) or _UNSUPPORTED & schema.keys():
        return False
    properties = schema.get("properties", {})
    if "properties" in schema or schema.get("type") == "object":
        required = set(schema.get("required", ()))
        if schema.get("additionalProperties") is not False or not set(properties) <= required:
            return False
    if schema.get("type") == "array" and "items" not in schema:
        return False
    if not {"type", "$ref", "anyOf", "enum", "const"} & schema.keys():
        return False
    inner = [*properties.values(), *schema.get("anyOf", ()), *schema.get("$defs", {}).values()]
    if "items" in schema:
        inner.append(schema["items"])
    return all(strict(each) for each in inner)
