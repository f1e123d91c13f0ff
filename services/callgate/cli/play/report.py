"""The report of a play: what was submitted, how each action stands, and what the checker found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

import orjson

from callgate.cli.checker.facts import ActionFacts, Facts
from callgate.cli.checker.judge import Expected, Violation


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a play came to; `shown` is its JSON."""

    turns: int
    """Distinct turns submitted."""
    actions: int
    """Calls in them: the sum of `by_status`."""
    by_status: Mapping[str, int]
    """Ends by status; what has not ended counts under in_doubt, parked or pending."""
    decisions: Mapping[str, int]
    """Actions by the verdict of their evaluation."""
    violations: tuple[Violation, ...]
    latency: Mapping[str, float | int | None]
    """Seconds that Callgate added, proposed to started, less BIGHUB's time and people's: p50, p95, count."""
    paths: Mapping[str, str]

    @property
    def unfinished(self) -> int:
        """Actions that neither ended nor are in doubt."""
        return self.by_status.get("pending", 0) + self.by_status.get("parked", 0)

    def shown(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "turns": self.turns,
            "actions": self.actions,
            "by_status": dict(self.by_status),
            "decisions": dict(self.decisions),
            "violations": [violation.shown() for violation in self.violations],
            "latency": dict(self.latency),
            "paths": dict(self.paths),
        }

    def write(self, path: Path) -> None:
        """Write it whole or not at all."""
        draft = path.with_name(f"{path.name}.draft")
        draft.write_bytes(orjson.dumps(self.shown(), option=orjson.OPT_INDENT_2) + b"\n")
        draft.replace(path)


def compile_report(
    facts: Facts,
    expected: Mapping[str, Expected],
    parked: frozenset[str],
    violations: list[Violation],
    paths: Mapping[str, str],
) -> Report:
    """The report over exactly the `expected` calls; `parked` are the actions that a service has put aside."""
    statuses: Counter[str] = Counter()
    decisions: Counter[str] = Counter()
    for identifier in expected:
        action = facts.actions.get(identifier, ActionFacts())
        statuses[_standing(action, parked=identifier in parked)] += 1
        evaluated = [decision.verdict for _, decision in action.decisions if decision.by != "approval"]
        if evaluated:
            decisions[evaluated[-1]] += 1
    return Report(
        turns=len({told.turn_key for told in expected.values()}),
        actions=len(expected),
        by_status=dict(sorted(statuses.items())),
        decisions=dict(sorted(decisions.items())),
        violations=tuple(violations),
        latency=_latency([facts.actions[each] for each in expected if each in facts.actions]),
        paths=paths,
    )


def _standing(action: ActionFacts, *, parked: bool) -> str:
    if action.ends:
        return action.ends[0][1].status
    if action.doubts:
        return "in_doubt"
    return "parked" if parked else "pending"


def _latency(actions: list[ActionFacts]) -> dict[str, float | int | None]:
    added = [
        max(0.0, end.started_at - end.action.proposed_at - end.decision.bighub_seconds - end.decision.waited_seconds)
        for action in actions
        for _, end in action.ends[:1]
        if end.started_at is not None
    ]
    if not added:
        return {"p50": None, "p95": None, "count": 0}
    cuts = quantiles(added, n=20, method="inclusive") if len(added) > 1 else [added[0]] * 19
    return {"p50": round(cuts[9], 4), "p95": round(cuts[18], 4), "count": len(added)}
