"""The sandbox's policy: a TOML file of rules, the first that matches decides.

    [default]
    decision = "allow"

    [[rule]]
    name = "large refunds need a person"
    action = ["refund_*", "pay_out"]     # globs; also domain, actor, target
    value = { above = 100 }              # min, max (inclusive), above, below
    context.environment = "prod*"        # nested keys; texts are globs, a list means any of
    arguments.currency = "USD"
    decision = "review"                  # allow, constrain, review, block or needs_context
    reason = "refunds above 100 are looked at"
    risk_score = 0.6
    better_action = "refund_partial"
    constraints = { max_amount = 100 }   # only with constrain

A rule's keys are checked; a misspelt one would silently match everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from callgate.failures import BadInput
from callgate.sandbox.matching import Match, Range
from callgate.sandbox.reading import globs, known, number, read_text, read_toml, table, text

Choice = Literal["allow", "constrain", "review", "block", "needs_context"]
"""What a rule may decide."""

_CHOICES = get_args(Choice)
_TEXTS = ("action", "actor", "domain", "target")
_CONDITIONS = (*_TEXTS, "value", "context", "arguments")
_RULING = ("decision", "reason", "risk_score", "better_action", "constraints")
_BOUNDS = {"min": "least", "max": "most", "above": "above", "below": "below"}
_RISK = {"allow": 0.1, "constrain": 0.35, "review": 0.6, "block": 0.9, "needs_context": 0.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What is decided, and what is said about it."""

    decision: Choice
    reason: str
    risk_score: float
    better_action: str | None = None
    constraints: Mapping[str, object] = field(default_factory=dict)
    rule: str = "default"
    """The rule's name, or its number where it has none."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    match: Match
    ruling: Ruling


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All rules, in their order."""

    rules: tuple[Rule, ...] = ()
    default: Ruling = field(
        default_factory=lambda: Ruling(decision="allow", reason="no rule objects", risk_score=_RISK["allow"])
    )
    approval_seconds: float = 3600.0
    """How long an approval that a review creates can be resolved."""

    def decide(self, request: Mapping[str, object]) -> Ruling:
        """The ruling of the first rule that matches a request's body, or the default."""
        return next((rule.ruling for rule in self.rules if rule.match.holds(request)), self.default)


def load_policy(path: Path) -> Policy:
    """The policy of a file. Raises `BadInput` that names file, rule, field and the way out."""
    return parse_policy(read_text(path, "--policy"), str(path))


def parse_policy(source_text: str, source: str = "policy") -> Policy:
    """See `load_policy`; `source` is what errors call the file."""
    document = read_toml(source_text, source)
    known(document, ("default", "rule", "approvals"), source)
    rules = document.get("rule", [])
    if not isinstance(rules, list) or not all(isinstance(each, dict) for each in rules):
        raise BadInput(f"{source}: rule", "is not a list of tables", "Begin every rule with [[rule]]")
    default = table(document, "default", source)
    known(default, _RULING, f"{source}: default")
    approvals = table(document, "approvals", source)
    known(approvals, ("seconds",), f"{source}: approvals")
    seconds = number(approvals, "seconds", f"{source}: approvals", least=0.001, most=10_000_000)
    built = Policy(rules=tuple(_rule(each, index, source) for index, each in enumerate(rules, 1)))
    return Policy(
        rules=built.rules,
        default=_ruling(default, f"{source}: default", "default") if default else built.default,
        approval_seconds=built.approval_seconds if seconds is None else seconds,
    )


def _rule(found: dict[str, object], index: int, source: str) -> Rule:
    where = f"{source}: rule {index}"
    known(found, ("name", *_CONDITIONS, *_RULING), where)
    if not any(name in found for name in _CONDITIONS):
        way_out = f"Give it one of {', '.join(_CONDITIONS)}; what holds for all belongs into [default]"
        raise BadInput(where, "has no condition and would match everything", way_out)
    match = Match(
        texts={name: globs(found, name, where) for name in _TEXTS if name in found},
        value=_range(found, where) if "value" in found else None,
        context=table(found, "context", where),
        arguments=table(found, "arguments", where),
    )
    for name in ("context", "arguments"):
        if name in found and not found[name]:
            raise BadInput(f"{where}: {name}", "is empty and would match everything", f"Name a key: {name}.key = value")
    return Rule(match, _ruling(found, where, text(found, "name", where) or f"rule {index}"))


def _range(found: dict[str, object], where: str) -> Range:
    bounds = table(found, "value", where)
    known(bounds, tuple(_BOUNDS), f"{where}: value")
    if not bounds:
        raise BadInput(f"{where}: value", "has no bound", "Write value = { above = 100 }, or min, max, below")
    limit = 1e18
    return Range(
        **{_BOUNDS[name]: number(bounds, name, f"{where}: value", least=-limit, most=limit) for name in bounds}
    )


def _ruling(found: dict[str, object], where: str, name: str) -> Ruling:
    decision = found.get("decision")
    if decision not in _CHOICES:
        problem = "is missing" if decision is None else f"{decision!r} is unknown"
        raise BadInput(f"{where}: decision", problem, f"Use one of {', '.join(_CHOICES)}")
    constraints = table(found, "constraints", where)
    if constraints and decision != "constrain":
        raise BadInput(f"{where}: constraints", f"have no meaning with {decision}", 'Use decision = "constrain"')
    risk = number(found, "risk_score", where, least=0, most=1)
    return Ruling(
        decision=cast("Choice", decision),
        reason=text(found, "reason", where) or f"{decision} by {name}",
        risk_score=_RISK[cast("str", decision)] if risk is None else risk,
        better_action=text(found, "better_action", where),
        constraints=constraints,
        rule=name,
    )
