"""The life of an action in BIGHUB's words: ingestion events and the outcome. Pure.

Ingestion has no idempotency keys, so every event names the action (`external_ref`) and carries an id of its own, and
both are the same for every repeat. Nothing is reported as a success that nobody saw succeed, and nothing as blocked
that may have run: what is in doubt or unknown is escalated, not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson

from callgate.bighub.requests import OutcomeReport
from callgate.events import ids
from callgate.events.actions import ActionFinished, ActionInDoubt, ActionProposed, Decision, Status
from callgate.events.outcomes import OutcomeObserved
from callgate.failures import PermanentFailure
from callgate.tools.masking import mask

ADAPTER = "callgate"

ERROR_MOST = 500
"""Characters of a tool's error that are reported."""

_RAN: frozenset[Status] = frozenset({"executed", "tool_error"})
_HUMAN = {"allow": "HUMAN_APPROVAL", "reject": "HUMAN_REJECTION", "respond": "HUMAN_OVERRIDE"}
_OUTCOMES: dict[Status, str] = {
    "executed": "SUCCESS",
    "tool_error": "FAILURE",
    "blocked": "BLOCKED",
    "rejected": "BLOCKED",
    "killed": "BLOCKED",
    "not_executed": "NO_EFFECT",
    "expired": "NO_EFFECT",
    "responded": "NO_EFFECT",
    "needs_context": "NO_EFFECT",
}
"""What an end says of the decision. `unknown` says nothing, and `refused` was never decided."""


def finished_events(event: ActionFinished) -> list[dict[str, Any]]:
    """The ingestion events of a whole life, in order: proposed, what people said, and how it ended."""
    action, decision = event.action, event.decision
    events = [_ingest("ACTION_PROPOSED", action, decision, action.proposed_at)]
    if decision.by == "approval" and decision.verdict in _HUMAN:
        human = _ingest(_HUMAN[decision.verdict], action, decision, decision.decided_at)
        human["human_feedback"] = {"approvers": list(decision.approvers), "resolution": decision.verdict}
        events.append(human)
    ran = event.status in _RAN
    kind = "ACTION_EXECUTED" if ran else "ACTION_BLOCKED"
    if event.status == "unknown":
        kind = "ESCALATION_TRIGGERED"
    last = _ingest(kind, action, decision, event.finished_at, stage="finished")
    last["execution"] = {"status": event.status, "via": event.via}
    if event.status != "unknown":
        last["execution"]["executed"] = ran
    if event.error is not None:
        last["execution"]["error"] = event.error[:ERROR_MOST]
    return [*events, last]


def doubt_events(event: ActionInDoubt) -> list[dict[str, Any]]:
    """What is in doubt is an escalation: nobody knows whether it had its effect."""
    found = _ingest("ESCALATION_TRIGGERED", event.action, event.decision, event.doubted_at)
    found["execution"] = {"status": "in_doubt", "reason": event.reason[:ERROR_MOST]}
    return [found]


def outcome_of(event: ActionFinished) -> OutcomeReport | None:
    """The outcome that an end is, or None: without BIGHUB's request id there is nothing to report it under."""
    request_id = event.decision.request_id
    status = _OUTCOMES.get(event.status)
    if not request_id or status is None:
        return None
    return OutcomeReport(
        request_id=request_id,
        status=status,
        description=f"{event.action.ref.tool}: {event.status}",
        details=_outcome_details(event),
        production_action=event.action.ref.tool if event.status in _RAN else "",
        recommendation_followed=_followed(event),
        reported_by=ADAPTER,
        observed_at=iso(event.finished_at),
        correction_needed=event.status == "tool_error",
    )


def observed_report(event: OutcomeObserved, request_id: str) -> OutcomeReport:
    """An outcome in the world, under BIGHUB's own id of the decision. Raises PermanentFailure as `details_of` does."""
    return OutcomeReport(
        request_id=request_id,
        status=event.status,
        description=event.description or "",
        details=details_of(event),
        reported_by=event.reported_by or "",
        observed_at=_outside(event.observed_at),
        revenue_impact=event.revenue_impact,
        correction_needed=event.correction,
        label_quality="observed",
    )


