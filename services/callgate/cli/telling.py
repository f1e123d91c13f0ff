"""One line for each kind of event, for whoever reads a life: what happened, and who says so. Pure."""

from __future__ import annotations

from typing import Any

from callgate.cli.wording import compact, duration, moment
from callgate.events import ids
from callgate.events.actions import ActionDecided, ActionFinished, ActionInDoubt, ActionProposed, Decision
from callgate.events.approvals import (
    ApprovalDue,
    ApprovalEscalated,
    ApprovalReminded,
    ApprovalRequested,
    ApprovalResolved,
    ApprovalVoted,
    BallotCast,
    DeadlinePassed,
)
from callgate.events.event import Event
from callgate.events.outcomes import OutcomeObserved
from callgate.events.turns import ActionReply, AnswerAnnounced, TurnCompleted, TurnRecorded, TurnSubmitted


def told(event: Event) -> tuple[str, str]:  # noqa: C901, PLR0912 - one case per event reads as a table
    """What happened, in a few words, and the detail."""
    match event:
        case TurnSubmitted() | TurnRecorded():
            return "turn submitted", f"by {event.origin.agent}"
        case AnswerAnnounced():
            return "answer announced", f"the provider says that {event.response_id} has ended"
        case ActionProposed():
            return "proposed", _proposed(event)
        case ActionDecided():
            return f"decided: {event.decision.verdict}", _decided(event.decision)
        case ApprovalRequested():
            return "people asked", f"approval {ids.short(event.approval_id)}, until {moment(event.deadline)}"
        case ApprovalVoted():
            return f"voted: {event.answer}", _said(event.approver, event.comment)
        case BallotCast():
            refusal = f", refused: {event.refusal}" if event.refusal else ""
            if event.checked:
                return "edit checked", f"{event.refusal or 'it fits the tool'}, from {event.origin}"
            return "vote checked", f"{event.verification}{refusal}, from {event.origin}"
        case DeadlinePassed():
            return "deadline passed", f"approval {ids.short(event.approval_id)}; on its way behind the votes"
        case ApprovalDue():
            return f"{event.kind} came", f"approval {ids.short(event.approval_id)}"
        case ApprovalReminded():
            return (
                f"reminder {event.ordinal}",
                f"approval {ids.short(event.approval_id)}, until {moment(event.deadline)}",
            )
        case ApprovalEscalated():
            people = ", ".join(event.eligible)
            return f"escalated to level {event.level}", f"approval {ids.short(event.approval_id)}, now also: {people}"
        case ApprovalResolved():
            waited = duration(event.resolved_at - event.requested_at)
            return f"answered: {event.resolution}", f"{', '.join(event.approvers) or 'by nobody'}, after {waited}"
        case ActionInDoubt():
            return "in doubt", event.reason
        case ActionFinished():
            return f"finished: {event.status}", _finished(event)
        case ActionReply():
            return f"agent told: {event.status}", f"call {event.call_id}"
        case TurnCompleted():
            return f"turn {event.status}", event.reason or ""
        case OutcomeObserved():
            return f"outcome: {event.status}", _said(event.reported_by or "unnamed", event.description)
        case _:
            return event.TYPE, ""


def decision_shown(decision: Decision) -> dict[str, Any]:
    """A decision for programs."""
    return {
        "verdict": decision.verdict,
        "by": decision.by,
        "reason": decision.reason,
        "request_id": decision.request_id,
        "risk_score": decision.risk_score,
        "approval_id": decision.approval_id,
        "approvers": list(decision.approvers),
        "decided_at": decision.decided_at,
        "valid_until": decision.valid_until,
        "bighub_seconds": decision.bighub_seconds,
        "waited_seconds": decision.waited_seconds,
    }


def _proposed(event: ActionProposed) -> str:
    ref = event.ref
    again = f", attempt {ref.attempt} after: {event.gate_reason}" if ref.attempt else ""
    edited = f", revision {ref.revision}" if ref.revision > 1 else ""
    fault = f", with a fault: {event.fault.code}" if event.fault is not None else ""
    return f"{event.effect}, digest {ref.digest[:12]}{edited}{again}{fault}"


def _decided(decision: Decision) -> str:
    risk = f", risk {decision.risk_score:g}" if decision.risk_score is not None else ""
    answer = f", BIGHUB {decision.request_id}" if decision.request_id else ""
    took = f" in {decision.bighub_seconds * 1000:.0f} ms" if decision.bighub_seconds else ""
    until = f", valid until {moment(decision.valid_until)}" if decision.verdict == "allow" else ""
    return f"by {decision.by}: {decision.reason}{risk}{answer}{took}{until}"


def _finished(event: ActionFinished) -> str:
    parts = [f"via {event.via}"]
    if event.claimed_at is not None:
        parts.append(f"claimed {moment(event.claimed_at)}")
    if event.started_at is not None:
        parts.append(f"started {moment(event.started_at)}")
    if event.error:
        parts.append(f"error: {event.error}")
    if event.output is not None:
        parts.append(f"output of {len(bytes(event.output))} bytes")
    return ", ".join(parts)


def _said(who: str, what: str | None) -> str:
    return who if not what else f"{who}: {compact(what, 200)}"
