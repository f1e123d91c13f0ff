"""In words: what it takes to answer a question."""

from __future__ import annotations

from callgate.cli.wording import moment
from callgate.events.approvals import ApprovalRequested


def still_needed(request: ApprovalRequested) -> str:
    """The clause for somebody who has voted, and whose vote did not end it."""
    groups = " and ".join(group.name for group in request.one_from_each)
    count = max(1, request.quorum)
    noun = "approval is" if count == 1 else "approvals are"
    return f"{count} {noun} needed in all{f', one each from {groups}' if groups else ''}"


def needed(request: ApprovalRequested) -> str:
    """How many, of whom, and by which rule."""
    count = max(1, request.quorum)
    parts = [f"{count} approval{'' if count == 1 else 's'}"]
    if request.eligible:
        parts[0] += f" of {', '.join(request.eligible)}"
    parts += [f"one from {group.name} ({', '.join(group.members)})" for group in request.one_from_each]
    if request.eligible:
        parts += [f"from {moment(level.at)} also {', '.join(level.approvers)}" for level in request.escalation]
    if request.policy_rule is not None:
        parts.append(f"by rule {request.policy_rule!r}")
    return "; ".join(parts)
