"""The life of an action in BIGHUB's words: ingestion events and the outcome. Pure.

Ingestion has no idempotency keys, so every event carries an `external_ref` of ours that is the same for every repeat.
Nothing is reported as a success that nobody saw succeed: what is in doubt is escalated, not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from callgate.bighub.requests import OutcomeReport
from callgate.events.actions import ActionFinished, ActionInDoubt, ActionProposed, Decision, Status
from callgate.events.outcomes import OutcomeObserved
from callgate.tools.masking import mask

ADAPTER = "callgate"

_OUTCOMES: dict[Status, str] = {
    "executed": "SUCCESS",
    "tool_error": "FAILURE",
    "blocked": "BLOCKED",
    "rejected": "BLOCKED",
    "not_executed": "NO_EFFECT",
    "expired": "NO_EFFECT",
    "responded": "NO_EFFECT",
    "killed": "BLOCKED",
}
"""Ends that say something of the decision. Others (needs_context, refused, unknown) teach nothing and are left out."""


def finished_events(event: ActionFinished) -> list[dict[str, Any]]:
    """The ingestion events of a whole life, in order: proposed, what people said, and how it ended."""
    action, decision = event.action, event.decision
    events = [_ingest("ACTION_PROPOSED", action, decision, action.proposed_at)]
    if decision.by == "approval":
        kinds = {"allow": "HUMAN_APPROVAL", "reject": "HUMAN_REJECTION", "respond": "HUMAN_OVERRIDE"}
        kind = kinds.get(decision.verdict)
        if kind is not None:
            human = _ingest(kind, action, decision, decision.decided_at)
            human["human_feedback"] = {"approvers": list(decision.approvers), "resolution": decision.verdict}
            events.append(human)
    ran = event.status in {"executed", "tool_error"}
    last = _ingest("ACTION_EXECUTED" if ran else "ACTION_BLOCKED", action, decision, event.finished_at)
    last["execution"] = {"executed": ran, "status": event.status, "via": event.via}
    if event.error is not None:
        last["execution"]["error"] = event.error
    events.append(last)
    return events


def doubt_events(event: ActionInDoubt) -> list[dict[str, Any]]:
    """What is in doubt is an escalation: nobody knows whether it had its effect."""
    found = _ingest("ESCALATION_TRIGGERED", event.action, event.decision, event.doubted_at)
    found["execution"] = {"status": "in_doubt", "reason": event.reason}
    return [found]


def outcome_of(event: ActionFinished) -> OutcomeReport | None:
    """The outcome that an end is, or None: without BIGHUB's request id there is nothing to report it under."""
    request_id = event.decision.request_id
    status = _OUTCOMES.get(event.status)
    if request_id is None or status is None:
        return None
    return OutcomeReport(
        request_id=request_id,
        status=status,
        description=f"{event.action.ref.tool}: {event.status}",
        details=_outcome_details(event),
        production_action=event.action.ref.tool if event.status in {"executed", "tool_error"} else "",
        recommendation_followed=_followed(event),
        reported_by=ADAPTER,
        observed_at=_iso(event.finished_at),
        correction_needed=event.status == "tool_error",
    )


def observed_report(event: OutcomeObserved, request_id: str) -> OutcomeReport:
    """An outcome in the world, under BIGHUB's own id of the decision."""
    details = orjson.loads(bytes(event.details))
    return OutcomeReport(
        request_id=request_id,
        status=event.status,
        description=event.description or "",
        details=details if isinstance(details, dict) else {"details": details},
        reported_by=event.reported_by or "",
        observed_at=_iso(event.observed_at),
        revenue_impact=event.revenue_impact,
        correction_needed=event.correction,
        label_quality="observed",
    )


def observed_outcome(event: OutcomeObserved) -> dict[str, Any]:
    """The same for reconciliation by an outside reference."""
    return {
        "status": event.status,
        "description": event.description or "",
        "observed_at": _iso(event.observed_at),
        "reported_by": event.reported_by or "",
    }


def _ingest(kind: str, action: ActionProposed, decision: Decision, at: float) -> dict[str, Any]:
    arguments = {} if action.fault is not None else orjson.loads(bytes(action.arguments))
    entry: dict[str, Any] = {
        "event_type": kind,
        "timestamp": _iso(at),
        "external_ref": f"{action.ref.id}.{kind.lower()}",
        "adapter": ADAPTER,
        "tenant_ref": action.ref.tenant,
        "entity_id": action.ref.id,
        "session_id": action.ref.session,
        "action": {
            "tool": action.ref.tool,
            "action": action.bighub_action or action.ref.tool,
            "target": action.target,
            "arguments": mask(arguments, action.sensitive),
        },
        "context": _context(action, decision),
    }
    if decision.request_id is not None:
        entry["request_id"] = decision.request_id
    if action.domain is not None:
        entry["domain"] = action.domain
    return entry


def _context(action: ActionProposed, decision: Decision) -> Mapping[str, Any]:
    return {
        "verdict": decision.verdict,
        "by": decision.by,
        "risk_score": decision.risk_score,
        "recommendation": decision.recommendation,
        "environment": action.environment,
        "agent": action.ref.agent,
        "revision": action.ref.revision,
        "digest": action.ref.digest,
    }


def _outcome_details(event: ActionFinished) -> dict[str, Any]:
    details: dict[str, Any] = {"tool": event.action.ref.tool, "action_id": event.action.ref.id, "status": event.status}
    if event.started_at is not None:
        details["seconds"] = round(event.finished_at - event.started_at, 3)
    if event.error is not None:
        details["error"] = event.error
    return details


def _followed(event: ActionFinished) -> bool | None:
    ran = event.status in {"executed", "tool_error"}
    match event.decision.recommendation:
        case "proceed" | "proceed_with_caution":
            return ran
        case "do_not_proceed":
            return not ran
        case "review_recommended":
            return event.decision.by == "approval"
        case _:
            return None


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
