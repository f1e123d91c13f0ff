"""What a tool is, and what it may know of the call that it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from callgate.events.actions import CallKind, Effect
from callgate.events.digest import canonical_digest

CALL = "call"
"""The keyword under which a tool that asks for it gets its `Call`; never an argument from the model."""

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
    """One tool behind the gate.

    The callables that end in `_from_args` run in the proposer, before any decision: they must be quick, synchronous
    and without effects. One that raises refuses the call.
    """

    name: str
    """1 to 256 characters, as the model calls it."""
    function: Callable[..., Any] | Callable[..., Awaitable[Any]]
    """Sync functions run in a thread. Its result must be JSON."""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})
    """JSON Schema of the arguments."""
    description: str = ""
    strict: bool | None = None
    """Whether the model is held to the schema while it writes. None: where the API takes the schema so. True: refused
    at registration where it doesn't. False: never. The gate holds every call to the schema in any case."""
    effect: Effect = "unsafe"
    probe: Callable[[Call, Arguments], Any] | None = None
    """For `verifiable`: says whether the effect happened: True, False, or None for unknown."""
    timeout_seconds: float = 30.0
    """Beyond it the action is in doubt."""
    concurrency: int | None = None
    """How often it may run at once in one executor process; others wait, and hold up nobody but their own session.
    None: as often as the worker has slots. A thread that outlives its time-out no longer counts."""
    parallel: bool = False
    """May run beside other calls of its session; otherwise effects keep the response's order."""
    honours: tuple[str, ...] = ()
    """Names of the constraints that the tool reads from `Call.constraints`; any other constraint asks a person."""
    sensitive: tuple[str, ...] = ()
    """Names of arguments that are masked wherever they leave the process."""
    value_from_args: Callable[[Arguments], float | None] | None = None
    """What is at stake, in the tool's own unit (an amount of money, a count of rows)."""
    target_from_args: Callable[[Arguments], str] | None = None
    """What the call acts on. Part of the digest: an approval for one target is none for another."""
    metadata_from_args: Callable[[Arguments], Mapping[str, Any]] | None = None
    """Further labels for BIGHUB's context. Outside the digest."""
    effect_key_from_args: Callable[[Arguments], str | None] | None = None
    """The target's own name of the effect (`refund:{payment}`): one start for all actions of a tenant that share it."""
    action_name: str | None = None
    """The action's name for BIGHUB, where it is not the tool's."""
    domain: str | None = None
    """BIGHUB domain; the turn's where it is None."""
    actor: str | None = None
    """Who acts, in BIGHUB's words; `AI_AGENT` where it is None."""
    environment: str | None = None
    """Where it acts (production, staging); the turn's where it is None."""
    risk: str | None = None
    """The declared risk class (low, medium, high, critical)."""
    system: str | None = None
    """The system that it acts on (okta, billing), for BIGHUB's context."""
    takes_call: bool = False
    """Whether `function` takes the keyword `call` (a `Call`)."""
    takes_object: bool = False
    """Whether `function` is called as `function(call, arguments)`: for arguments whose names Python can't spell."""
    kinds: tuple[CallKind, ...] = ()
    """Which items of a model's answer the tool serves. Empty: the kind that it is named after (`shell_call`), else
    function calls. So an item of another kind that bears the tool's name by chance does not run it."""

    def accepts(self, kind: CallKind) -> bool:
        """Whether a call of `kind` that names the tool is meant for it."""
        if self.kinds:
            return kind in self.kinds
        return kind == (self.name if self.name in get_args(CallKind) else "function_call")

    def version(self) -> str:
        """Digest of name and schema: an executor with another version refuses the call."""
        return canonical_digest({"name": self.name, "parameters": dict(self.parameters)})
