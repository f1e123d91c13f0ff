"""What a result sets in motion: the resolution for all to see, and what the action's other services act on. Pure."""

from __future__ import annotations

import msgspec

from callgate.approvals.ballots import Result
from callgate.events.actions import ActionDecided, Grant, Verdict
from callgate.events.approvals import ApprovalRequested, ApprovalResolved, Resolution
from callgate.settings import ApprovalSettings
from callgate.worker.effects import Publish

_VERDICTS: dict[Resolution, tuple[Verdict, str, str]] = {
    "approved": ("allow", "approved by people", "A person approved this call."),
    "rejected": ("reject", "rejected by people", "A person rejected this call."),
    "responded": ("respond", "answered by people in the tool's stead", "A person answered instead of the tool."),
    "expired": ("expire", "nobody answered in time", "Nobody answered the approval in time; it was not rejected."),
}
_SETTLED: dict[str | None, tuple[str, str]] = {
    "executed": ("people say that it happened", "A person found that this call was carried out."),
    "not_executed": ("people say that it did not happen", "A person found that this call was not carried out."),
    None: ("nobody could say in time what became of it", "It is not known whether this call was carried out."),
}


def resolution_effects(request: ApprovalRequested, result: Result, settings: ApprovalSettings) -> tuple[Publish, ...]:
    """Both events of a resolution. Times come from the log, so that a repeat makes the same events."""
    resolved = ApprovalResolved(
        approval_id=request.approval_id,
        kind=request.kind,
        action=request.action.ref,
        request_id=request.decision.request_id,
        resolution=result.resolution,
        approvers=result.approvers,
        comment=result.comment,
        requested_at=request.requested_at,
        resolved_at=result.resolved_at,
    )
    if result.revised is None:
        return Publish(resolved), Publish(decided(request, result, settings))
    # An edit is no decision: the call that it makes is evaluated like any other, with the yes of those who made it.
    granted = _grant(request, result, result.revised.ref.digest, settings)
    return Publish(resolved), Publish(msgspec.structs.replace(result.revised, grant=granted))


def decided(request: ApprovalRequested, result: Result, settings: ApprovalSettings) -> ActionDecided:
    """The decision, valid from when it was given, not from when it was counted: a late count makes no fresh yes."""
    if request.kind == "settle":
        verdict: Verdict = "settle"
        reason, told = _SETTLED[result.settled]
    else:
        verdict, reason, told = _VERDICTS[result.resolution]
    if result.comment:
        reason = f"{reason}: {result.comment}"
        told = f"{told} They said: {result.comment}"
    approved = result.resolution == "approved"
    decision = msgspec.structs.replace(
        request.decision,
        verdict=verdict,
        by="approval",
        reason=reason,
        told=told,
        approval_id=request.approval_id,
        approvers=result.approvers,
        response=result.response,
        settled=result.settled,
        grant=_grant(request, result, request.action.ref.digest, settings) if approved else None,
        decided_at=result.resolved_at,
        valid_until=result.resolved_at + settings.valid_seconds,
        waited_seconds=max(0.0, result.resolved_at - request.requested_at),
    )
    return ActionDecided(action=request.action, decision=decision)


def _grant(request: ApprovalRequested, result: Result, digest: str, settings: ApprovalSettings) -> Grant:
    return Grant(
        approval_id=request.approval_id,
        approvers=result.approvers,
        digest=digest,
        until=result.resolved_at + settings.grant_seconds,
    )
