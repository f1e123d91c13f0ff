"""What outcomes say all in all: counts, and whether it was good to follow what was recommended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from callgate.sandbox.outcomes import POSITIVE
from callgate.sandbox.reported import seconds_of
from callgate.sandbox.resources.calls import Body, Call, Route
from callgate.sandbox.resources.history import share
from callgate.sandbox.store import Store

_EXAMPLES = 5
_SHOWN = ("outcome_id", "request_id", "status", "reported_at", "description", "recommendation_followed", "category")
_WERE = ("domain", "action", "tool", "verdict_was", "risk_score_was")


class Analytics:
    """The endpoints that sum outcomes up."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._store = store

    def routes(self) -> list[Route]:
        """The routes that they serve."""
        root = "/outcomes/analytics"
        return [
            ("GET", f"{root}/summary", self.summary),
            ("GET", f"{root}/recommendation-quality", self.quality),
            ("GET", f"{root}/partner-view/{{domain}}", self.partner_view),
        ]

    def summary(self, call: Call) -> Body:
        """Counts by status."""
        found = self._asked(call, call.query.get("domain"))
        counts = Counter(str(each["status"]) for each in found)
        return {"total": len(found), "by_status": dict(counts), "decisions": self._store.decisions()}

    def quality(self, call: Call) -> Body:
        """How decisions that were followed, and that were not, turned out."""
        return _quality(self._asked(call, call.query.get("domain")))

    def partner_view(self, call: Call) -> Body:
        """Everything about one domain."""
        domain = call.path["domain"]
        found = self._asked(call, domain)
        decided = sum(body.get("domain") == domain for _, body, _ in self._store.requests())
        quality = _quality(found)
        counts = Counter(str(each["status"]) for each in found)
        return {
            "domain": domain,
            "overview": {"decisions": decided, "outcomes": len(found), **counts},
            "recommendation_quality": quality,
            "trend": quality["trend"],
            "by_action": [{"action": name, "outcomes": len(group)} for name, group in _groups(found, _was("action"))],
            "sparse_evidence": len(found) < _EXAMPLES,
            "examples": quality["examples"],
        }

    def _asked(self, call: Call, domain: str | None) -> list[Body]:
        """Outcomes of a domain, reported in the time that the query asks for."""
        since, until = (
            seconds_of(name, call.query[name]) if name in call.query else None for name in ("since", "until")
        )
        found = []
        for each in self._store.outcomes():
            at = seconds_of("reported_at", str(each["reported_at"]))
            inside = (since is None or at >= since) and (until is None or at <= until)
            if inside and (domain is None or _was("domain")(each) == domain):
                found.append(each)
        return found


def _quality(outcomes: Iterable[Body]) -> Body:
    found = [each for each in outcomes if isinstance(each.get("recommendation_followed"), bool)]
    sums = _sums(found)
    helped = [each for each in found if each["recommendation_followed"] and each["status"] in POSITIVE]
    missed = [each for each in found if not each["recommendation_followed"] and each["status"] not in POSITIVE]
    return {
        "total_with_outcome": len(found),
        "follow_rate": sums["follow_rate"] if found else None,
        "positive_after_following": sums["positive_after_following"],
        "quadrants": sums["quadrants"],
        "by_domain": [_row("domain", name, group) for name, group in _groups(found, _was("domain"))],
        "by_actor": [_row("actor_type", name, group) for name, group in _groups(found, _was("actor_type"))],
        "trend": [{"week": name, **_sums(group)} for name, group in _groups(found, _week)],
        "examples": {
            "helped": [_example(each) for each in helped[-_EXAMPLES:]],
            "missed": [_example(each) for each in missed[-_EXAMPLES:]],
        },
    }


def _sums(found: list[Body]) -> Body:
    cells = Counter((each["recommendation_followed"], each["status"] in POSITIVE) for each in found)
    yes = cells[True, True] + cells[True, False]
    return {
        "total": len(found),
        "followed": yes,
        "ignored": len(found) - yes,
        "follow_rate": share(yes, len(found)),
        "positive_after_following": share(cells[True, True], yes) if yes else None,
        "quadrants": {
            "followed_positive": cells[True, True],
            "followed_negative": cells[True, False],
            "ignored_positive": cells[False, True],
            "ignored_negative": cells[False, False],
        },
    }


def _row(field: str, name: str, group: list[Body]) -> Body:
    sums = _sums(group)
    quadrants = sums["quadrants"]
    assert isinstance(quadrants, dict)
    row = {key: sums[key] for key in ("total", "followed", "ignored", "follow_rate")}
    return {field: name, **row, **{key: quadrants[key] for key in ("followed_positive", "ignored_negative")}}


def _groups(found: Iterable[Body], key: Callable[[Body], str]) -> list[tuple[str, list[Body]]]:
    groups: dict[str, list[Body]] = {}
    for each in found:
        groups.setdefault(key(each), []).append(each)
    return sorted(groups.items())


def _was(field: str) -> Callable[[Body], str]:
    """What the decision was about; empty for an outcome of a case, which no decision is known of."""

    def read(outcome: Body) -> str:
        context = outcome.get("decision_context")
        return str(context.get(field) or "") if isinstance(context, dict) else ""

    return read


def _week(outcome: Body) -> str:
    """The Monday of the week in which it was reported."""
    at = datetime.fromtimestamp(seconds_of("reported_at", str(outcome["reported_at"])), UTC)
    return (at - timedelta(days=at.weekday())).date().isoformat()


def _example(outcome: Body) -> Body:
    context = outcome.get("decision_context")
    were = {name: context.get(name) for name in _WERE} if isinstance(context, dict) else {}
    return {name: outcome.get(name) for name in _SHOWN} | were
