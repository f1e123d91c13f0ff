"""From an answer to a decision. Pure.

BIGHUB's answer is only one voice: constraints that the tool can't keep to and a suspicion of our own make a review of
an allow, and never the other way round. What the model is told is short, and names no rule.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import orjson

from callgate.bighub.resolve import Resolution
from callgate.events.actions import ActionProposed, Decision, Verdict

_TOLD: dict[str, str] = {
    "allow": "Allowed.",
    "review": "A person has to approve this call first.",
    "needs_context": "More context is needed to decide on this call: say why it is needed, and what it is based on.",
    "block": "This call was blocked by policy.",
}
_NEEDS_REQUEST_ID = frozenset({"allow", "review"})


def decision(
    action: ActionProposed,
    answer: Resolution,
    *,
    siblings: str,
    now: float,
    valid_seconds: float,
    took_seconds: float,
) -> Decision:
    """The decision on an action that BIGHUB has answered. Times in seconds."""
    verdict, by, reason = _verdict(action, answer, siblings)
    return Decision(
        verdict=verdict,
        by=by,
        reason=reason,
        told=_TOLD[verdict],
        request_id=answer.request_id,
        recommendation=answer.recommendation,
        enforcement_mode=answer.enforcement_mode,
        risk_score=answer.risk_score,
        constraints=_raw(answer.constraints),
        better_action=_raw(answer.better_action),
        decided_at=now,
        valid_until=now + valid_seconds,
        bighub_seconds=took_seconds,
    )


def granted(action: ActionProposed, found: Decision, *, now: float, valid_seconds: float) -> Decision:
    """The decision where people have said yes to exactly this call before: their yes answers a review of it.

    It answers nothing else: not a block, and not constraints that the tool does not keep to, which nobody was shown.
    """
    grant = action.grant
    if found.verdict != "review" or grant is None or grant.digest != action.ref.digest or now > grant.until:
        return found
    constraints = orjson.loads(bytes(found.constraints)) if found.constraints is not None else None
    if unkept(constraints, action.honours):
        return found
    return msgspec.structs.replace(
        found,
        verdict="allow",
        by="approval",
        reason=f"approved by people before; {found.reason}",
        told="A person approved this call.",
        approval_id=grant.approval_id,
        approvers=grant.approvers,
        grant=grant,
        valid_until=min(now + valid_seconds, grant.until),
    )


def refused(action: ActionProposed, now: float) -> Decision:
    """The decision on a call that came with a fault: nobody was asked."""
    fault = action.fault
    message = fault.message if fault is not None else "The call can't be run."
    code = fault.code if fault is not None else "unknown"
    return _own("refuse", "fault", f"the call has a fault: {code}", message, now)


def stopped(reason: str, now: float) -> Decision:
    """The decision while a stop switch is set."""
    return _own("block", "control", f"stopped: {reason}", "Calls of this kind are stopped for now.", now)


def unreachable(reason: str, now: float) -> Decision:
    """The decision on what has waited too long for a BIGHUB that does not answer."""
    return _own("block", "outage", reason, "This call could not be decided in time, so it was not run.", now)


def unanswerable(reason: str, now: float) -> Decision:
    """The decision on a request that BIGHUB will never take, or that was given up."""
    return _own("block", "bighub", reason, "This call could not be decided, so it was not run.", now)


def _own(verdict: Verdict, by: str, reason: str, told: str, now: float) -> Decision:
    return Decision(verdict=verdict, by=by, reason=reason, told=told, decided_at=now, valid_until=now)


def _verdict(action: ActionProposed, answer: Resolution, siblings: str) -> tuple[Verdict, str, str]:
    if answer.verdict in _NEEDS_REQUEST_ID and answer.request_id is None:
        return "block", "policy", "the answer has no request id to report an outcome under"
    if action.suspicion is not None and siblings == "block":
        return "block", "policy", f"suspicious: {action.suspicion}"
    if answer.verdict != "allow":
        return answer.verdict, "bighub", answer.reason
    broken = unkept(answer.constraints, action.honours)
    if broken:
        return "review", "policy", f"the tool does not keep to: {', '.join(broken)}; {answer.reason}"
    if action.suspicion is not None:
        return "review", "policy", f"suspicious: {action.suspicion}"
    return "allow", "bighub", answer.reason


def unkept(constraints: Mapping[str, object] | None, honours: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the constraints that a tool has not declared to honour."""
    return tuple(sorted(name for name in constraints or {} if name not in honours))


def _raw(value: object) -> msgspec.Raw | None:
    return None if value is None else msgspec.Raw(orjson.dumps(value))
