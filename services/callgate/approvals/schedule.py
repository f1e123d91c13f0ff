"""When people are told again, and when others are asked too, while an approval is open. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from callgate.events.approvals import ApprovalDue, ApprovalEscalated, ApprovalReminded, ApprovalRequested


@dataclass(frozen=True, slots=True)
class Moment:
    """A reminder, or a level of the chain, and what it was set for."""

    at: float
    kind: Literal["reminder", "escalation"]
    ordinal: int
    """1 is the first of its kind."""


def moments(request: ApprovalRequested) -> tuple[Moment, ...]:
    """All that comes before the deadline, by time; at the same time people are reminded before others are asked."""
    reminders = [Moment(at, "reminder", place) for place, at in enumerate(sorted(request.reminders), 1)]
    levels = sorted(request.escalation, key=lambda level: level.at)
    escalations = [Moment(level.at, "escalation", place) for place, level in enumerate(levels, 1)]
    found = sorted([*reminders, *escalations], key=lambda moment: moment.at)
    return tuple(moment for moment in found if moment.at < request.deadline)


def due(request: ApprovalRequested, moment: Moment) -> ApprovalDue:
    """Its place among the ballots."""
    return ApprovalDue(approval_id=request.approval_id, kind=moment.kind, ordinal=moment.ordinal, due_at=moment.at)


def announcement(request: ApprovalRequested, moment: Moment) -> ApprovalReminded | ApprovalEscalated:
    """What all may see of it. It says what was set and not when it was read, so that a repeat makes the same event."""
    if moment.kind == "reminder":
        return ApprovalReminded(
            approval_id=request.approval_id,
            action=request.action.ref,
            ordinal=moment.ordinal,
            deadline=request.deadline,
            reminded_at=moment.at,
        )
    levels = sorted(request.escalation, key=lambda level: level.at)
    return ApprovalEscalated(
        approval_id=request.approval_id,
        action=request.action.ref,
        level=moment.ordinal,
        eligible=levels[moment.ordinal - 1].approvers,
        deadline=request.deadline,
        escalated_at=moment.at,
    )
