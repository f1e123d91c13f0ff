"""What a result sets in motion: the resolution for all to see, and the decision that the executor acts on. Pure."""

from __future__ import annotations

import msgspec

from callgate.approvals.tally import Result
from callgate.events.actions import ActionDecided, Verdict
from callgate.events.approvals import ApprovalRequested, ApprovalResolved, Resolution
from callgate.worker.effects import Publish

_VERDICTS: dict[Resolution, tuple[Verdict, str, str]] = {
    "approved": ("allow", "approved by people", "A person approved this call."),
    "rejected": ("reject", "rejected by people", "A person rejected this call."),
    "expired": ("expire", "nobody answered in time", "Nobody answered the approval in time; it was not rejected."),
}


def resolution_effects(request: ApprovalRequested, result: Result, valid_seconds: float) -> tuple[Publish, ...]:
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
    return Publish(resolved), Publish(decided(request, result, valid_seconds))


def decided(request: ApprovalRequested, result: Result, valid_seconds: float) -> ActionDecided:
    """The decision, valid from when it was given, not from when it was counted: a late count makes no fresh yes."""
    verdict, reason, told = _VERDICTS[result.resolution]
    if result.comment:
        reason = f"{reason}: {result.comment}"
        told = f"{told} They said: {result.comment}"
    decision = msgspec.structs.replace(
        request.decision,
        verdict=verdict,
        by="approval",
        reason=reason,
        told=told,
        approval_id=request.approval_id,
        approvers=result.approvers,
        decided_at=result.resolved_at,
        valid_until=result.resolved_at + valid_seconds,
        waited_seconds=max(0.0, result.resolved_at - request.requested_at),
    )
    return ActionDecided(action=request.action, decision=decision)
