"""The life of one tool call: proposed, decided, perhaps in doubt, finished.

Each event carries all that its readers need, so that no reader has to join topics to do its work.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from callgate.events import ids
from callgate.events.event import Digest, Event, Identifier, Name, OptionalRaw, Part, Seconds

Effect = Literal["read", "idempotent", "verifiable", "unsafe"]
"""What a tool declares about being started again: `read` has no effect; `idempotent` takes the action id as its
key; `verifiable` can be probed; `unsafe`, the default, is never started again."""

Verdict = Literal["allow", "block", "review", "respond", "needs_context", "reject", "expire", "settle", "refuse"]
"""What was decided. `refuse` is for a call that came with a fault and was sent to nobody."""

Status = Literal[
    "executed",
    "tool_error",
    "not_executed",
    "blocked",
    "rejected",
    "expired",
    "responded",
    "needs_context",
    "refused",
    "killed",
    "unknown",
]
"""How an action ended. `unknown` is said only by a person or a probe that could not find out."""

Via = Literal["gate", "run", "probe", "person"]
"""What ended it: the gate before a start, the run itself, a probe after doubt, or a person's word."""

CallKind = Literal[
    "function_call",
    "custom_tool_call",
    "shell_call",
    "local_shell_call",
    "apply_patch_call",
    "computer_call",
    "mcp_approval_request",
    "unsupported_call",
]
"""The items of a model's answer that the agent's side carries out, and which therefore need a decision. An
`unsupported_call` is of a kind that this version does not know: it is always refused."""

FaultCode = Literal[
    "unknown_tool",
    "malformed_arguments",
    "invalid_arguments",
    "duplicate_call_id",
    "incomplete",
    "too_many_calls",
    "unsupported_kind",
    "too_large",
    "equal_sibling",
    "invalid_context",
    "declaration_failed",
]
"""What was wrong with a call before anybody was asked about it."""


class Fault(Part, frozen=True, kw_only=True):
    """Why a call is refused unseen. It is proposed all the same, so that calls equal actions."""

    code: FaultCode
    message: str
    """One sentence that the model is told, so that it can do better."""


class ActionRef(Part, frozen=True, kw_only=True):
    """Which action, revision and attempt: the part that every event about it carries unchanged."""

    id: Identifier
    turn_key: Identifier
    tenant: Name
    session: Name
    turn: Name
    agent: Name
    round: int = 0
    position: int
    """The call's place among the calls of its response, from 0."""
    call_id: str
    """The provider's id; given one from its position where the provider sent none. Not unique in a session."""
    kind: CallKind = "function_call"
    tool: Name
    revision: int = 1
    """Rises with each edit by a person."""
    attempt: int = 0
    """Rises each time that the gate sends the action back to be evaluated anew."""
    digest: Digest


class Grant(Part, frozen=True, kw_only=True):
    """A yes that people have given to exactly these arguments, and for how long it answers further reviews of them."""

    approval_id: Identifier
    approvers: tuple[str, ...] = ()
    digest: Digest
    """Of the arguments that they said yes to."""
    until: Seconds
    """A review after this moment asks people again."""


class ActionProposed(Event, frozen=True, kw_only=True):
    """Signals that an agent's model wants a tool run. Sensitive arguments are in here: the log is trusted with them."""

    TYPE: ClassVar[str] = "callgate.action.proposed.v1"

    ref: ActionRef
    arguments: msgspec.Raw
    """The JSON object as the model sent it; where `fault` says that it is none, the text as a JSON string."""
    tool_version: str = ""
    """Digest of the tool's schema where it was proposed; an executor that has another refuses the call."""
    target: str = ""
    """What the call acts on, computed by the tool's own declaration; part of the digest."""
    bighub_action: str = ""
    """The action's name for BIGHUB; the tool's name unless declared otherwise."""
    actor: str = "AI_AGENT"
    domain: str | None = None
    environment: str | None = None
    risk: str | None = None
    """The tool's declared risk class (low, medium, high, …), not BIGHUB's score."""
    value: float | None = None
    """What is at stake, in the tool's own unit. Never required."""
    context: msgspec.Raw = msgspec.Raw(b"{}")
    sensitive: tuple[str, ...] = ()
    """Names of arguments, at any depth, that BIGHUB and people are shown only masked; the log has them as they are."""
    effect: Effect = "unsafe"
    effect_key: str | None = None
    """The target's own name of the effect (`refund:{payment}`): actions of a tenant that share it share one claim."""
    parallel: bool = False
    """May run beside the others of its session; effects keep the response's order otherwise."""
    timeout_seconds: Seconds = 30.0
    honours: tuple[str, ...] = ()
    """Names of the constraints that the tool can keep to; any other constraint makes a review."""
    requester: str | None = None
    fault: Fault | None = None
    suspicion: str | None = None
    """Why a person should look even at an allowed call, such as equal siblings in one response."""
    cause: Literal["turn", "edit", "gate"] = "turn"
    gate_reason: str | None = None
    """Why the gate sent it back, where `cause` is `gate`."""
    proposed_at: Seconds
    """When the action was first proposed; unchanged by later attempts."""
    grant: Grant | None = None
    """What people have said to it before it was proposed anew: it satisfies a review, and never a block."""

    def identity(self) -> str:
        """See `Event.identity`."""
        return ids.event_id(self.ref.id, self.ref.revision, "proposed", self.ref.attempt)


