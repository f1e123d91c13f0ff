"""Situations of the past, from wherever they are known: cases, decisions, and what was indexed by hand."""

from __future__ import annotations

from callgate.sandbox.resources.calls import Body
from callgate.sandbox.resources.history import history
from callgate.sandbox.store import Store

CASES = "cases"
"""The kind under which cases are kept, by their ids."""
INDEXED = "retrieval_index"
"""The kind under which situations are kept that a client has indexed itself, by their cases' ids."""


def situations(store: Store) -> list[Body]:
    """Every situation once; what was indexed under a case's id stands for the case."""
    found = {str(case["case_id"]): case_situation(case) for case in store.things.all(CASES)}
    for each in store.things.all(INDEXED):
        known = found.get(str(each["case_id"]), {})
        found[str(each["case_id"])] = known | {name: value for name, value in each.items() if value is not None}
    decided = [
        {
            "request_id": past.request_id,
            "domain": past.domain,
            "tool": past.action,
            "action": past.action,
            "actor_type": past.request.get("actor"),
            "risk_score": past.risk,
            "verdict": past.verdict,
            "outcome_status": past.status,
        }
        for past in history(store)
    ]
    return [*found.values(), *decided]


def case_situation(case: Body) -> Body:
    """What of a case can be compared."""
    action, verdict = case["action"], case["verdict"]
    assert isinstance(action, dict)
    assert isinstance(verdict, dict)
    return {
        "case_id": case["case_id"],
        "domain": case["domain"],
        "tool": action.get("tool") or action.get("action"),
        "action": action.get("action") or action.get("tool"),
        "actor_type": case["actor_type"],
        "risk_score": verdict.get("risk_score"),
        "verdict": verdict["verdict"],
        "outcome_status": case["outcome_status"],
    }
