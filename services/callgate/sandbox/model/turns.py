"""Which round of the script answers a history, bent to what the request allows and demands. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from callgate.sandbox.model import rules
from callgate.sandbox.model.items import Item
from callgate.sandbox.model.script import Calling, Round, Script

_PLAIN: Mapping[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "null": None}


def turn(script: Script, body: Mapping[str, Any], history: Sequence[Item]) -> Round:
    """The script's round. `tool_choice` none takes its calls away, and a required one adds a call that fits."""
    said, past = _position(history)
    made = script.round(str(body["model"]), said, past)
    if made.items is not None:
        return made
    choice = body.get("tool_choice")
    if choice == "none":
        return replace(made, calls=(), text=made.text or "Done.") if made.calls else made
    demanded = _demanded(body.get("tools") or [], choice)
    # Only the first answer is forced: a client that demands a tool at every turn would never hear the end of it.
    if demanded is not None and not made.calls and not past and made.status == "completed" and made.refusal is None:
        made = replace(made, text=None, calls=(demanded,))
    if body.get("parallel_tool_calls") is False and len(made.calls) > 1:
        return replace(made, calls=made.calls[:1])
    return made


def _demanded(tools: Sequence[Mapping[str, Any]], choice: object) -> Calling | None:
    """The call that a `tool_choice` demands, with arguments that fit its tool's schema."""
    allowed = [tool for tool in tools if tool.get("type") == "function"]
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools" and choice.get("mode") == "required":
        names = {each.get("name") for each in choice.get("tools") or [] if isinstance(each, dict)}
        allowed = [tool for tool in allowed if tool["name"] in names]
    elif isinstance(choice, dict) and choice.get("type") == "function":
        allowed = [tool for tool in allowed if tool["name"] == choice.get("name")]
    elif choice != "required":
        return None
    if not allowed:
        return None
    schema = allowed[0].get("parameters")
    return Calling(allowed[0]["name"], orjson.dumps(fitting(schema if isinstance(schema, dict) else {})).decode())


def fitting(schema: Mapping[str, Any], level: int = 0) -> Any:
    """The plainest value that fits a simple schema: the first of an enumeration, the least number, empty texts."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema or not level else "null")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        needed = schema.get("required") or []
        return {
            name: fitting(each, level + 1) for name, each in (schema.get("properties") or {}).items() if name in needed
        }
    if schema.get("anyOf"):
        return fitting(schema["anyOf"][0], level + 1)
    return schema.get("minimum", _PLAIN[kind]) if kind in {"integer", "number"} else _PLAIN.get(kind)


def _position(history: Sequence[Item]) -> tuple[str, int]:
    """What the user said last, and how many answers of the model's have followed it.

    An answer is a run of items that the model made; what lies between two of them are results of tools.
    """
    said, past, inside = "", 0, False
    for item in history:
        kind = item.get("type", "message")
        if kind == "message" and item.get("role") == "user":
            said, past, inside = _text(item.get("content")), 0, False
        elif kind in rules.ANSWERS or kind == "mcp_approval_response":
            inside = False
        elif kind != "message" or item.get("role") == "assistant":
            past += not inside
            inside = True
    return said, past


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
