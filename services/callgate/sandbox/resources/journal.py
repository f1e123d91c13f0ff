"""The log of what happened: a line for every decision, and for every change of a constraint. The newest first."""

from __future__ import annotations

from collections import Counter

from callgate.sandbox.resources.calls import Body, Call, Route, selected
from callgate.sandbox.resources.history import Past, history
from callgate.sandbox.store import Store
from callgate.sandbox.things import Things
from callgate.sandbox.times import iso

_KIND = "events"
_TYPES = {
    "ALLOWED": ("action_allowed", "info"),
    "LIMITED": ("action_limited", "info"),
    "APPROVAL_REQUIRED": ("approval_required", "warning"),
    "BLOCKED": ("action_blocked", "critical"),
}
_COPIED = (
    "allowed", "reason", "blocked_by", "usage", "risk_score", "warnings", "human_review", "gate_version",
    "recommendation", "recommendation_confidence", "enforcement_mode", "enforced_verdict", "decision_intelligence",
)  # fmt: skip


def record(things: Things, event_type: str, at: str, **fields: object) -> None:
    """Add an event that no decision stands for."""
    name = f"evt_{things.number('event_id')}"
    things.note(_KIND, {"event_id": name, "event_type": event_type, "severity": "info", **fields, "created_at": at})


class Events:
    """The endpoints of the event log."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._store = store

    def routes(self) -> list[Route]:
        """The routes that they serve."""
        return [("GET", "/events", self.listed), ("GET", "/events/stats", self.stats)]

    def listed(self, call: Call) -> Body:
        """A page of those that the query selects."""
        found = selected(self._all(), call.query, ("event_type", "severity", "rule_id"))
        start, size = call.asked("offset", 0, least=0), call.asked("limit", 50, most=500)
        return {"events": call.page(found), "total": len(found), "limit": size, "offset": start}

    def stats(self, call: Call) -> Body:
        """Counts."""
        del call
        found = self._all()
        return {
            "total": len(found),
            "by_type": dict(Counter(str(each["event_type"]) for each in found)),
            "by_severity": dict(Counter(str(each["severity"]) for each in found)),
        }

    def _all(self) -> list[Body]:
        decided = [_event(each) for each in history(self._store)]
        return sorted(
            [*decided, *self._store.things.all(_KIND)], key=lambda each: str(each["created_at"]), reverse=True
        )


def _event(past: Past) -> Body:
    kind, severity = _TYPES[past.verdict]
    return {
        "event_id": f"evt_{past.request_id}",
        "event_type": kind,
        "severity": severity,
        "rule_id": past.answer.get("blocked_by"),
        "domain": past.request.get("domain"),
        "validation_id": past.request_id,
        "action": past.action,
        "actor": past.request.get("actor"),
        "value": past.request.get("value"),
        **{name: past.answer.get(name) for name in _COPIED},
        "mode": past.answer.get("execution_mode"),
        "recommendation_followed": past.outcomes[-1].get("recommendation_followed") if past.outcomes else None,
        "outcome_status": past.status,
        "outcome_reported_at": past.outcomes[-1]["reported_at"] if past.outcomes else None,
        "created_at": iso(past.at),
    }
