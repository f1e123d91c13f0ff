"""Cases: decisions that somebody writes down by hand, with what came of them."""

from __future__ import annotations

from callgate.sandbox.answers import invalid
from callgate.sandbox.outcomes import Outcomes
from callgate.sandbox.resources.calls import Body, Call, Route, known, number_in, one_of, selected
from callgate.sandbox.resources.corpus import CASES, case_situation, situations
from callgate.sandbox.resources.history import harm, mean
from callgate.sandbox.resources.similarity import ranked
from callgate.sandbox.store import Store

_VERDICTS = ("ALLOWED", "BLOCKED", "APPROVAL_REQUIRED", "LIMITED", "DRY_RUN")


class Cases:
    """The endpoints of cases."""

    def __init__(self, store: Store, outcomes: Outcomes) -> None:
        """Over `store`; what came of a case is an outcome like any other."""
        self._store = store
        self._outcomes = outcomes
        self._things = store.things

    def routes(self) -> list[Route]:
        """The routes that they serve; literals first, since an id could spell one."""
        return [
            ("POST", "/cases", self.create),
            ("GET", "/cases", self.listed),
            ("GET", "/cases/calibration", self.calibration),
            ("POST", "/cases/precedents", self.precedents),
            ("GET", "/cases/{case_id}", self.get),
            ("POST", "/cases/{case_id}/outcome", self.outcome),
        ]

    def create(self, call: Call) -> Body:
        """A new case."""
        domain, action, verdict = call.needed("domain"), call.fields("action"), call.fields("verdict")
        if not action:
            raise invalid(("action", "is required"))
        one_of("verdict.verdict", str(verdict.get("verdict")), _VERDICTS)
        risk = number_in(verdict, "risk_score")
        if risk is not None and not 0 <= risk <= 1:
            raise invalid(("verdict.risk_score", "must be from 0 to 1"))
        name = f"case_{self._things.number(CASES)}"
        texts = {key: call.text(key) for key in ("goal_summary", "trigger_source", "actor_id", "agent_model")}
        objects = {key: call.fields(key) for key in ("context", "simulation", "refs")}
        tags = call.array("tags", 100) if call.body.get("tags") is not None else []
        body: Body = {
            "case_id": name,
            "domain": domain,
            "action": action,
            "verdict": verdict,
            "actor_type": call.text("actor_type", "AI_AGENT"),
            **texts,
            **objects,
            "tags": tags,
            "outcome": None,
            "outcome_status": None,
            "created_at": call.at,
        }
        return self._things.put(CASES, name, body)

    def get(self, call: Call) -> Body:
        """One case."""
        return known(self._things.get(CASES, call.path["case_id"]), "case")

    def listed(self, call: Call) -> Body:
        """A page of the cases that the query selects, oldest first."""
        has_outcome = call.asked_flag("has_outcome")
        low, high = _risk(call, "min_risk_score", 0.0), _risk(call, "max_risk_score", 1.0)
        bounded = {"min_risk_score", "max_risk_score"} & set(call.query)
        found = []
        for case in self._things.all(CASES):
            seen = case_situation(case)
            risk = seen["risk_score"]
            inside = isinstance(risk, int | float) and low <= risk <= high
            fits = selected([seen], call.query, ("domain", "tool", "action", "verdict", "outcome_status"))
            if fits and (inside or not bounded) and has_outcome in {None, case["outcome"] is not None}:
                found.append(case)
        start, size = call.asked("offset", 0, least=0), call.asked("limit", 50, most=500)
        return {"cases": call.page(found), "total": len(found), "limit": size, "offset": start}

    def outcome(self, call: Call) -> Body:
        """What came of a case. The latest status stands on the case, all of them among its outcomes."""
        case = known(self._things.get(CASES, call.path["case_id"]), "case")
        said: Body = {
            "status": call.needed("status"),
            "description": call.text("description"),
            "details": call.fields("details"),
            "actual_impact": call.fields("actual_impact"),
            "correction_needed": call.flag("correction_needed", default=False),
            "rollback_performed": call.flag("rollback_performed", default=False),
            "revenue_impact": call.number("revenue_impact"),
        }
        outcome = self._outcomes.record(said | {"case_id": case["case_id"]})
        body = case | {"outcome": outcome, "outcome_status": outcome["status"]}
        return self._things.put(CASES, str(case["case_id"]), body)

    def calibration(self, call: Call) -> Body:
        """How far the risk that was predicted is from what happened, over cases that have an outcome."""
        seen = selected([case_situation(case) for case in self._things.all(CASES)], call.query, ("domain",))
        pairs = [(each["risk_score"], harm(each["outcome_status"])) for each in seen]
        errors = [abs(risk - bad) for risk, bad in pairs if isinstance(risk, int | float) and bad is not None]
        return {
            "domain": call.query.get("domain"),
            "total_cases": len(seen),
            "cases_with_outcome": sum(each["outcome_status"] is not None for each in seen),
            "mean_absolute_error": mean(errors),
        }

    def precedents(self, call: Call) -> Body:
        """Cases and decisions that are alike."""
        action = call.fields("action")
        name = action.get("action")
        if not isinstance(name, str) or not name:
            raise invalid(("action.action", "is required"))
        query = {
            "domain": call.text("domain"),
            "action": name,
            "tool": action.get("tool"),
            "actor_type": action.get("action_type"),
            "risk_score": call.fields("context").get("axes_risk_score"),
        }
        least, most = call.number("min_similarity", 0.5) or 0.0, int(call.number("limit", 20) or 20)
        found = ranked(query, situations(self._store), least=least, most=most)
        return {
            "precedents": [match.record | {"similarity": match.score} for match in found],
            "total_precedents": len(found),
        }


def _risk(call: Call, name: str, default: float) -> float:
    """A number from 0 to 1 in the query."""
    text = call.query.get(name)
    if text is None:
        return default
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise invalid((name, "must be a number from 0 to 1"))
    return found
