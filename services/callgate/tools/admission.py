"""What is checked of a tool before it may stand behind the gate.

A mistake in a declaration must stop the process that imports it, with the tool's name and the way out, and must not
become a surprise in the middle of an effect.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, get_args

from callgate.events.actions import CallKind, Effect
from callgate.failures import BadInput
from callgate.tools.arguments import Validator, compile_schema
from callgate.tools.strictness import obstacle
from callgate.tools.tool import Tool

MAX_NAME = 256
_TIMEOUT_MOST = 86_400.0
_CALLABLES = (
    "probe",
    "value_from_args",
    "target_from_args",
    "metadata_from_args",
    "effect_key_from_args",
)


def check_name(name: object) -> None:
    """Raise BadInput unless `name` can be a tool's: what a model can write and a person can read."""
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise BadInput(f"tool {str(name)[:80]!r}", "is no name for a tool", f"Use 1 to {MAX_NAME} printable characters")


def check(tool: Tool) -> Validator:
    """The tool's compiled schema. Raises BadInput that names the tool and the field."""
    _check_callables(tool)
    _check_effect(tool)
    _check_fields(tool)
    return _schema(tool)


def _check_callables(tool: Tool) -> None:
    """Declarations must be plain functions: an async one would give a coroutine for a value."""
    if not callable(tool.function):
        raise _bad(tool, "`function` can't be called", "Give it a function")
    if inspect.isgeneratorfunction(tool.function) or inspect.isasyncgenfunction(tool.function):
        raise _bad(tool, "`function` is a generator", "Return the whole result")
    for name in _CALLABLES:
        value = getattr(tool, name)
        if value is not None and not callable(value):
            raise _bad(tool, f"`{name}` can't be called", "Give it a function of the arguments")
        if name != "probe" and inspect.iscoroutinefunction(value):
            raise _bad(tool, f"`{name}` is async", "Make it a plain function: it only reads the arguments")


def _check_effect(tool: Tool) -> None:
    """An effect class is a promise about re-running; a probe without it, or it without a probe, is a mistake."""
    if tool.effect not in get_args(Effect):
        raise _bad(tool, f"effect {tool.effect!r} is unknown", f"Use one of {', '.join(get_args(Effect))}")
    if tool.effect == "verifiable" and tool.probe is None:
        raise _bad(tool, "is `verifiable` without a `probe`", "Give it a probe that says whether the effect happened")
    if tool.effect != "verifiable" and tool.probe is not None:
        raise _bad(tool, f"has a `probe` but its effect is `{tool.effect}`", 'Declare effect="verifiable"')


def _check_fields(tool: Tool) -> None:
    """The rest. A lone text where names are expected would be read as one name per letter."""
    seconds: Any = tool.timeout_seconds  # the types are promised by people, and checked here
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= _TIMEOUT_MOST:
        raise _bad(tool, f"timeout_seconds {seconds!r} is out of range", f"Use seconds up to {_TIMEOUT_MOST:g}")
    if not math.isfinite(seconds):
        raise _bad(tool, "timeout_seconds is not finite", f"Use seconds up to {_TIMEOUT_MOST:g}")
    places: Any = tool.concurrency
    if places is not None and (isinstance(places, bool) or not isinstance(places, int) or places < 1):
        raise _bad(tool, f"concurrency {places!r} is no number of places", "Use a whole number from 1, or leave it out")
    for field in ("honours", "sensitive", "kinds"):
        names = getattr(tool, field)
        if not isinstance(names, (tuple, list)) or not all(isinstance(name, str) and name for name in names):
            raise _bad(tool, f"`{field}` is not a tuple of names", f'Write it as {field}=("name",)')
    unknown = sorted(set(tool.kinds) - set(get_args(CallKind)))
    if unknown:
        raise _bad(tool, f"kind {unknown[0]!r} is unknown", f"Use some of {', '.join(get_args(CallKind))}")
    for field in ("action_name", "domain", "actor", "environment", "risk", "system"):
        value = getattr(tool, field)
        if value is not None and (not isinstance(value, str) or not value):
            raise _bad(tool, f"`{field}` is not a text", "Give it a text, or leave it out")


def _schema(tool: Tool) -> Validator:
    """Compile the schema; computing the version proves that it is JSON."""
    parameters: Any = tool.parameters
    if not isinstance(parameters, Mapping) or parameters.get("type") != "object":
        raise _bad(tool, "`parameters` is not the schema of an object", 'Its root must say "type": "object"')
    if tool.strict is not None and not isinstance(tool.strict, bool):
        raise _bad(tool, "`strict` is neither true nor false", "Leave it out to have it wherever the model's API can")
    try:
        tool.version()
        validator = compile_schema(parameters)
    except (ValueError, TypeError) as error:
        raise _bad(tool, f"`parameters` is not a JSON Schema: {error}", "Mend the schema") from error
    if tool.strict and (reason := obstacle(parameters)) is not None:
        raise _bad(tool, f"can't be strict: {reason}", "Mend that, or leave `strict` out")
    return validator


def _bad(tool: Tool, problem: str, way_out: str) -> BadInput:
    return BadInput(f"tool {tool.name!r}", problem, way_out)
