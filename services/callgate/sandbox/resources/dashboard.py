"""What a person looks at: counts of decisions by day, week and month, and whether a decision is what it was."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import orjson

from callgate.sandbox.resources.calls import DAY, Body, Call, Route
from callgate.sandbox.resources.history import Past, history, share
from callgate.sandbox.store import Store
from callgate.sandbox.times import iso

_WEEK, _MONTH = 7 * DAY, 30 * DAY


class Dashboard:
    """The endpoints of the dashboard."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._store = store

    def routes(self) -> list[Route]:
        """The routes that they serve."""
        return [
            ("GET", "/actions/validations/{validation_id}/verify", self.verify),
            ("GET", "/actions/observer/stats", self.observer),
            ("GET", "/actions/dashboard/summary", self.summary),
            ("GET", "/actions/dashboard/value-protected-history", self.value_protected),
        ]

    def verify(self, call: Call) -> Body:
        """Whether a decision is remembered, with the digest of its answer. An unknown one is no error: not valid."""
        name = call.path["validation_id"]
        decided = self._store.decision(name)
        if decided is None:
            nothing = dict.fromkeys(("validation_hash", "computed_hash", "validated_at", "allowed", "result"))
            return {"valid": False, "validation_id": name, **nothing, "message": "there is no decision of this id"}
        digest = hashlib.sha256(decided.answer).hexdigest()
        given = orjson.loads(decided.answer)
        at = next((each.at for each in history(self._store) if each.request_id == name), None)
        return {
            "valid": True,
            "validation_id": name,
            "validation_hash": digest,
            "computed_hash": digest,
            "validated_at": None if at is None else iso(at),
            "allowed": given["allowed"],
            "result": given["result"],
            "message": "the decision is what it was",
        }

    def observer(self, call: Call) -> Body:
        """Counts by period, and what blocks most."""
        past = history(self._store)
        blocked = Counter(str(each.answer.get("blocked_by")) for each in past if each.verdict == "BLOCKED")
        return {
            "insight": _insight(past),
            "today": _counts(past, call.now - DAY),
            "week": _counts(past, call.now - _WEEK),
            "month": _counts(past, call.now - _MONTH),
            "all_time": _counts(past, 0.0),
            "top_blocked_by": [{"rule": rule, "count": count} for rule, count in blocked.most_common(10)],
            "automation_health_score": _health(past),
        }

    def summary(self, call: Call) -> Body:
        """The month in numbers."""
        past = history(self._store)
        month = [each for each in past if each.at >= call.now - _MONTH]
        approvals = Counter(each.status for each in self._store.approvals())
        return {
            "blocked_this_month": sum(each.verdict == "BLOCKED" for each in month),
            "value_protected": sum(each.value for each in month if each.verdict == "BLOCKED"),
            "approvals_resolved": approvals["approved"] + approvals["denied"],
            "automation_health_score": _health(month),
            "total_validations_this_month": len(month),
            "allowed_this_month": sum(each.verdict in {"ALLOWED", "LIMITED"} for each in month),
            "pending_approvals": approvals["pending"],
            "today": _counts(past, call.now - DAY),
            "week": _counts(past, call.now - _WEEK),
            "insight": _insight(month),
        }

    def value_protected(self, call: Call) -> Body:
        """What was blocked, a point for every day, also for those on which nothing was."""
        days = call.asked("days", 30, most=365)
        past = [each for each in history(self._store) if each.verdict == "BLOCKED"]
        points: list[Body] = []
        for day in range(days - 1, -1, -1):
            date = iso(call.now - day * DAY)[:10]
            found = [each for each in past if iso(each.at)[:10] == date]
            protected = sum(each.value for each in found)
            points.append({"date": date, "value_protected": protected, "blocked_count": len(found)})
        first = str(points[0]["date"])
        inside = [each for each in past if iso(each.at)[:10] >= first]
        return {
            "data": points,
            "total_value_protected": sum(each.value for each in inside),
            "total_blocked": len(inside),
            "period_days": days,
        }


def _counts(past: Sequence[Past], since: float) -> Body:
    counts = Counter(each.verdict for each in past if each.at >= since)
    return {
        "total": sum(counts.values()),
        "allowed": counts["ALLOWED"] + counts["LIMITED"],
        "blocked": counts["BLOCKED"],
        "approval_required": counts["APPROVAL_REQUIRED"],
    }


def _health(past: Sequence[Past]) -> int:
    """The share that needed no person, in percent; 100 where nothing was asked."""
    return round(100 * share(sum(each.verdict in {"ALLOWED", "LIMITED"} for each in past), len(past))) if past else 100


def _insight(past: Sequence[Past]) -> str:
    return f"{sum(each.verdict == 'BLOCKED' for each in past)} of {len(past)} decisions were blocked"
