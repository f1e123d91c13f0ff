"""A ruling as the answer to `POST /actions/evaluate`: shapes on which the SDK, its adapter and we agree. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from callgate.sandbox.policy import Ruling

Body = dict[str, object]
"""A decoded JSON object."""

# Every field that some consumer reads is there, and all of them say the same: who fails on these fails on anything.
_SHAPES: Mapping[str, Mapping[str, object]] = {
    "allow": {
        "enforced_verdict": "allowed",
        "recommendation": "proceed",
        "allowed": True,
        "result": "allowed",
        "requires_approval": False,
        "human_review": False,
        "execution_mode": "autonomous",
    },
    "constrain": {
        "enforced_verdict": "allowed",
        "recommendation": "proceed_with_caution",
        "allowed": True,
        "result": "limited",
        "requires_approval": False,
        "human_review": False,
        "execution_mode": "constrained",
    },
    "review": {
        "enforced_verdict": "requires_approval",
        "recommendation": "review_recommended",
        "allowed": False,
        "result": "requires_approval",
        "requires_approval": True,
        "human_review": True,
        "execution_mode": "review",
    },
    "block": {
        "enforced_verdict": "blocked",
        "recommendation": "do_not_proceed",
        "allowed": False,
        "result": "blocked",
        "requires_approval": False,
        "human_review": False,
        "execution_mode": "blocked",
    },
    "needs_context": {
        "enforced_verdict": "blocked",
        "recommendation": "do_not_proceed",
        "allowed": False,
        "result": "blocked",
        "requires_approval": False,
        "human_review": False,
        "execution_mode": "needs_context",
        "needs_more_context": True,
        "request_type": "clarification_needed",
    },
}
_BANDS = ((0.3, "low"), (0.7, "medium"), (1.01, "high"))


def shaped(ruling: Ruling, request_id: str, *, dry_run: bool = False) -> Body:
    """The whole answer. A dry run is never a decision: what it would have been stands in `dry_run_verdict`."""
    shape = _SHAPES[ruling.decision]
    body: Body = {
        "request_id": request_id,
        "enforcement_mode": "enforced",
        **shape,
        "recommendation_confidence": "high",
        "risk_score": ruling.risk_score,
        "reason": ruling.reason,
        "dry_run": dry_run,
        "gate_version": "sandbox-1",
        "warnings": [],
        "usage": {},
        "decision_intelligence": {"evidence_status": "policy", "rationale": ruling.reason, "rule_basis": ruling.rule},
        "decision_packet": _packet(ruling, str(shape["recommendation"])),
    }
    if ruling.decision == "block":
        body["blocked_by"] = ruling.rule
    if ruling.better_action is not None:
        body["better_action"] = ruling.better_action
    if ruling.constraints:
        body["constraints"] = dict(ruling.constraints)
    if dry_run:
        body["dry_run_verdict"] = body["enforced_verdict"]
        body["enforced_verdict"] = "blocked"
        del body["execution_mode"]
    return body


def failed_item(request_id: str, code: str, message: str) -> Body:
    """What stands in a batch's answer for an item that could not be evaluated: a block, so that nobody runs it."""
    ruling = Ruling(decision="block", reason=message, risk_score=1.0, rule="invalid")
    return shaped(ruling, request_id) | {"error": {"code": code, "message": message}}


def _packet(ruling: Ruling, recommendation: str) -> Body:
    """The packet beside the decision. `signal` must be an object, or the adapter breaks after it has run the tool."""
    band = next(name for most, name in _BANDS if ruling.risk_score < most)
    return {
        "version": "1",
        "signal": {"recommendation": recommendation, "risk_score": ruling.risk_score, "risk_band": band},
        "constraints": [{"name": name, "value": value} for name, value in ruling.constraints.items()],
        "candidate_actions": [],
        "metadata": {"rule": ruling.rule},
    }
