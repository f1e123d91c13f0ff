"""What the Responses API demands of a request: known fields, paired calls, tools that are what they say. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from callgate.sandbox.model.refusals import Invalid
from callgate.sandbox.model.schemas import check_strict

Item = Mapping[str, Any]

FIELDS = frozenset(
    {
        "access_programs",
        "background",
        "context_management",
        "conversation",
        "image",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "moderation",
        "parallel_tool_calls",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    }
)
"""Every field of a request; another one is refused, because it is a typing error of the client's."""

ANSWERS: Mapping[str, str] = {
    "function_call_output": "function_call",
    "custom_tool_call_output": "custom_tool_call",
    "shell_call_output": "shell_call",
    "local_shell_call_output": "local_shell_call",
    "apply_patch_call_output": "apply_patch_call",
    "computer_call_output": "computer_call",
}
"""Kinds of items that answer, and the kind that each answers."""

_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PAIRS, _KEY, _VALUE = 16, 64, 512
_ROLES = ("user", "assistant", "system", "developer")


def check(body: Mapping[str, Any]) -> None:
    """Raise `Invalid` for the first thing in a request that the API would not take. History is checked apart."""
    for name in body:
        if name not in FIELDS:
            raise Invalid(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise Invalid("Missing required parameter: 'model'.", param="model", code="missing_required_parameter")
    if body.get("previous_response_id") is not None and body.get("conversation") is not None:
        message = "Mutually exclusive parameters: 'previous_response_id' and 'conversation'."
        raise Invalid(message, param="previous_response_id", code="mutually_exclusive_parameters")
    if name_of(body) is not None and body.get("store") is False:
        raise Invalid("'conversation' can't be used with 'store' false.", param="store", code="invalid_value")
    check_metadata(body.get("metadata"))
    _check_numbers(body)
    _check_tools(body.get("tools") or [], body.get("tool_choice"))


def name_of(body: Item) -> str | None:
    """The conversation's id in a request for a response. Raises `Invalid` where it is neither text nor object."""
    found = body.get("conversation")
    if found is None:
        return None
    name = found.get("id") if isinstance(found, dict) else found
    if not isinstance(name, str):
        raise Invalid("Invalid type for 'conversation'.", param="conversation", code="invalid_type")
    return name


def items_of(body: Mapping[str, Any]) -> list[Item]:
    """The input as items; a text is one message of the user's."""
    given = body.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    if given is None:
        raise Invalid("Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
    if not isinstance(given, list):
        raise Invalid("Invalid type for 'input': expected a string or a list.", param="input", code="invalid_type")
    for index, item in enumerate(given):
        where = f"input[{index}]"
        if not isinstance(item, dict):
            raise Invalid(f"Invalid type for '{where}': expected an object.", param=where, code="invalid_type")
        kind = item.get("type", "message")
        if kind == "message" and item.get("role") not in _ROLES:
            raise Invalid(f"Invalid value for '{where}.role'.", param=f"{where}.role", code="invalid_value")
        if kind == "function_call" and not isinstance(item.get("arguments"), str):
            raise Invalid(f"Invalid type for '{where}.arguments'.", param=f"{where}.arguments", code="invalid_type")
        if kind == "function_call_output" and not isinstance(item.get("output"), str | list):
            raise Invalid(f"Invalid type for '{where}.output'.", param=f"{where}.output", code="invalid_type")
    return given


def check_pairs(history: Sequence[Item]) -> None:
    """Every call has exactly one answer, and every answer its call, in the bodies that the API refuses them with."""
    calls: dict[str, str] = {}
    answered: set[str] = set()
    # A tool that is declared asynchronous may be answered in a later request.
    later: set[str] = set()
    for item in history:
        kind = item.get("type", "message")
        call_id = item.get("call_id")
        if kind == "mcp_approval_request":
            calls[str(item.get("id"))] = kind
        elif kind == "mcp_approval_response":
            _answer(str(item.get("approval_request_id")), "mcp_approval_request", calls, answered)
        elif kind in ANSWERS:
            _answer(str(call_id), ANSWERS[kind], calls, answered)
        elif kind in ANSWERS.values():
            if str(call_id) in calls:
                raise Invalid(f"Duplicate call id {call_id}.", param="input")
            calls[str(call_id)] = kind
            if item.get("async") is True:
                later.add(str(call_id))
    for call_id in calls:
        if call_id not in answered and call_id not in later:
            raise Invalid(f"No tool output found for function call {call_id}.", param="input")


def _answer(call_id: str, kind: str, calls: Mapping[str, str], answered: set[str]) -> None:
    if calls.get(call_id) != kind:
        raise Invalid(f"No tool call found for function call output with call_id {call_id}.", param="input")
    if call_id in answered:
        raise Invalid(f"Duplicate tool output for call_id {call_id}.", param="input")
    answered.add(call_id)


def check_metadata(metadata: object) -> None:
    """Raise `Invalid` for metadata that are too many, too long, or no texts."""
    if metadata is None:
        return
    if not isinstance(metadata, dict) or len(metadata) > _PAIRS:
        raise Invalid(f"'metadata' is an object of at most {_PAIRS} pairs.", param="metadata", code="invalid_metadata")
    for key, value in metadata.items():
        if len(key) > _KEY or not isinstance(value, str) or len(value) > _VALUE:
            message = f"'metadata' keys have at most {_KEY} characters, and values are texts of at most {_VALUE}."
            raise Invalid(message, param=f"metadata.{key[:_KEY]}", code="invalid_metadata")


def _check_numbers(body: Mapping[str, Any]) -> None:
    for name, most in (("temperature", 2), ("top_p", 1)):
        value = body.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most
        ):
            raise Invalid(f"Invalid value for '{name}': expected 0 to {most}.", param=name, code="invalid_value")


def _check_tools(tools: object, choice: object) -> None:
    if not isinstance(tools, list):
        raise Invalid("Invalid type for 'tools': expected a list.", param="tools", code="invalid_type")
    names: set[str] = set()
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
            raise Invalid(f"Missing required parameter: '{where}.type'.", param=f"{where}.type")
        if tool["type"] not in ("function", "custom"):
            continue
        name = tool.get("name")
        if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
            raise Invalid(f"Invalid '{where}.name'.", param=f"{where}.name", code="invalid_value")
        names.add(name)
        if tool["type"] == "function" and tool.get("strict") is True:
            check_strict(name, tool.get("parameters"), f"{where}.parameters")
    _check_choice(choice, names)
    if choice == "required" and not tools:
        raise Invalid("Tool choice 'required' must be specified with 'tools'.", param="tool_choice")


def _check_choice(choice: object, names: set[str]) -> None:
    if isinstance(choice, str) and choice not in ("none", "auto", "required"):
        raise Invalid(f"Invalid value for 'tool_choice': '{choice}'.", param="tool_choice", code="invalid_value")
    if not isinstance(choice, dict):
        return
    chosen = choice.get("tools") or [] if choice.get("type") == "allowed_tools" else [choice]
    for each in chosen if isinstance(chosen, list) else [None]:
        if not isinstance(each, dict):
            raise Invalid("Invalid type for 'tool_choice'.", param="tool_choice", code="invalid_type")
        if each.get("type") in ("function", "custom") and each.get("name") not in names:
            raise Invalid(f"Tool choice '{each.get('name')}' not found in 'tools' parameter.", param="tool_choice")
