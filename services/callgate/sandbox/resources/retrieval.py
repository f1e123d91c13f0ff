"""Retrieval: the most alike situations by a strategy of one's choice, why, and two strategies against each other."""

from __future__ import annotations

from callgate.events.ids import is_id
from callgate.sandbox.answers import Refused, invalid
from callgate.sandbox.resources.calls import Body, Call, Route, one_of
from callgate.sandbox.resources.corpus import INDEXED, situations
from callgate.sandbox.resources.similarity import STRATEGIES, Match, ranked
from callgate.sandbox.store import Store

_ASKED = ("domain", "tool", "action", "actor_type", "risk_score")
_TOP = 10


class Retrieval:
    """The endpoints of retrieval."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._store = store

    def routes(self) -> list[Route]:
        """The routes that they serve."""
        return [
            ("POST", "/retrieval/query", self.query),
            ("POST", "/retrieval/query/explained", self.explained),
            ("POST", "/retrieval/index", self.index),
            ("POST", "/retrieval/compare", self.compare),
            ("GET", "/retrieval/strategies", self.strategies),
            ("GET", "/retrieval/strategy/{name}", self.strategy),
            ("GET", "/retrieval/stats", self.stats),
        ]

    def query(self, call: Call) -> Body:
        """The ten most alike."""
        call.needed("action")
        strategy = _strategy(call.text("strategy_name") or call.text("strategy", "balanced"))
        return {"strategy": strategy, "results": [_result(match) for match in self._top(call, strategy)]}

    def explained(self, call: Call) -> Body:
        """The ten most alike, and what each field contributed."""
        call.needed("action")
        strategy = _strategy(call.text("strategy_name") or call.text("strategy", "balanced"))
        results = [_result(match) | {"explanation": dict(match.parts)} for match in self._top(call, strategy)]
        return {"strategy": strategy, "weights": dict(STRATEGIES[strategy]), "results": results}

    def index(self, call: Call) -> Body:
        """A situation to be found, under its case's id; the same id again replaces it."""
        name = call.needed("case_id")
        if not is_id(name):
            raise invalid(("case_id", "must have 1 to 128 letters, digits, _ or -"))
        for each in ("org_id", "tool", "action", "domain"):
            call.needed(each)
        kept: Body = {each: call.body.get(each) for each in ("case_id", "org_id", *_ASKED, "axes")}
        new = self._store.things.get(INDEXED, name) is None
        body = {**kept, "verdict": call.text("verdict", "ALLOWED"), "outcome_status": None}
        self._store.things.put(INDEXED, name, body)
        return {"indexed": True, "case_id": name, "created": new, "total_indexed": self._store.things.count(INDEXED)}

    def compare(self, call: Call) -> Body:
        """What two strategies find, and what both do."""
        names = [_strategy(call.text(f"strategy_{each}")) for each in "ab"]
        a, b = ([_result(match) for match in self._top(call, name)] for name in names)
        both = [each["id"] for each in a if each["id"] in {other["id"] for other in b}]
        sides = {"strategy_a": {"name": names[0], "results": a}, "strategy_b": {"name": names[1], "results": b}}
        union = len({str(each["id"]) for each in [*a, *b]})
        return {**sides, "overlap": both, "overlap_rate": len(both) / union if union else 0.0}

    def strategies(self, call: Call) -> Body:
        """Their names and weights."""
        del call
        return {"strategies": [{"name": name, "weights": dict(weights)} for name, weights in STRATEGIES.items()]}

    def strategy(self, call: Call) -> Body:
        """One strategy."""
        name = call.path["name"]
        if name not in STRATEGIES:
            raise Refused(404, "unknown_strategy", f"there are {', '.join(STRATEGIES)}")
        return {"name": name, "weights": dict(STRATEGIES[name])}

    def stats(self, call: Call) -> Body:
        """How much can be found."""
        del call
        indexed = self._store.things.count(INDEXED)
        return {"total_indexed": indexed, "total_records": len(situations(self._store)), "strategies": len(STRATEGIES)}

    def _top(self, call: Call, strategy: str) -> list[Match]:
        call.number("risk_score")
        query = {name: call.body.get(name) for name in _ASKED}
        return ranked(query, situations(self._store), strategy=strategy, least=1e-6, most=_TOP)


def _strategy(name: str) -> str:
    return one_of("strategy", name, STRATEGIES)


def _result(match: Match) -> Body:
    name = match.record.get("case_id") or match.record.get("request_id")
    return {"id": name, **match.record, "score": match.score}