def observed_outcome(event: OutcomeObserved) -> dict[str, Any]:
    """The same for reconciliation by an outside reference."""
    outcome: dict[str, Any] = {
        "status": event.status,
        "description": event.description or "",
        "details": details_of(event),
        "observed_at": _outside(event.observed_at),
        "reported_by": event.reported_by or "",
        "correction_needed": event.correction,
        "outcome_label_quality": "observed",
    }
    if event.revenue_impact is not None:
        outcome["revenue_impact"] = event.revenue_impact
    return outcome


def details_of(event: OutcomeObserved) -> dict[str, Any]:
    """What the observer adds. Raises PermanentFailure where it can't be read: it comes from outside."""
    try:
        details = orjson.loads(bytes(event.details))
    except orjson.JSONDecodeError as error:
        raise PermanentFailure("the outcome's details are not JSON that can be read") from error
    return details if isinstance(details, dict) else {"details": details}


def iso(at: float) -> str:
    """ISO 8601 in UTC. Raises ValueError, OverflowError or OSError for what is no time."""
    return datetime.fromtimestamp(at, UTC).isoformat()


def _outside(at: float) -> str:
    try:
        return iso(at)
    except (ValueError, OverflowError, OSError) as error:
        raise PermanentFailure("the outcome's observed_at is no time in seconds since the epoch") from error


def _ingest(
    kind: str, action: ActionProposed, decision: Decision, at: float, *, stage: str | None = None
) -> dict[str, Any]:
    ref = action.ref
    entry: dict[str, Any] = {
        "event_type": kind,
        "timestamp": iso(at),
        "external_ref": ref.id,
        "adapter": ADAPTER,
        "tenant_ref": ref.tenant,
        "entity_id": ref.id,
        "session_id": ref.session,
        "action": {
            "tool": ref.tool,
            "action": action.bighub_action or ref.tool,
            "target": action.target,
            "arguments": _masked_arguments(action),
        },
        "context": {
            "event_id": ids.event_id(ref.id, ref.revision, f"ingest.{stage or kind.lower()}", ref.attempt),
            **_context(action, decision),
        },
    }
    if decision.request_id:
        entry["request_id"] = decision.request_id
    if action.domain is not None:
        entry["domain"] = action.domain
    return entry


def _masked_arguments(action: ActionProposed) -> Any:
    """Arguments with a fault may be anything, secrets under unknown names too: they stay here."""
    if action.fault is not None:
        return {}
    arguments = msgspec.json.decode(action.arguments)
    return mask(arguments, action.sensitive) if isinstance(arguments, dict) else {}


def _context(action: ActionProposed, decision: Decision) -> Mapping[str, Any]:
    context: dict[str, Any] = {
        "verdict": decision.verdict,
        "by": decision.by,
        "risk_score": decision.risk_score,
        "recommendation": decision.recommendation,
        "environment": action.environment,
        "agent": action.ref.agent,
        "revision": action.ref.revision,
        "digest": action.ref.digest,
    }
    if action.fault is not None:
        context["fault"] = action.fault.code
    return context


def _outcome_details(event: ActionFinished) -> dict[str, Any]:
    details: dict[str, Any] = {"tool": event.action.ref.tool, "action_id": event.action.ref.id, "status": event.status}
    if event.started_at is not None:
        details["seconds"] = round(event.finished_at - event.started_at, 3)
    if event.error is not None:
        details["error"] = event.error[:ERROR_MOST]
    return details


def _followed(event: ActionFinished) -> bool | None:
    """Whether what happened is what BIGHUB recommended; None where it recommended nothing that we know."""
    ran = event.status in _RAN
    match event.decision.recommendation:
        case "proceed" | "proceed_with_caution":
            return ran
        case "do_not_proceed":
            return not ran
        case "review_recommended":
            return event.decision.by == "approval"
        case _:
            return None
