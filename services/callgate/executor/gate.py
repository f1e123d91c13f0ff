"""The gate: whether an action may start now. Pure: everything that it looks at is handed in.

What it returns is one of four: go; go back to be evaluated anew; wait, while something that may be lifted forbids it;
or end, with the status and the reason. The checks stand in the order of their weight:
what can never be put right first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from callgate.events.actions import ActionDecided, Status, Verdict
from callgate.events.digest import digest
from callgate.events.topics import IDENTITY_WINDOW


@dataclass(frozen=True, slots=True)
class Go:
    """It may be claimed."""


@dataclass(frozen=True, slots=True)
class Again:
    """The yes is stale: it has to be evaluated anew."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that may be lifted forbids it for now."""

    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """It ends without a start."""

    status: Status
    reason: str
    """For the model too: short, and without the policy's internals."""


Passage = Go | Again | Wait | End


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the gate knows beside the decision itself."""

    now: float
    """Wall time, seconds."""
    tool_version: str | None
    """Version of the tool as this process has it; None where it has no such tool."""
    stopped: str | None = None
    held: str | None = None
    readable: bool = True
    """Whether the switches are known at all."""
    skew_seconds: float = 1.0
    attempts: int = 3


_ENDS: dict[Verdict, Status] = {
    "block": "blocked",
    "reject": "rejected",
    "expire": "expired",
    "needs_context": "needs_context",
    "refuse": "refused",
    "respond": "responded",
}


def pass_gate(decided: ActionDecided, around: Surroundings) -> Passage:
    """The passage of a decision that is no review. Raises nothing, whatever the event holds."""
    decision = decided.decision
    if decision.verdict in _ENDS:
        # A switch that blocked it before it was evaluated has killed it, in the words of the ends.
        status: Status = "killed" if decision.by == "control" else _ENDS[decision.verdict]
        return End(status, decision.told)
    if decision.verdict != "allow":
        return End("not_executed", "The decision is of a kind that can't be acted on.")
    return _lasting(decided, around) or _passing(decided, around)


def still_good(decided: ActionDecided, around: Surroundings, start_by: float) -> End | Again | None:
    """The last look, after the claim and as the last act before the effect: None means start.

    A hold ends nothing, and it can't be waited for here: who waits between this look and the start has not looked.
    """
    if around.stopped is not None and around.readable:
        return End("killed", "Calls of this kind are stopped for now.")
    if not around.readable:
        return End("not_executed", "It could not be confirmed that it may start, so it was not started.")
    if around.now > start_by:
        return End("not_executed", "It could not be started in time, so it was not started at all.")
    if around.now > decided.decision.valid_until - around.skew_seconds:
        return End("not_executed", "The decision expired before the start, so it was not started.")
    if around.held is not None:
        if decided.action.ref.attempt + 1 >= around.attempts:
            return End("not_executed", "Calls of this kind were put on hold again and again before it could start.")
        return Again("held after the claim")
    return None


def _lasting(decided: ActionDecided, around: Surroundings) -> End | None:
    action = decided.action
    if around.tool_version is None:
        return End("not_executed", "The tool is not available.")
    if around.tool_version != action.tool_version:
        return End("not_executed", "The tool has changed since the call was made; make it again.")
    if not _digest_holds(decided):
        return End("not_executed", "The call is not the one that was decided on.")
    if around.now - action.proposed_at > IDENTITY_WINDOW:
        return End("not_executed", "The call is too old to be run.")
    # Such a decision is a review; people who allow the call all the same have seen what would not be kept to.
    if decided.decision.by != "approval" and set(_names(decided)) - set(action.honours):
        return End("not_executed", "The tool can't keep to what the decision demands.")
    return None


def _passing(decided: ActionDecided, around: Surroundings) -> Passage:
    if not around.readable:
        return Wait("the switches can't be read")
    if around.stopped is not None:
        return End("killed", "Calls of this kind are stopped for now.")
    if around.held is not None:
        return Wait(f"held: {around.held}")
    if around.now > decided.decision.valid_until - around.skew_seconds:
        if decided.action.ref.attempt + 1 >= around.attempts:
            return End("not_executed", "Its decision expired again and again before it could be started.")
        return Again("the decision expired before the start")
    return Go()


def _digest_holds(decided: ActionDecided) -> bool:
    action, ref = decided.action, decided.action.ref
    try:
        computed = digest(
            tenant=ref.tenant,
            agent=ref.agent,
            tool=ref.tool,
            tool_version=action.tool_version,
            target=action.target,
            arguments=orjson.loads(bytes(action.arguments)),
        )
    except ValueError:
        return False
    return computed == ref.digest


def _names(decided: ActionDecided) -> Mapping[str, object]:
    raw = decided.decision.constraints
    value = None if raw is None else orjson.loads(bytes(raw))
    # Constraints of a shape that we don't know name themselves something that no tool honours.
    return value if isinstance(value, dict) else ({} if value is None else {"unreadable": value})