class Decision(Part, frozen=True, kw_only=True):
    """What was decided, by whom, on what grounds, and how long it may be acted on."""

    verdict: Verdict
    by: str
    """`bighub`, `policy`, `control`, `fault`, `approval` or `outage`: which authority spoke."""
    reason: str
    """For operators. May name rules; never shown to the model."""
    told: str
    """The short reason that the model is told."""
    request_id: str | None = None
    """BIGHUB's id of its answer; outcomes are reported under it."""
    recommendation: str | None = None
    enforcement_mode: str | None = None
    risk_score: float | None = None
    constraints: OptionalRaw = None
    """What the tool must keep to; only such as it has declared to honour."""
    better_action: OptionalRaw = None
    approval_id: Identifier | None = None
    approvers: tuple[str, ...] = ()
    response: OptionalRaw = None
    """The person's own text as the tool's result, where the verdict is `respond`, or `settle` and it is known."""
    settled: Literal["executed", "not_executed"] | None = None
    """What became of an action in doubt, where the verdict is `settle`; None: nobody said in time."""
    grant: Grant | None = None
    """The yes of people on which it rests, for when it has to be evaluated once more."""
    decided_at: Seconds
    valid_until: Seconds
    """A start after this moment, less the margin for clock skew, is refused and evaluated anew."""
    bighub_seconds: Seconds = 0.0
    """How long BIGHUB took to answer: not ours to be blamed for."""
    waited_seconds: Seconds = 0.0
    """How long people took to answer."""


class ActionDecided(Event, frozen=True, kw_only=True):
    """Signals a verdict on one revision and attempt. A `review` is information: an approval decides after it."""

    TYPE: ClassVar[str] = "callgate.action.decided.v1"

    action: ActionProposed
    decision: Decision

    def identity(self) -> str:
        """See `Event.identity`."""
        ref = self.action.ref
        by = self.decision.approval_id if self.decision.by == "approval" else "evaluation"
        return ids.event_id(ref.id, ref.revision, f"decided.{by}", ref.attempt)


class ActionInDoubt(Event, frozen=True, kw_only=True):
    """Signals that a tool may or may not have had its effect. Not an end; at most one per action."""

    TYPE: ClassVar[str] = "callgate.action.in_doubt.v1"

    action: ActionProposed
    decision: Decision
    token: Identifier
    """The claim under which it may have been started."""
    reason: str
    claimed_at: Seconds
    started_at: Seconds | None = None
    """When the tool was started, where the process that started it lived to say so."""
    horizon: Seconds | None
    """Nobody probes, settles or starts again before this time. None: no end is known (a thread outlived its limit)."""
    doubted_at: Seconds

    def identity(self) -> str:
        """See `Event.identity`."""
        return ids.event_id(self.action.ref.id, 0, "in_doubt")


class ActionFinished(Event, frozen=True, kw_only=True):
    """Signals the one end of an action. Written only by the executor, in the unit that closes the claim."""

    TYPE: ClassVar[str] = "callgate.action.finished.v1"

    action: ActionProposed
    decision: Decision
    status: Status
    via: Via
    output: OptionalRaw = None
    """What the tool returned, as JSON; None where nothing ran."""
    error: str | None = None
    """What went wrong, for the model too: the tool's own message, without traceback."""
    claimed_at: Seconds | None = None
    started_at: Seconds | None = None
    finished_at: Seconds

    def identity(self) -> str:
        """See `Event.identity`."""
        return ids.event_id(self.action.ref.id, 0, "finished")
