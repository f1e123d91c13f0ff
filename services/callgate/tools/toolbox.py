"""The box of tools that a process imports.

Only the proposer and the executor import user code, and the approvals service where people may edit calls. Whatever
BIGHUB must know of a call (value, target, risk, …) is computed there from these declarations, and travels in the event.

    toolbox = Toolbox()

    @toolbox.tool(effect="idempotent", risk="high", value_from_args=lambda arguments: arguments["amount"])
    def refund(payment: str, amount: float, call: Call) -> dict[str, Any]: ...
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, Unpack, overload

from callgate.events.actions import CallKind, Effect, Fault
from callgate.failures import BadInput
from callgate.tools import admission, binding
from callgate.tools.arguments import Validator, validate
from callgate.tools.schema import Untypable, read_signature
from callgate.tools.tool import CALL, Arguments, Call, Tool

__all__ = ["Arguments", "Call", "Entry", "Tool", "ToolOptions", "Toolbox"]

F = TypeVar("F", bound=Callable[..., Any])

_RESOLVED_KEPT = 4096


class ToolOptions(TypedDict, total=False):
    """What the decorator takes: the fields of `Tool` that a function's signature and docstring don't tell."""

    name: str
    parameters: Mapping[str, Any]
    description: str
    effect: Effect
    probe: Callable[[Call, Arguments], Any]
    timeout_seconds: float
    parallel: bool
    honours: tuple[str, ...]
    sensitive: tuple[str, ...]
    value_from_args: Callable[[Arguments], float | None]
    target_from_args: Callable[[Arguments], str]
    metadata_from_args: Callable[[Arguments], Mapping[str, Any]]
    effect_key_from_args: Callable[[Arguments], str | None]
    action_name: str
    domain: str
    actor: str
    environment: str
    risk: str
    system: str
    kinds: tuple[CallKind, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A tool of the box, with what is computed from it once."""

    tool: Tool
    version: str
    validator: Validator

    def misfit(self, arguments: Mapping[str, Any]) -> Fault | None:
        """What of the arguments does not fit the tool, or None."""
        if self.tool.takes_call and CALL in arguments:
            # An open schema would let a `call` of the model's take the place of the one that Callgate fills in.
            return Fault(code="invalid_arguments", message=f"The arguments do not fit the tool: `{CALL}` is not known.")
        return validate(self.validator, arguments)


class Toolbox:
    """Tools by name. Everything that can be wrong with a tool is found when it is registered, not when it is called."""

    def __init__(self, default: Callable[[str], Tool | None] | None = None) -> None:
        """`default` gives a tool for a name that is not registered, or None; for playing recorded runs."""
        self._default = default
        self._entries: dict[str, Entry] = {}
        # Names come from models, so what `default` gave is kept within a bound.
        self._resolved: OrderedDict[str, Entry] = OrderedDict()

    def register(self, tool: Tool) -> None:
        """Add a tool. Raises BadInput that names the tool and what is wrong with it."""
        admission.check_name(tool.name)
        if tool.name in self._entries:
            raise BadInput(f"tool {tool.name!r}", "is registered twice", "Give each tool of a toolbox its own name")
        self._entries[tool.name] = _entry(tool)

    @overload
    def tool(self, function: F, /, **options: Unpack[ToolOptions]) -> F: ...

    @overload
    def tool(self, function: None = None, /, **options: Unpack[ToolOptions]) -> Callable[[F], F]: ...

    def tool(self, function: F | None = None, /, **options: Unpack[ToolOptions]) -> F | Callable[[F], F]:
        """Register a function, bare or with options. The function itself is returned unchanged.

        Name, description and schema come from the function unless they are given. A parameter `call` is filled with
        the `Call`; enums and dataclasses in the signature are built from the arguments.
        """

        def decorate(decorated: F) -> F:
            self.register(_declared(decorated, options))
            return decorated

        return decorate if function is None else decorate(function)

    def get(self, name: str) -> Tool | None:
        """The tool of that name, or None."""
        entry = self.entry(name)
        return entry.tool if entry is not None else None

    def entry(self, name: str) -> Entry | None:
        """The tool of that name with its version and validator, or None."""
        if name in self._entries or self._default is None:
            return self._entries.get(name)
        if name not in self._resolved:
            tool = self._default(name)
            if tool is None:
                return None
            self._resolved[name] = _entry(tool)
            if len(self._resolved) > _RESOLVED_KEPT:
                self._resolved.popitem(last=False)
        return self._resolved.get(name)

    @property
    def open(self) -> bool:
        """Whether names that are not registered may still be known, by the default."""
        return self._default is not None

    def __iter__(self) -> Iterator[Tool]:
        """The registered tools, in the order of their registration."""
        return (entry.tool for entry in self._entries.values())

    def __len__(self) -> int:
        """How many tools are registered."""
        return len(self._entries)


def _entry(tool: Tool) -> Entry:
    """Check, compile and fingerprint a tool: all that can fail, fails here."""
    validator = admission.check(tool)
    return Entry(tool=tool, version=tool.version(), validator=validator)


def _declared(function: Callable[..., Any], options: ToolOptions) -> Tool:
    """The tool that a decorated function is. A schema of the user's own wins over the signature."""
    name = options.get("name") or str(getattr(function, "__name__", ""))
    try:
        signature = read_signature(function)
    except Untypable as error:
        if "parameters" not in options:
            raise BadInput(
                f"tool {name!r}", str(error), "Annotate it with JSON-like types, or give the decorator `parameters`"
            ) from error
        # With a schema of the user's own the function gets the arguments as they are.
        return Tool(**_rest(options, name, function), function=function, takes_call=_takes_call(function))
    if "parameters" in options:
        return Tool(**_rest(options, name, function), function=function, takes_call=signature.takes_call)
    return Tool(
        **_rest(options, name, function),
        parameters=signature.parameters,
        function=binding.bound(function, signature.types),
        takes_call=signature.takes_call,
    )


def _rest(options: ToolOptions, name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """What the options say, with the docstring's first paragraph as the description."""
    description = (inspect.getdoc(function) or "").split("\n\n", maxsplit=1)[0].replace("\n", " ")
    return {"description": description, **options, "name": name}


def _takes_call(function: Callable[..., Any]) -> bool:
    """Whether a function whose signature has no schema asks for the `Call` all the same."""
    try:
        return CALL in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
