"""Calibration: how the risk that was predicted compares with what happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from callgate.sandbox.answers import invalid
from callgate.sandbox.outcomes import status_of
from callgate.sandbox.resources.calls import DAY, Body, Call, Route, number_in, one_of
from callgate.sandbox.resources.history import band, harm, history, mean
from callgate.sandbox.store import Store
from callgate.sandbox.times import iso

_KIND = "observations"
_BINS = 10
_BY = ("domain", "tool", "action", "actor_type", "verdict", "risk_band")
_DRIFTED = 0.1


@dataclass(frozen=True, slots=True)
class _Seen:
    """A prediction and what happened: 1 for harm, 0 for none."""

    risk: float
    bad: float
    at: float
    fields: Body


class Calibration:
    """The endpoints of calibration."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._store = store

    def routes(self) -> list[Route]:
        """The routes that they serve."""
        return [
            ("GET", "/calibration/report", self.report),
            ("GET", "/calibration/reliability", self.reliability),
            ("GET", "/calibration/drift", self.drift),
            ("GET", "/calibration/breakdown", self.breakdown),
            ("GET", "/calibration/feedback", self.feedback),
            ("GET", "/calibration/quality-history", self.quality_history),
            ("POST", "/calibration/observe", self.observe),
        ]

    def observe(self, call: Call) -> Body:
        """One prediction and its outcome."""
        risk = call.number("predicted_risk")
        if risk is None or not 0 <= risk <= 1:
            raise invalid(("predicted_risk", "must be from 0 to 1"))
        said: Body = {"case_id": call.needed("case_id"), "risk": risk, "at": call.now}
        said["outcome_status"] = status_of(call.needed("outcome_status"))
        said |= {name: call.text(name) for name in _BY[:-1]}
        for name in ("simulation_failure_rate", "simulation_fragility", "simulation_confidence"):
            said[name] = call.number(name)
        number = self._store.things.note(_KIND, said)
        return {"observed": True, "observation_id": f"obs_{number}", "total": self._store.things.count(_KIND)}

    def report(self, call: Call) -> Body:
        """All in all, and by band of risk."""
        found = self._selected(call, ("domain", "tool", "risk_band"))
        bands = {
            name: _summary([each for each in found if band(each.risk) == name]) for name in ("low", "medium", "high")
        }
        return {**_summary(found), "by_risk_band": bands}

    def reliability(self, call: Call) -> Body:
        """Ten bins of predicted risk, and how often harm followed in each."""
        found = self._selected(call, ("domain", "tool"))
        bins: list[Body] = []
        distance = 0.0
        for index in range(_BINS):
            inside = [each for each in found if min(int(each.risk * _BINS), _BINS - 1) == index]
            bins.append({"lower": index / _BINS, "upper": (index + 1) / _BINS, **_summary(inside)})
            distance += abs(sum(each.risk - each.bad for each in inside))
        return {
            "bins": bins,
            "total": len(found),
            "expected_calibration_error": round(distance / len(found), 6) if found else None,
        }

    def drift(self, call: Call) -> Body:
        """The window against the time before it."""
        days = call.asked("window_days", 30, most=3650)
        found = self._selected(call, ("domain",))
        since = call.now - days * DAY
        recent = _summary([each for each in found if each.at >= since])
        before = _summary([each for each in found if each.at < since])
        new, old = recent["calibration_error"], before["calibration_error"]
        change = new - old if isinstance(new, float) and isinstance(old, float) else None
        drifted = change is not None and abs(change) > _DRIFTED
        return {"window_days": days, "recent": recent, "before": before, "change": change, "drift_detected": drifted}

    def breakdown(self, call: Call) -> Body:
        """By one field."""
        by = one_of("by", call.query.get("by", "domain"), _BY)
        return {"by": by, "groups": [{by: name, **_summary(group)} for name, group in _groups(self._all(), by)]}

    def feedback(self, call: Call) -> Body:
        """In which domains risk is predicted too low or too high."""
        told: list[Body] = []
        for name, group in _groups(self._selected(call, ("domain",)), "domain"):
            error = mean(each.risk - each.bad for each in group)
            if error is not None and abs(error) > _DRIFTED:
                told.append({"domain": name, "bias": "too_high" if error > 0 else "too_low", "error": error})
        return {"feedback": told, "total": len(told)}

    def quality_history(self, call: Call) -> list[Body]:
        """A bare array with a point for every day, also for those on which nothing was observed."""
        found = self._selected(call, ("domain",))
        days: list[Body] = []
        for day in range(call.asked("days", 30, most=365) - 1, -1, -1):
            date = iso(call.now - day * DAY)[:10]
            inside = [each for each in found if iso(each.at)[:10] == date]
            error, bad = mean(abs(each.risk - each.bad) for each in inside), mean(each.bad for each in inside)
            score = None if error is None else round(1 - error, 6)
            rate = None if bad is None else round(1 - bad, 6)
            days.append({"date": date, "quality_score": score, "positive_rate": rate, "count": len(inside)})
        return days

    def _selected(self, call: Call, names: Iterable[str]) -> list[_Seen]:
        wanted = {name: call.query[name] for name in names if name in call.query}
        return [each for each in self._all() if all(each.fields.get(name) == value for name, value in wanted.items())]

    def _all(self) -> list[_Seen]:
        """What was observed by hand, and every decision whose outcome is known to be good or bad."""
        seen = []
        for past in history(self._store):
            bad = harm(past.status)
            if bad is not None:
                fields: Body = {"domain": past.domain, "tool": past.action, "action": past.action}
                fields |= {
                    "actor_type": past.request.get("actor"),
                    "verdict": past.verdict,
                    "risk_band": band(past.risk),
                }
                seen.append(_Seen(past.risk, bad, past.at, fields))
        for each in self._store.things.all(_KIND):
            bad, risk = harm(each["outcome_status"]), number_in(each, "risk") or 0.0
            if bad is not None:
                seen.append(_Seen(risk, bad, number_in(each, "at") or 0.0, each | {"risk_band": band(risk)}))
        return seen


def _groups(found: Iterable[_Seen], by: str) -> list[tuple[str, list[_Seen]]]:
    groups: dict[str, list[_Seen]] = {}
    for each in found:
        groups.setdefault(str(each.fields.get(by) or ""), []).append(each)
    return sorted(groups.items())


def _summary(found: Sequence[_Seen]) -> Body:
    predicted, observed = mean(each.risk for each in found), mean(each.bad for each in found)
    error = None if predicted is None or observed is None else round(abs(predicted - observed), 6)
    return {
        "count": len(found),
        "mean_predicted_risk": predicted,
        "observed_failure_rate": observed,
        "calibration_error": error,
        "brier_score": mean((each.risk - each.bad) ** 2 for each in found),
    }
