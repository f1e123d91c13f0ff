"""How a tool is declared: the options of the decorator, also under the names that users of `bighub-openai` know.

from callgate.tools.options import tool

@tool(effect="idempotent")
def refund(payment: str, amount: float) -> dict[str, Any]: ...

toolbox.add(refund)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict, TypeVar, Unpack, cast, get_args, overload

from callgate.events.actions import CallKind, Effect
from callgate.failures import BadInput
from callgate.tools.tool import Arguments, Call

F = TypeVar("F", bound=Callable[..., Any])

DecisionMode = Literal["submit", "submit_payload"]
"""Which of two methods of the SDK asks BIGHUB in `bighub-openai`. Both send one request to one address."""

_DECLARED = "__callgate_tool__"
_OBJECT_WORDS = frozenset(
    {"additionalProperties", "unevaluatedProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf", "if"}
)
"""A schema that has one of these at its root may mean more keys than its `properties` name."""


class Options(TypedDict, total=False):
    """What a function's signature and docstring don't tell: the fields of `Tool`, and two names of `bighub-openai`."""

    parameters: Mapping[str, Any]
    parameters_schema: Mapping[str, Any] | None
    """The same as `parameters`, as `bighub-openai` calls it."""
    description: str | None
    strict: bool | None
    effect: Effect
    probe: Callable[[Call, Arguments], Any]
    timeout_seconds: float
    concurrency: int | None
    parallel: bool
    honours: tuple[str, ...]
    sensitive: tuple[str, ...]
    value_from_args: Callable[[Arguments], float | None] | None
    target_from_args: Callable[[Arguments], str] | None
    metadata_from_args: Callable[[Arguments], Mapping[str, Any]] | None
    effect_key_from_args: Callable[[Arguments], str | None] | None
    action_name: str | None
    domain: str | None
    actor: str | None
    environment: str | None
    risk: str | None
    system: str | None
    kinds: tuple[CallKind, ...]
    decision_mode: DecisionMode
    """Taken so that a registration can be moved as it is. There is one way of asking BIGHUB, with the whole payload."""


class ToolOptions(Options, total=False):
    """What the decorator takes; the name is the function's unless it is given."""

    name: str


@overload
def tool(function: F, /) -> F: ...


@overload
def tool(function: None = None, /, **options: Unpack[ToolOptions]) -> Callable[[F], F]: ...


def tool(function: F | None = None, /, **options: Unpack[ToolOptions]) -> F | Callable[[F], F]:
    """Say of a function how it is a tool, without a toolbox at hand; `Toolbox.add` registers it and finds its faults.

    The function itself is returned unchanged.
    """

    def declare(declared: F) -> F:
        setattr(declared, _DECLARED, dict(options))
        return declared

    return declare if function is None else declare(function)


def declared_options(function: Callable[..., Any]) -> ToolOptions:
    """What `tool` said of a function. Raises BadInput where it said nothing."""
    options = getattr(function, _DECLARED, None)
    if options is None:
        name = str(getattr(function, "__name__", function))
        raise BadInput(f"tool {name!r}", "is not declared as a tool", "Put @tool above it, or use Toolbox.tool")
    return cast("ToolOptions", options)


def settled(options: ToolOptions, name: str) -> dict[str, Any]:
    """The options under the names of `Tool`'s fields. Raises BadInput for what contradicts itself or is not known."""
    fields: dict[str, Any] = dict(options)
    unknown = sorted(fields.keys() - ToolOptions.__optional_keys__)
    if unknown:
        raise BadInput(f"tool {name!r}", f"has no option `{unknown[0]}`", "docs/client.md lists the options")
    mode = fields.pop("decision_mode", "submit")
    if mode not in get_args(DecisionMode):
        modes = " or ".join(get_args(DecisionMode))
        raise BadInput(f"tool {name!r}", f"decision_mode {str(mode)[:40]!r} is unknown", f"Use {modes}, or none")
    if "parameters_schema" in fields:
        schema = fields.pop("parameters_schema")
        if "parameters" in fields:
            raise BadInput(f"tool {name!r}", "has two schemas", "Give `parameters` or `parameters_schema`")
        if schema is not None:
            fields["parameters"] = schema
    if fields.get("description", "") is None:
        del fields["description"]
    return fields


def closed(schema: Any, function: Callable[..., Any]) -> Any:
    """A schema of the user's own, without keys that it does not name, unless the function takes whatever comes.

    A key that the function can't take would otherwise fail as if the tool had been run.
    """
    if not isinstance(schema, Mapping) or schema.get("type") != "object" or _OBJECT_WORDS & schema.keys():
        return schema
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return schema
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return schema
    return {**schema, "additionalProperties": False}
