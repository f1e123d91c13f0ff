"""Precedents: what came of situations like the one that is asked about."""

from __future__ import annotations

from collections import Counter

from callgate.sandbox.resources.calls import Body, Call, Route
from callgate.sandbox.resources.corpus import situations
from callgate.sandbox.resources.history import harm, mean, share
from callgate.sandbox.resources.similarity import Match, ranked
from callgate.sandbox.store import Store

_ASKED = ("domain", "tool", "action", "actor_type", "risk_score")
_ALIKE = 0.5


class Precedents:
    """The endpoints of precedents."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._store = store

    def routes(self) -> list[Route]:
        """The routes that they serve."""
        return [
            ("POST", "/precedents/query", self.query),
            ("POST", "/precedents/signals", self.signals),
            ("GET", "/precedents/stats", self.stats),
        ]

    def query(self, call: Call) -> Body:
        """The precedents themselves, the most alike first."""
        needs_outcome = call.flag("require_outcome", default=False)
        least, most = call.number("min_similarity", _ALIKE) or 0.0, int(call.number("max_results", 20) or 20)
        found = [match for match in self._found(call, least) if match.record["outcome_status"] or not needs_outcome]
        return {
            "total_precedents": len(found),
            "precedents": [match.record | {"similarity": match.score} for match in found[:most]],
            "outcomes": dict(Counter(str(match.record["outcome_status"] or "UNKNOWN") for match in found)),
        }

    def signals(self, call: Call) -> Body:
        """What the precedents say about the risk."""
        found = self._found(call, _ALIKE)
        harms = [bad for match in found if (bad := harm(match.record["outcome_status"])) is not None]
        blocked = sum(match.record["verdict"] == "BLOCKED" for match in found)
        return {
            "total_precedents": len(found),
            "with_outcome": len(harms),
            "failure_rate": mean(harms),
            "block_rate": share(blocked, len(found)),
            "similarity": mean(match.score for match in found),
            "novel_situation": not found,
        }

    def stats(self, call: Call) -> Body:
        """How many precedents there are."""
        del call
        found = situations(self._store)
        return {
            "total_precedents": len(found),
            "with_outcome": sum(each.get("outcome_status") is not None for each in found),
            "by_domain": dict(Counter(str(each.get("domain") or "") for each in found)),
        }

    def _found(self, call: Call, least: float) -> list[Match]:
        call.needed("domain")
        call.needed("action")
        call.number("risk_score")
        query = {name: call.body.get(name) for name in _ASKED}
        records = situations(self._store)
        return ranked(query, records, least=least, most=len(records))
