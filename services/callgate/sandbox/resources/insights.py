"""Insights: what stands out in the past of a tool, an action or a domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from callgate.sandbox.resources.calls import Body, Call, Route, one_of
from callgate.sandbox.resources.history import Past, band, filtered, harm, history, mean, share
from callgate.sandbox.store import Store

_SEVERITIES = ("low", "medium", "high")
_KINDS = {"often_blocked": 0.2, "often_reviewed": 0.2, "often_harmful": 0.1}
_LEAST = 3


class Insights:
    """The endpoints of insights."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._store = store

    def routes(self) -> list[Route]:
        """The routes that they serve."""
        return [
            ("POST", "/insights/advise", self.advise),
            ("GET", "/insights/patterns", self.patterns),
            ("GET", "/insights/patterns/learn", self.learn),
            ("GET", "/insights/profile", self.profile),
        ]

    def advise(self, call: Call) -> Body:
        """What to expect of an action. Advice only: it decides nothing."""
        for name in ("tool", "action", "domain"):
            call.needed(name)
        risk_band = call.text("risk_band")
        if risk_band:
            one_of("risk_band", risk_band, _SEVERITIES)
        names = {call.needed("tool"), call.needed("action")}
        past = [each for each in filtered(history(self._store), domain=call.needed("domain")) if each.action in names]
        past = [each for each in past if not risk_band or band(each.risk) == risk_band]
        profile = _profile(past)
        warned = [pattern for pattern in _patterns(past) if pattern["severity"] != "low"]
        return {
            "advice": "look_closer" if warned else "nothing_known" if not past else "nothing_stands_out",
            "patterns": warned,
            "profile": profile,
            "evidence": len(past),
        }

    def patterns(self, call: Call) -> Body:
        """What stands out, by the query's filters."""
        past = filtered(history(self._store), domain=call.query.get("domain"), tool=call.query.get("tool"))
        found = _patterns(past)
        if "pattern_type" in call.query:
            wanted = one_of("pattern_type", call.query["pattern_type"], _KINDS)
            found = [each for each in found if each["pattern_type"] == wanted]
        least = _SEVERITIES.index(one_of("min_severity", call.query.get("min_severity", "low"), _SEVERITIES))
        found = [each for each in found if _SEVERITIES.index(str(each["severity"])) >= least]
        return {"patterns": found, "total": len(found)}

    def learn(self, call: Call) -> Body:
        """Patterns are found anew at every look, so that this is only the count of them."""
        past = history(self._store)
        return {"learned": len(_patterns(past)), "decisions": len(past), "learned_at": call.at}

    def profile(self, call: Call) -> Body:
        """Counts and rates."""
        past = filtered(history(self._store), domain=call.query.get("domain"), tool=call.query.get("tool"))
        if "action" in call.query:
            past = filtered(past, tool=call.query["action"])
        asked = {name: call.query.get(name) for name in ("tool", "action", "domain")}
        return {**asked, **_profile(past)}


def _profile(past: Iterable[Past]) -> Body:
    found = list(past)
    verdicts = Counter(each.verdict for each in found)
    return {
        "decisions": len(found),
        "by_verdict": dict(verdicts),
        "block_rate": share(verdicts["BLOCKED"], len(found)),
        "review_rate": share(verdicts["APPROVAL_REQUIRED"], len(found)),
        "avg_risk_score": mean(each.risk for each in found),
        "failure_rate": mean(bad for each in found if (bad := harm(each.status)) is not None),
    }


def _patterns(past: Iterable[Past]) -> list[Body]:
    """Rates that stand out, of tools that were asked for often enough to speak of a rate."""
    groups: dict[tuple[str, str], list[Past]] = {}
    for each in past:
        groups.setdefault((each.domain, each.action), []).append(each)
    made: list[Body] = []
    for (domain, tool), group in sorted(groups.items()):
        if len(group) < _LEAST:
            continue
        profile = _profile(group)
        rates = (profile["block_rate"], profile["review_rate"], profile["failure_rate"])
        for (kind, floor), rate in zip(_KINDS.items(), rates, strict=True):
            if isinstance(rate, float) and rate > floor:
                pattern: Body = {"pattern_type": kind, "severity": band(rate), "rate": rate}
                made.append(pattern | {"domain": domain, "tool": tool, "evidence": len(group)})
    return made
