"""An outcome as it is kept and sent: what was reported, in its place, beside the decision that it is of. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from callgate.sandbox.answers import invalid, object_of, text_of
from callgate.sandbox.times import iso

Body = dict[str, object]
"""A decoded JSON object."""

_VERDICTS = {"allowed": "ALLOWED", "limited": "LIMITED", "requires_approval": "APPROVAL_REQUIRED", "blocked": "BLOCKED"}
_SEVERITIES = {"positive": 0.0, "neutral": 0.2, "negative": 0.8}
_EVEN = 0.5


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision as an outcome looks back at it."""

    request: Mapping[str, object]
    answer: Mapping[str, object]
    at: float


def verdict(answer: Mapping[str, object]) -> str:
    """What was decided, in the word that cases and outcomes use; a result from elsewhere is a block."""
    return _VERDICTS.get(str(answer.get("result")), "BLOCKED")


def reported(body: Body, status: str, category: str, decision: Decision | None, now: float) -> Body:
    """The outcome, without its ids. Raises `Refused` that names a wrong field."""
    observed = text_of(body, "observed_at") or iso(now)
    seen = seconds_of("observed_at", observed)
    bad = {"positive": 0.0, "negative": 1.0}.get(category)
    risk = decision.answer.get("risk_score") if decision is not None else None
    error = None if bad is None or not isinstance(risk, int | float) else round(abs(risk - bad), 6)
    kept = {name: value for name, value in body.items() if value is not None}
    return kept | {
        "org_id": "1",
        "case_id": text_of(body, "case_id") or "",
        "status": status,
        "category": category,
        "severity": _SEVERITIES[category],
        "reported_at": iso(now),
        "reported_by": text_of(body, "reported_by") or "",
        "report_source": "api",
        "description": text_of(body, "description") or "",
        "decision_context": {} if decision is None else _context(decision),
        "decision_at": None if decision is None else iso(decision.at),
        "observed_at": observed,
        "time_to_outcome_s": None if decision is None else round(seen - decision.at, 3),
        "details": object_of(body, "details"),
        "actual_impact": object_of(body, "actual_impact"),
        "correction": {
            "needed": body.get("correction_needed") is True,
            "description": text_of(body, "correction_description") or "",
            "cost": body.get("correction_cost"),
            "time_to_detect_s": body.get("time_to_detect_s"),
            "time_to_resolve_s": body.get("time_to_resolve_s"),
        },
        "rollback": {"performed": body.get("rollback_performed") is True},
        "business_impact": {
            "revenue_impact": body.get("revenue_impact"),
            "customer_impact_count": body.get("customer_impact_count") or 0,
            "support_tickets_created": body.get("support_tickets_created") or 0,
        },
        "calibration": {
            "error": error,
            "prediction_correct": None if error is None else error < _EVEN,
        },
        "tags": body.get("tags") or [],
    }


def seconds_of(name: str, text: str) -> float:
    """Seconds since the epoch, from ISO 8601, in UTC where it names no offset. Raises `Refused` for another text."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise invalid((name, "must be a time in ISO 8601")) from error
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def _context(decision: Decision) -> Body:
    return {
        "domain": decision.request.get("domain") or "",
        "tool": decision.request["action"],
        "action": decision.request["action"],
        "actor_type": decision.request.get("actor") or "",
        "verdict_was": verdict(decision.answer),
        "risk_score_was": decision.answer.get("risk_score"),
    }
