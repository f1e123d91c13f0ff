"""What a tool declares of one call by its `…_from_args`: target, value, effect key and context.

They are the user's functions, without effects by contract. What is wrong with one refuses the call, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import orjson

from callgate.tools.tool import Tool

MAX_CONTEXT_BYTES = 65_536
"""The largest context of one action. It travels in every later event of the action."""

Arguments = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a tool declares of one call."""

    target: str = ""
    value: float | None = None
    effect_key: str | None = None
    context: bytes = b"{}"


class DeclarationFailed(Exception):  # noqa: N818 - named for what happened
    """A declaration raised, or gave what can't be used."""

    def __init__(self, declaration: str, error: str) -> None:
        """Which of them, and what is wrong; never the text of an exception, which may quote arguments."""
        super().__init__(declaration)
        self.declaration = declaration
        self.error = error


def declared(tool: Tool, arguments: Arguments, labels: Mapping[str, Any], ours: Mapping[str, str | None]) -> Facts:
    """What the tool says of this call. `labels` are the turn's, `ours` the context's keys that nobody else may set.

    Raises `DeclarationFailed`, which refuses the call alone.
    """
    metadata = _asked(tool, "metadata_from_args", arguments) or {}
    if not isinstance(metadata, Mapping):
        raise DeclarationFailed("metadata_from_args", f"gave a {type(metadata).__name__}")
    # Our own keys come last: an agent that labels itself must not overrule what the tool declares.
    merged = {**labels, **metadata, **{key: value for key, value in ours.items() if value is not None}}
    try:
        context = orjson.dumps(merged)
    except orjson.JSONEncodeError as error:
        raise DeclarationFailed("metadata_from_args", "gave what is not JSON") from error
    if len(context) > MAX_CONTEXT_BYTES:
        raise DeclarationFailed("metadata_from_args", f"gave more than {MAX_CONTEXT_BYTES} bytes")
    return Facts(
        target=_text(tool, "target_from_args", arguments) or "",
        value=_value(tool, arguments),
        effect_key=_text(tool, "effect_key_from_args", arguments),
        context=context,
    )


def _asked(tool: Tool, declaration: str, arguments: Arguments) -> object:
    """Run one declaration. None where the tool has none."""
    function: Callable[[Arguments], object] | None = getattr(tool, declaration)
    if function is None:
        return None
    try:
        # A copy: what the user's code does to it must not change what is digested and run.
        return function(deepcopy(arguments))
    except Exception as error:  # the user's code may raise anything, and must not stop the other calls
        raise DeclarationFailed(declaration, type(error).__name__) from error


def _text(tool: Tool, declaration: str, arguments: Arguments) -> str | None:
    """A declared text; empty is as good as none. A lone surrogate could not be written to the log."""
    value = _asked(tool, declaration, arguments)
    if value is None:
        return None
    if not isinstance(value, str) or not _encodable(value):
        raise DeclarationFailed(declaration, f"gave a {type(value).__name__} that is no plain text")
    return value or None


def _value(tool: Tool, arguments: Arguments) -> float | None:
    """A declared number. A text is refused even if it looks like one: it would hide a mistake in the tool."""
    value = _asked(tool, "value_from_args", arguments)
    if value is None:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]  # decimals and fractions are numbers too; the rest raises
    except (TypeError, ValueError, OverflowError) as error:
        raise DeclarationFailed("value_from_args", f"gave a {type(value).__name__}") from error
    if isinstance(value, (str, bytes)) or not math.isfinite(number):
        raise DeclarationFailed("value_from_args", "gave no finite number")
    return number


def _encodable(text: str) -> bool:
    """Whether UTF-8 can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
