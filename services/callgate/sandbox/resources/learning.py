"""Learning: runs that count what there is to learn from, and how often people and BIGHUB were of two minds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from callgate.sandbox.resources.calls import Body, Call, Route
from callgate.sandbox.resources.history import Past, filtered, harm, history, mean, share
from callgate.sandbox.resources.similarity import STRATEGIES
from callgate.sandbox.store import Store

_KIND = "learning_runs"
_ORG = "1"
_ALLOWING = ("ALLOWED", "LIMITED")
_NOT_KEPT: tuple[str, ...] = (
    "transitions_with_learning_tasks", "transitions_with_candidates", "transitions_with_breakdown_findings",
    "transitions_with_falsification_experiments", "transitions_with_promotions",
    "transitions_with_active_learning_recommendations", "future_decisions_learning_influenced",
    "future_decisions_verdict_changed", "promises_total", "promises_kept", "promises_breached", "llm_won_disagreements",
)  # fmt: skip


class Learning:
    """The endpoints of learning."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._store = store

    def routes(self) -> list[Route]:
        """The routes that they serve."""
        return [
            ("GET", "/ops/learning/strategy", self.strategy),
            ("GET", "/ops/learning/runs", self.runs),
            ("POST", "/ops/learning/recompute", self._run("recompute")),
            ("POST", "/ops/learning/backfill", self._run("backfill")),
            ("GET", "/consequence-graph/learning-impact", self.impact),
            ("GET", "/consequence-graph/disagreements/metrics", self.disagreements),
        ]

    def strategy(self, call: Call) -> Body:
        """Weights, as retrieval uses them: the sandbox learns nothing that would change a decision."""
        del call
        runs = self._store.things.all(_KIND)
        return {
            "strategy": "balanced",
            "weights": dict(STRATEGIES["balanced"]),
            "last_run": runs[-1] if runs else None,
            "changes_decisions": False,
        }

    def runs(self, call: Call) -> Body:
        """The newest first."""
        found = self._store.things.all(_KIND)[::-1]
        return {"runs": call.page(found), "total": len(found)}

    def impact(self, call: Call) -> Body:
        """How decisions that had an outcome went. What the sandbox does not keep is 0."""
        past = [each for each in history(self._store) if each.status is not None]
        disputes = [each for each in past if _disputed(each)]
        winners = Counter(_winner(each) for each in disputes)
        most = call.asked("limit_examples", 10, least=0, most=500)
        return {
            "org_id": _ORG,
            "observed_ctg_edges": len(past),
            **dict.fromkeys(_NOT_KEPT, 0),
            "future_decisions_created_after_observed_edges": 0,
            "disagreements_observed": len(disputes),
            "disagreements_by_winner": dict(winners),
            "disagreements_by_type": dict(Counter(each.verdict for each in disputes)),
            "bighub_won_disagreements": winners["bighub"],
            "human_won_disagreements": winners["human"],
            "unknown_disagreement_winner": winners["unknown"],
            **_regret(past),
            "promise_keep_rate": None,
            "breaches_by_promise_type": {},
            "regret_vector_summary": {},
            "top_regret_dimensions": [],
            "regret_damage_bearers": {},
            "examples": [_example(each) for each in disputes[:most]],
        }

    def disagreements(self, call: Call) -> Body:
        """Where an outcome says that the recommendation was not followed, and who was right."""
        del call
        past = [each for each in history(self._store) if each.status is not None]
        disputes = [each for each in past if _disputed(each)]
        winners = Counter(_winner(each) for each in disputes)
        cells = Counter((each.verdict in _ALLOWING, _winner(each)) for each in disputes)
        counts = {
            # Allowed, done all the same by somebody who was told not to: no such record is kept of models.
            "llm_over_approval": 0,
            "bighub_regret_reduction": winners["bighub"],
            "human_override_success": winners["human"],
            "human_overblock": cells[True, "bighub"],
            "bighub_false_positive": cells[False, "human"],
            "bighub_false_negative": cells[True, "human"],
        }
        both = {f"{name}_count": count for name, count in counts.items()}
        return {
            "org_id": _ORG,
            "total_records": len(disputes),
            "observed_records": len(past),
            "unknown_winner": winners["unknown"],
            "by_winner": dict(winners),
            "by_disagreement_type": dict(Counter(each.verdict for each in disputes)),
            **both,
            **{f"{name}_rate": share(count, len(disputes)) for name, count in counts.items()},
            **_regret(past),
            "top_llm_over_approval_shapes": [],
            "top_bighub_regret_reduction_shapes": [],
        }

    def _run(self, kind: str) -> Callable[[Call], Body]:
        def run(call: Call) -> Body:
            """Count what there is to learn from. It is done at once, whether or not the caller would wait."""
            past = filtered(history(self._store), domain=call.text("domain") or None)
            past = filtered(past, tool=call.text("action_family") or None)
            processed = min(len(past), int(call.number("limit", 5000) or 5000))
            name = f"run_{self._store.things.number('learning_run_id')}"
            flags = {"force": False, "async_mode": True}
            body: Body = {
                "run_id": name,
                "kind": kind,
                "status": "completed",
                "processed": processed,
                "with_outcome": sum(each.status is not None for each in past[:processed]),
                **{flag: call.flag(flag, default=default) for flag, default in flags.items()},
                "started_at": call.at,
                "finished_at": call.at,
            }
            self._store.things.note(_KIND, body)
            return body

        return run


def _disputed(past: Past) -> bool:
    return past.outcomes[-1].get("recommendation_followed") is False


def _winner(past: Past) -> str:
    """A person who did otherwise was right where it went well."""
    bad = harm(past.status)
    return "unknown" if bad is None else "bighub" if bad else "human"


def _regret(past: list[Past]) -> Body:
    followed = [each for each in past if each.outcomes[-1].get("recommendation_followed") is True]
    with_it = mean(bad for each in followed if (bad := harm(each.status)) is not None)
    without = mean(bad for each in past if _disputed(each) and (bad := harm(each.status)) is not None)
    return {
        "avg_regret_when_bighub_changed_decision": with_it,
        "avg_regret_when_baseline_path_followed": without,
        "avg_regret_reduction": None if with_it is None or without is None else round(without - with_it, 6),
    }


def _example(past: Past) -> Body:
    return {"request_id": past.request_id, "action": past.action, "verdict": past.verdict, "status": past.status}
