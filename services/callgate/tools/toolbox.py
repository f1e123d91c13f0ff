"""The user's tools: what each one is, and the box that a process imports.

Only the proposer and the executor import user code. Whatever BIGHUB must know of a call (value, target, risk, …) is computed
in the proposer from these declarations and travels in the event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from callgate.events.actions import Effect
from callgate.events.digest import canonical_digest

Arguments = Mapping[str, Any]
"""Decoded arguments: a JSON object that fits the tool's schema."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a tool may know of the call that it serves; passed to tools that take a `call` keyword."""

    action_id: str
    """Unique to the action over all its revisions: the idempotency key to hand to the target."""
    tenant: str
    session: str
    agent: str
    constraints: Mapping[str, Any]
    """What the decision demands that the tool keeps to; only names that the tool declares in `honours`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool behind the gate."""

    name: str
    """1 to 256 characters, as the model calls it."""
    function: Callable[..., Any] | Callable[..., Awaitable[Any]]
    """Sync functions run in a thread. Its result must be JSON."""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})
    """JSON Schema of the arguments."""
    description: str = ""
    effect: Effect = "unsafe"
    probe: Callable[[Call, Arguments], Any] | None = None
    """For `verifiable`: says whether the effect happened: True, False, or None for unknown."""
    timeout_seconds: float = 30.0
    """Beyond it the action is in doubt."""
    parallel: bool = False
    honours: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    """Names of arguments that are masked wherever they leave the process."""
    value_from_args: Callable[[Arguments], float | None] | None = None
    target_from_args: Callable[[Arguments], str] | None = None
    metadata_from_args: Callable[[Arguments], Mapping[str, Any]] | None = None
    effect_key_from_args: Callable[[Arguments], str] | None = None
    action_name: str | None = None
    domain: str | None = None
    actor: str | None = None
    environment: str | None = None
    risk: str | None = None
    system: str | None = None
    takes_call: bool = False
    """Whether `function` takes the keyword `call` (a `Call`)."""

    def version(self) -> str:
        """Digest of name and schema: an executor with another version refuses the call."""
        return canonical_digest({"name": self.name, "parameters": dict(self.parameters)})
