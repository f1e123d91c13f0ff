"""What the model is told of the toolbox: the tools, in the shape of the Responses API. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from callgate.tools.strictness import strict
from callgate.tools.tool import Tool


def definitions(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """The function tools. `strict` only where the API would take the schema so: it refuses whole requests otherwise."""
    return [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
            "strict": tool.strict is not False and strict(tool.parameters),
        }
        for tool in tools
        if tool.accepts("function_call")
    ]
