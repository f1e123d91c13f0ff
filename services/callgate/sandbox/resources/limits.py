"""What a constraint says about an action. Pure: a constraint, its use so far, the request and the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Word = Literal["allowed", "requires_approval", "blocked"]
"""What may become of the action, as BIGHUB's `result` says it."""

_HOUR, _DAY = 3600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class Use:
    """How often a constraint has let something through and stopped it, in the running hour and day (UTC)."""

    at: float = 0.0
    """When it was last looked at, in seconds; 0 for never."""
    last: float = 0.0
    """When it last let something through."""
    hour: int = 0
    today: int = 0
    total: int = 0
    blocked_today: int = 0
    blocked_total: int = 0

    def now(self, now: float) -> Use:
        """The use with those counts cleared whose hour or day is over."""
        same_day = self.at // _DAY == now // _DAY
        return Use(
            now,
            self.last,
            self.hour if self.at // _HOUR == now // _HOUR else 0,
            self.today if same_day else 0,
            self.total,
            self.blocked_today if same_day else 0,
            self.blocked_total,
        )

    def counted(self, word: Word) -> Use:
        """The use after one more action; a question to a person is neither let through nor stopped."""
        if word == "requires_approval":
            return self
        if word == "blocked":
            counts = (self.blocked_today + 1, self.blocked_total + 1)
            return Use(self.at, self.last, self.hour, self.today, self.total, *counts)
        used = (self.hour + 1, self.today + 1, self.total + 1)
        return Use(self.at, self.at, *used, self.blocked_today, self.blocked_total)


def concerns(rule: Mapping[str, object], request: Mapping[str, object]) -> bool:
    """Whether a constraint is about a request: its domain, and every condition that it has."""
    if rule.get("status") != "active" or rule.get("domain") != request.get("domain"):
        return False
    conditions = rule.get("conditions")
    return not isinstance(conditions, dict) or all(request.get(name) == value for name, value in conditions.items())


def judged(rule: Mapping[str, object], request: Mapping[str, object], use: Use) -> tuple[Word, str]:
    """What the constraint says, and why. `use` is of now; the strictest of its limits wins."""
    stopped = _matched(rule, "block") or _amount(rule, request) or _times(rule, use) or _hours(rule, use.at)
    if stopped:
        return "blocked", stopped
    above = _number(rule, "require_approval_above")
    value = _number(request, "value")
    if above is not None and value is not None and value > above:
        return "requires_approval", f"above {above:g} a person decides"
    asked = _matched(rule, "require_approval")
    return ("requires_approval", asked) if asked else ("allowed", "within the constraint")


def _matched(rule: Mapping[str, object], word: str) -> str | None:
    return "its conditions match" if rule.get("conditions") and rule.get("action_on_match") == word else None


def _amount(rule: Mapping[str, object], request: Mapping[str, object]) -> str | None:
    value = _number(request, "value")
    most, least = _number(rule, "max_value"), _number(rule, "min_value")
    if value is None:
        return None
    if most is not None and value > most:
        return f"above the maximum of {most:g}"
    return f"below the minimum of {least:g}" if least is not None and value < least else None


def _times(rule: Mapping[str, object], use: Use) -> str | None:
    for name, count in (("max_per_day", use.today), ("max_per_hour", use.hour)):
        most = _number(rule, name)
        if most is not None and count >= most:
            return f"{name} of {most:g} is reached"
    pause = _number(rule, "cooldown_seconds")
    return "its cooldown is not over" if pause and use.total and use.at - use.last < pause else None


def _hours(rule: Mapping[str, object], now: float) -> str | None:
    start, end = _number(rule, "allowed_hours_start"), _number(rule, "allowed_hours_end")
    if start is None or end is None or start == end:
        return None
    hour = datetime.fromtimestamp(now, UTC).hour
    # From 22 to 6 goes over midnight.
    inside = start <= hour < end if start < end else hour >= start or hour < end
    return None if inside else f"outside of the hours {start:g} to {end:g} (UTC)"


def _number(holder: Mapping[str, object], name: str) -> float | None:
    found = holder.get(name)
    return None if isinstance(found, bool) or not isinstance(found, int | float) else found
