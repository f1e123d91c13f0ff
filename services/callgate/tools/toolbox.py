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
from dataclasses import dataclass, replace
from typing import Any, TypeVar, Unpack, cast, overload

from callgate.events.actions import Fault
from callgate.failures import BadInput
from callgate.tools import admission, binding
from callgate.tools.arguments import Validator, validate
from callgate.tools.definitions import definitions
from callgate.tools.options import Options, ToolOptions, closed, declared_options, settled
from callgate.tools.schema import Untypable, read_signature
from callgate.tools.tool import CALL, Arguments, Call, Tool

__all__ = ["Arguments", "Call", "Entry", "Tool", "ToolOptions", "Toolbox"]

F = TypeVar("F", bound=Callable[..., Any])

_RESOLVED_KEPT = 4096


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

    def __init__(
        self,
        default: Callable[[str], Tool | None] | None = None,
        *,
        actor: str | None = None,
        domain: str | None = None,
        environment: str | None = None,
    ) -> None:
        """`default` gives a tool for a name that is not registered, or None; for playing recorded runs.

        `actor`, `domain` and `environment` are those of every registered tool that names none of its own.
        """
        self._default = default
        self._about: dict[str, Any] = {"actor": actor, "domain": domain, "environment": environment}
        self._entries: dict[str, Entry] = {}
        # Names come from models, so what `default` gave is kept within a bound.
        self._resolved: OrderedDict[str, Entry] = OrderedDict()

    def register(self, tool: Tool) -> None:
        """Add a tool. Raises BadInput that names the tool and what is wrong with it."""
        admission.check_name(tool.name)
        if tool.name in self._entries:
            raise BadInput(f"tool {tool.name!r}", "is registered twice", "Give each tool of a toolbox its own name")
        ours = {name: value for name, value in self._about.items() if value and getattr(tool, name) is None}
        self._entries[tool.name] = _entry(replace(tool, **ours))

    @overload
    def tool(self, function: F, /, **options: Unpack[ToolOptions]) -> F: ...

    @overload
    def tool(self, function: None = None, /, **options: Unpack[ToolOptions]) -> Callable[[F], F]: ...

    @overload
    def tool(self, name: str, function: F, /, **options: Unpack[Options]) -> F: ...

    def tool(
        self, function: F | str | None = None, named: F | None = None, /, **options: Unpack[ToolOptions]
    ) -> F | Callable[[F], F]:
        """Register a function: bare, with options, or as `tool("refund", refund)`. It is returned unchanged.

        Name, description and schema come from the function unless they are given. A parameter `call` is filled with
        the `Call`; enums, dataclasses and pydantic models in the signature are built from the arguments.
        """
        if isinstance(function, str):
            if named is None:
                raise BadInput(f"tool {function!r}", "has no function", "Give the function after the name")
            if "name" in options:
                raise BadInput(f"tool {function!r}", "has two names", "Give the name once")
            self.register(_declared(named, {**options, "name": function}))
            return named

        def decorate(decorated: F) -> F:
            self.register(_declared(decorated, options))
            return decorated

        return decorate if function is None else decorate(function)

    def register_tool(self, name: str, fn: F, **options: Unpack[Options]) -> F:
        """Register a function under a name. The function itself is returned unchanged."""
        self.register(_declared(fn, {**options, "name": name}))
        return fn

    def action(
        self,
        *,
        system: str | None = None,
        risk: str | None = None,
        environment: str | None = None,
        **options: Any,
    ) -> Callable[[F], F]:
        """A decorator for functions that act on one system; used on several, all have the same options."""

        def decorate(decorated: F) -> F:
            about = {"system": system, "risk": risk, "environment": environment}
            self.register(_declared(decorated, cast("ToolOptions", {**about, **options})))
            return decorated

        return decorate

    def add(self, *functions: Callable[..., Any]) -> None:
        """Register functions that were declared with `callgate.tools.options.tool`."""
        for function in functions:
            self.register(_declared(function, declared_options(function)))

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

    def list_tools(self) -> list[dict[str, Any]]:
        """The function tools as the Responses API takes them, for a program that asks its model itself."""
        return definitions(self)

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


def _declared(function: Callable[..., Any], given: ToolOptions) -> Tool:
    """The tool that a decorated function is. A schema of the user's own wins over the signature."""
    name = given.get("name") or str(getattr(function, "__name__", ""))
    options = settled(given, name)
    own = "parameters" in options
    if own:
        options["parameters"] = closed(options["parameters"], function)
    try:
        signature = read_signature(function)
    except Untypable as error:
        if not own:
            raise BadInput(
                f"tool {name!r}", str(error), "Annotate it with JSON-like types, or give the decorator `parameters`"
            ) from error
        # With a schema of the user's own the function gets the arguments as they are.
        return Tool(**_rest(options, name, function), function=function, takes_call=_takes_call(function))
    if own:
        return Tool(**_rest(options, name, function), function=function, takes_call=signature.takes_call)
    return Tool(
        **_rest(options, name, function),
        parameters=signature.parameters,
        function=binding.bound(function, signature.types),
        takes_call=signature.takes_call,
    )


def _rest(options: dict[str, Any], name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """What the options say, with the docstring's first paragraph as the description."""
    description = (inspect.getdoc(function) or "").split("\n\n", maxsplit=1)[0].replace("\n", " ")
    return {"description": description, **options, "name": name}


def _takes_call(function: Callable[..., Any]) -> bool:
    """Whether a function whose signature has no schema asks for the `Call` all the same."""
    try:
        return CALL in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
