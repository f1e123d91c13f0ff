"""Our decision in BIGHUB's words, as agents that know the published adapters read it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from callgate.events.actions import Decision

_MODES: Mapping[str, str] = {"allow": "autonomous", "review": "review", "needs_context": "needs_context"}
_RESULTS: Mapping[str, str] = {"allow": "allowed", "review": "requires_approval"}
_RAN = frozenset({"executed", "tool_error"})


def decision_shape(status: str, decision: Decision) -> dict[str, Any]:
    """The decision in BIGHUB's words. `can_run` says whether it did run, so it can't contradict the status.

    To be written by orjson: raw JSON stands in it as it is.
    """
    ran = status in _RAN
    verdict = decision.verdict
    review = decision.approval_id is not None or verdict == "review"
    return {
        "request_id": decision.request_id,
        "verdict": verdict,
        "by": decision.by,
        "mode": "constrained" if verdict == "allow" and decision.constraints else _MODES.get(verdict, "blocked"),
        "result": _RESULTS.get(verdict, "blocked"),
        "allowed": verdict == "allow",
        "can_run": ran,
        "needs_review": review,
        "requires_approval": review,
        "needs_more_context": verdict == "needs_context",
        "should_not_run": not ran,
        "risk": decision.risk_score,
        "risk_score": decision.risk_score,
        "reason": decision.reason,
        "better_action": raw(decision.better_action),
        "constraints": raw(decision.constraints),
        "approval_id": decision.approval_id,
        "approvers": list(decision.approvers),
    }


def raw(value: msgspec.Raw | None) -> orjson.Fragment | None:
    """Raw JSON inside JSON, undecoded."""
    return None if value is None else orjson.Fragment(bytes(value))
