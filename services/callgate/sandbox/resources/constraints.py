"""What constraints there are, how they change, and what they say when an action is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import cast

from callgate.sandbox.answers import invalid
from callgate.sandbox.policy import Ruling
from callgate.sandbox.resources.calls import Body
from callgate.sandbox.resources.limits import Use, Word, concerns, judged
from callgate.sandbox.things import Things
from callgate.sandbox.times import iso

KIND = "rules"
"""The kind under which constraints are kept, by their ids."""

_USE = "rule_use"
_COUNTS = ("max_per_day", "max_per_hour", "cooldown_seconds", "allowed_hours_start", "allowed_hours_end")
_AMOUNTS = ("max_value", "require_approval_above", "min_value")
_SETTABLE = frozenset(
    {"name", "description", "domain", "status", "tags", "metadata", "conditions", "action_on_match"}
    | {*_COUNTS, *_AMOUNTS}
)
_LAST_HOUR = 24
_ON_MATCH = ("block", "require_approval")
_STATUSES = ("active", "paused")


def checked(body: Mapping[str, object]) -> Body:
    """A constraint as a client gives it, whole. Raises `Refused` that names the field, an unknown one too."""
    for name in body:
        if name not in _SETTABLE:
            raise invalid((name, "is no field of a constraint"))
    for name in ("name", "domain"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise invalid((name, "is required"))
    for name in (*_COUNTS, *_AMOUNTS):
        _check_number(body, name)
    _check_kinds(body)
    if body.get("conditions"):
        if body.get("action_on_match") not in _ON_MATCH:
            raise invalid(("action_on_match", f"must be one of {', '.join(_ON_MATCH)}"))
    elif not any(body.get(name) is not None for name in ("max_per_day", "max_value", "require_approval_above")):
        raise invalid(("max_per_day", "a constraint needs max_per_day and max_value, or conditions"))
    return {"description": None, "status": "active", "tags": [], "metadata": {}, **body}


def settable(rule: Mapping[str, object]) -> Body:
    """The part of a constraint that a client may set."""
    return {name: value for name, value in rule.items() if name in _SETTABLE}


def use_of(things: Things, rule_id: str, now: float) -> Use:
    """How much a constraint was used, as of now."""
    found = things.get(_USE, rule_id)
    return (Use(**cast("dict[str, int]", found)) if found else Use()).now(now)


def say(
    things: Things, rules: list[Body], request: Mapping[str, object], now: float, *, count: bool
) -> tuple[Word, str, Body | None]:
    """What the strictest of the constraints says about a request, why, and which; `count` remembers that it did."""
    words: dict[Word, tuple[str, Body]] = {}
    uses = []
    for rule in rules:
        use = use_of(things, str(rule["rule_id"]), now)
        word, reason = judged(rule, request, use)
        words.setdefault(word, (reason, rule))
        uses.append((str(rule["rule_id"]), use))
    word = next((each for each in ("blocked", "requires_approval", "allowed") if each in words), "allowed")
    reason, strictest = words.get(word, ("no constraint is about it", None))
    if count:
        for rule_id, use in uses:
            # What one constraint stops counts as stopped there only: no other has let it through.
            stopper = strictest is not None and rule_id == strictest["rule_id"]
            if word == "allowed" or stopper:
                things.put(_USE, rule_id, asdict(use.counted(word)))
    return word, reason, strictest


def constrained(things: Things, ruling: Ruling, request: Mapping[str, object], now: float, *, count: bool) -> Ruling:
    """A policy's ruling, or a constraint's where that is stricter."""
    if ruling.decision not in {"allow", "constrain", "review"}:
        return ruling
    rules = [rule for rule in things.all(KIND) if concerns(rule, request)]
    if not rules:
        return ruling
    word, reason, rule = say(things, rules, request, now, count=count and ruling.decision != "review")
    if rule is None or word == "allowed" or (word == "requires_approval" and ruling.decision == "review"):
        return ruling
    name = str(rule["rule_id"])
    said = f"constraint {rule['name']}: {reason}"
    if word == "blocked":
        return Ruling(decision="block", reason=said, risk_score=0.9, rule=name)
    return replace(ruling, decision="review", reason=said, risk_score=0.6, rule=name, constraints={})


def forget(things: Things, rule_id: str) -> None:
    """Drop the counts of a constraint that is gone."""
    things.drop(_USE, rule_id)


def view(things: Things, rule: Body, now: float) -> Body:
    """A constraint as it is sent: what was set, and how much it was used."""
    use = use_of(things, str(rule["rule_id"]), now)
    most = rule.get("max_per_day")
    return rule | {
        "usage_today": use.today,
        "usage_total": use.total,
        "blocked_today": use.blocked_today,
        "blocked_total": use.blocked_total,
        "remaining_today": max(0, most - use.today) if isinstance(most, int) else None,
        "last_used_at": iso(use.last) if use.total else None,
        "domain_label": str(rule["domain"]).replace("_", " ").capitalize(),
        "max_value_label": "Maximum value",
        "unit": "units",
    }


def _check_number(body: Mapping[str, object], name: str) -> None:
    value = body.get(name)
    if value is None:
        return
    kinds = int if name in _COUNTS else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or cast("float", value) < 0:
        raise invalid((name, f"must be a {'whole ' if name in _COUNTS else ''}number, not below 0"))
    if name.startswith("allowed_hours") and cast("int", value) > _LAST_HOUR:
        raise invalid((name, "must be an hour from 0 to 24"))


def _check_kinds(body: Mapping[str, object]) -> None:
    for name in ("metadata", "conditions"):
        if not isinstance(body.get(name, {}), dict):
            raise invalid((name, "must be an object"))
    tags = body.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise invalid(("tags", "must be an array of strings"))
    if body.get("status", "active") not in _STATUSES:
        raise invalid(("status", f"must be one of {', '.join(_STATUSES)}"))
