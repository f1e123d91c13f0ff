"""How alike two situations are: shares of equal fields, weighted by a strategy, and nearness of risk. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Body = dict[str, object]
"""A decoded JSON object."""

STRATEGIES: Mapping[str, Mapping[str, float]] = {
    "balanced": {"domain": 0.25, "action": 0.3, "tool": 0.2, "actor_type": 0.1, "risk_score": 0.15},
    "consequence-focused": {"domain": 0.15, "action": 0.2, "tool": 0.1, "actor_type": 0.05, "risk_score": 0.5},
    "action-focused": {"domain": 0.1, "action": 0.5, "tool": 0.3, "actor_type": 0.05, "risk_score": 0.05},
}
"""Weights of the fields by the strategy's name. The names are the SDK's own defaults, and one more."""


@dataclass(frozen=True, slots=True)
class Match:
    """A situation of the past, and how alike it is."""

    record: Body
    score: float
    """From 0 to 1."""
    parts: Mapping[str, float]
    """What each field that was asked for contributed."""


def matched(query: Mapping[str, object], record: Body, strategy: str = "balanced") -> Match:
    """How alike `record` is to what was asked for; what was not asked for counts neither way."""
    weights = {name: weight for name, weight in STRATEGIES[strategy].items() if query.get(name) not in {None, ""}}
    whole = sum(weights.values())
    parts = {name: weight * _near(query[name], record.get(name)) for name, weight in weights.items()}
    return Match(record, round(sum(parts.values()) / whole, 6) if whole else 0.0, parts)


def ranked(
    query: Mapping[str, object], records: Iterable[Body], *, strategy: str = "balanced", least: float = 0.0, most: int
) -> list[Match]:
    """The most alike first, of equals the older one."""
    found = [matched(query, record, strategy) for record in records]
    alike = [match for match in found if match.score >= least]
    return sorted(alike, key=lambda match: -match.score)[:most]


def _near(wanted: object, found: object) -> float:
    if isinstance(wanted, int | float) and isinstance(found, int | float):
        return max(0.0, 1.0 - abs(wanted - found))
    return 1.0 if wanted == found else 0.0
