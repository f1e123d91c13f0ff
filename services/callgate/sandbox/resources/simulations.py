"""Simulations: what each decision's risk foretold, a snapshot for every decision, against what happened."""

from __future__ import annotations

from callgate.sandbox.answers import Refused
from callgate.sandbox.resources.calls import Body, Call, Route
from callgate.sandbox.resources.history import Past, filtered, harm, history, mean
from callgate.sandbox.store import Store
from callgate.sandbox.times import iso

_PREFIX = "sim_"
_RUNS = 100
_EVEN = 0.5


class Simulations:
    """The endpoints of simulations."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._store = store

    def routes(self) -> list[Route]:
        """The routes that they serve; literals first, since an id could spell one."""
        return [
            ("GET", "/simulations", self.listed),
            ("GET", "/simulations/accuracy", self.accuracy),
            ("GET", "/simulations/stats", self.stats),
            ("GET", "/simulations/by-request/{request_id}", self.by_request),
            ("GET", "/simulations/by-request/{request_id}/compare", self.compare),
            ("GET", "/simulations/{snapshot_id}", self.get),
        ]

    def listed(self, call: Call) -> Body:
        """Those that the query selects, oldest first."""
        wanted = call.asked_flag("with_outcome")
        found = [past for past in self._asked(call) if wanted in {None, past.status is not None}]
        return {"simulations": [_snapshot(past) for past in call.page(found)], "total": len(found)}

    def get(self, call: Call) -> Body:
        """One snapshot by its own id."""
        return _snapshot(self._one(call.path["snapshot_id"].removeprefix(_PREFIX), "unknown_simulation"))

    def by_request(self, call: Call) -> Body:
        """One snapshot by its decision's id."""
        return _snapshot(self._one(call.path["request_id"], "unknown_request"))

    def compare(self, call: Call) -> Body:
        """What was foretold and what happened; the error is null until an outcome says good or bad."""
        past = self._one(call.path["request_id"], "unknown_request")
        bad = harm(past.status)
        return {
            "request_id": past.request_id,
            "predicted_failure_rate": past.risk,
            "outcome_status": past.status,
            "error": _error(past),
            "prediction_correct": None if bad is None else (past.risk >= _EVEN) == bool(bad),
        }

    def accuracy(self, call: Call) -> Body:
        """The mean error over decisions with an outcome."""
        errors = [error for past in self._asked(call) if (error := _error(past)) is not None]
        return {"total_with_outcome": len(errors), "mean_absolute_error": mean(errors)}

    def stats(self, call: Call) -> Body:
        """How many there are."""
        del call
        found = history(self._store)
        with_outcome = sum(past.status is not None for past in found)
        return {"total": len(found), "with_outcome": with_outcome, "scenarios_run": len(found) * _RUNS}

    def _asked(self, call: Call) -> list[Past]:
        return filtered(history(self._store), domain=call.query.get("domain"), tool=call.query.get("tool"))

    def _one(self, request_id: str, code: str) -> Past:
        found = next((past for past in history(self._store) if past.request_id == request_id), None)
        if found is None:
            raise Refused(404, code, "there is no decision of this id, or it is too long ago")
        return found


def _error(past: Past) -> float | None:
    bad = harm(past.status)
    return None if bad is None else round(abs(past.risk - bad), 6)


def _snapshot(past: Past) -> Body:
    """Nothing is simulated: all numbers follow from the risk, so that they are the same at every look."""
    return {
        "snapshot_id": f"{_PREFIX}{past.request_id}",
        "request_id": past.request_id,
        "domain": past.domain,
        "tool": past.action,
        "scenarios_run": _RUNS,
        "failure_rate": past.risk,
        "fragility_score": round(4 * past.risk * (1 - past.risk), 6),
        "confidence": round(abs(2 * past.risk - 1), 6),
        "outcome_status": past.status,
        "created_at": iso(past.at),
    }
