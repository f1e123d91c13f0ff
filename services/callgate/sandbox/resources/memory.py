"""The memory of executions: what adapters report of their tool calls, and what could be learnt from it."""

from __future__ import annotations

from collections import Counter

from callgate.sandbox.answers import Refused, invalid
from callgate.sandbox.resources.calls import Body, Call, Route, number_in
from callgate.sandbox.resources.history import mean, share
from callgate.sandbox.store import Store

_KIND = "memory"
_ORG = 1
_BATCH = 500
_FILTERS = ("tool", "domain", "actor", "source")
_HIDDEN = ("arguments", "output")
_RATES = {
    "blocked": ("min_blocked_rate", 0.15, "tighten_instructions"),
    "approval_required": ("min_approval_rate", 0.10, "add_policy_exception"),
    "tool_error": ("min_tool_error_rate", 0.05, "repair_tool"),
}


class Memory:
    """The endpoints of the memory."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._things = store.things

    def routes(self) -> list[Route]:
        """The routes that they serve."""
        return [
            ("POST", "/actions/memory/ingest", self.ingest),
            ("GET", "/actions/memory/context", self.context),
            ("POST", "/actions/memory/refresh-aggregates", self.refresh),
            ("POST", "/actions/memory/recommendations", self.recommendations),
        ]

    def ingest(self, call: Call) -> Body:
        """Events of any shape. `redact` is a request to the server: arguments and outputs are then not kept."""
        events = call.array("events", _BATCH)
        source = call.text("source", "adapter")
        redact = call.flag("redact", default=True)
        shared = {name: call.text(name) for name in ("actor", "domain", "model", "trace_id", "source_version")}
        for index, event in enumerate(events):
            if not isinstance(event, dict):
                raise invalid((f"events.{index}", "must be an object"))
            kept = {name: "[redacted]" if redact and name in _HIDDEN else each for name, each in event.items()}
            self._things.note(_KIND, shared | {"source": source} | kept | {"at": call.now})
        return {"accepted": len(events), "total_stored": self._things.count(_KIND), "source": source}

    def context(self, call: Call) -> Body:
        """Rates over a window, and the latest events, newest first."""
        hours = call.asked("window_hours", 24)
        wanted = {name: call.query[name] for name in _FILTERS if name in call.query}
        found = self._window(call.now, hours, wanted)
        counts = Counter(str(each.get("status")) for each in found)
        tools = Counter(str(each.get("tool")) for each in found if each.get("tool"))
        reasons = Counter(str(each.get("error") or "blocked") for each in found if each.get("status") == "blocked")
        risks = [number_in(each, "risk_score") for each in found if isinstance(each.get("risk_score"), int | float)]
        return {
            "org_id": _ORG,
            "window_hours": hours,
            "filters": wanted,
            "total_events": len(found),
            "blocked_rate": share(counts["blocked"], len(found)),
            "approval_rate": share(counts["approval_required"], len(found)),
            "tool_error_rate": share(counts["tool_error"], len(found)),
            "avg_risk_score": mean(risk for risk in risks if risk is not None) or 0.0,
            "top_tools": [{"tool": tool, "count": count} for tool, count in tools.most_common(10)],
            "top_block_reasons": [{"reason": reason, "count": count} for reason, count in reasons.most_common(10)],
            "recent_events": found[::-1][: call.asked("limit_recent", 25, most=500)],
        }

    def refresh(self, call: Call) -> Body:
        """Nothing is aggregated ahead, so that there is nothing to refresh: it is always fresh."""
        call.asked("window_hours", 24)
        return {"refreshed": True, "mode": "concurrent" if call.asked_flag("concurrent") else "blocking"}

    def recommendations(self, call: Call) -> Body:
        """Tools whose rates are above the caller's limits. To change the policy by itself is refused."""
        if call.flag("auto_apply", default=False):
            raise Refused(403, "auto_apply_refused", "the sandbox changes no policy by itself: leave auto_apply out")
        hours = int(call.number("window_hours", 24) or 24)
        wanted = {name: call.text(name) for name in _FILTERS if call.text(name)}
        found = self._window(call.now, hours, wanted)
        totals = Counter(str(each.get("tool")) for each in found)
        least = call.number("min_events", 20) or 0
        made: list[Body] = []
        for status, (limit, default, kind) in _RATES.items():
            counts = Counter(str(each.get("tool")) for each in found if each.get("status") == status)
            floor = call.number(limit, default) or 0.0
            for tool, count in counts.most_common():
                rate = share(count, totals[tool])
                if totals[tool] >= least and rate >= floor:
                    examples = [each for each in found if (each.get("tool"), each.get("status")) == (tool, status)][:3]
                    made.append({"type": kind, "tool": tool, "rate": rate, "events": totals[tool]})
                    made[-1]["examples"] = examples if call.flag("include_examples", default=True) else []
        most = int(call.number("limit_recommendations", 10) or 10)
        return {
            "org_id": _ORG,
            "plan": "sandbox",
            "window_hours": hours,
            "generated_at": call.at,
            "filters": wanted,
            "summary": {"total_events": len(found), "recommendations": len(made)},
            "recommendations": made[:most],
        }

    def _window(self, now: float, hours: int, wanted: dict[str, str]) -> list[Body]:
        since = now - hours * 3600
        return [
            each
            for each in self._things.all(_KIND)
            if (number_in(each, "at") or 0.0) >= since
            and all(each.get(name) == value for name, value in wanted.items())
        ]
