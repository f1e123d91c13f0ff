"""What has been decided and what came of it, as the families that count and compare look at it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from callgate.sandbox.outcomes import NEGATIVE, POSITIVE
from callgate.sandbox.reported import verdict
from callgate.sandbox.resources.calls import Body
from callgate.sandbox.store import Store

_LOOKED_AT = 5000
_BANDS = ((0.3, "low"), (0.7, "medium"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """One decision with its outcomes."""

    request_id: str
    request: Body
    answer: Body
    at: float
    outcomes: tuple[Body, ...]
    """Oldest first."""

    @property
    def action(self) -> str:
        """What was asked for; BIGHUB calls it the tool as well."""
        return str(self.request["action"])

    @property
    def domain(self) -> str:
        """Empty where the caller named none."""
        return str(self.request.get("domain") or "")

    @property
    def verdict(self) -> str:
        """The word that cases use."""
        return verdict(self.answer)

    @property
    def risk(self) -> float:
        """From 0 to 1."""
        found = self.answer.get("risk_score")
        return float(found) if isinstance(found, int | float) else 1.0

    @property
    def value(self) -> float:
        """0 where the caller named none."""
        found = self.request.get("value")
        return float(found) if isinstance(found, int | float) else 0.0

    @property
    def status(self) -> str | None:
        """The latest outcome's."""
        return str(self.outcomes[-1]["status"]) if self.outcomes else None


def history(store: Store) -> list[Past]:
    """The latest decisions, oldest first."""
    reported: dict[str, list[Body]] = {}
    for outcome in store.outcomes():
        reported.setdefault(str(outcome.get("request_id")), []).append(outcome)
    return [
        Past(request_id=request_id, request=request, answer=answer, at=at, outcomes=tuple(reported.get(request_id, ())))
        for request_id, request, answer, at in store.history(_LOOKED_AT)
    ]


def filtered(found: Iterable[Past], *, domain: str | None = None, tool: str | None = None) -> list[Past]:
    """Those of a domain and of a tool, where they are given."""
    return [
        each for each in found if (domain is None or each.domain == domain) and (tool is None or each.action == tool)
    ]


def harm(status: object) -> float | None:
    """1 for a bad outcome, 0 for a good one, None where nobody knows."""
    if status in POSITIVE:
        return 0.0
    return 1.0 if status in NEGATIVE else None


def band(risk: float) -> str:
    """Low, medium or high."""
    return next((name for most, name in _BANDS if risk < most), "high")


def mean(numbers: Iterable[float]) -> float | None:
    """None where there are none: a mean of nothing is no zero."""
    found = list(numbers)
    return round(sum(found) / len(found), 6) if found else None


def share(part: int, whole: int) -> float:
    """0 of nothing, as BIGHUB counts rates."""
    return round(part / whole, 6) if whole else 0.0
