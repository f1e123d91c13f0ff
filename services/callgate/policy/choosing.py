"""Which rule speaks for an action, and why the ones before it do not. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase

from callgate.events.actions import ActionProposed, Decision, Effect
from callgate.events.matching import covers
from callgate.policy.document import Match, Policy, Range, Rule, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What rules can look at. An empty text or None is what nobody has said."""

    tool: str = ""
    domain: str = ""
    tenant: str = ""
    agent: str = ""
    environment: str = ""
    risk: str = ""
    effect: Effect = "unsafe"
    value: float | None = None
    risk_score: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The terms that count, the rule that they come from (None: the default), and why earlier rules do not fit."""

    terms: Terms
    rule: str | None
    passed_over: tuple[tuple[str, str], ...] = ()


def facts(action: ActionProposed, decision: Decision) -> Facts:
    """What there is to know of an action that people are to be asked about."""
    ref = action.ref
    return Facts(
        tool=ref.tool,
        domain=action.domain or "",
        tenant=ref.tenant,
        agent=ref.agent,
        environment=action.environment or "",
        risk=action.risk or "",
        effect=action.effect,
        value=action.value,
        risk_score=decision.risk_score,
    )


def choose(policy: Policy, known: Facts) -> Choice:
    """The first rule that matches, else the default."""
    passed: list[tuple[str, str]] = []
    for rule in policy.rules:
        problem = _mismatch(rule.match, known)
        if problem is None:
            return Choice(_terms(rule), rule.name, tuple(passed))
        passed.append((rule.name, problem))
    return Choice(policy.default, None, tuple(passed))


def answered(policy: Policy, action: ActionProposed, decision: Decision) -> bool:
    """Whether those who have made a call what it is by their edit would be enough to approve it as it is now."""
    terms = choose(policy, facts(action, decision)).terms
    if action.grant is None or terms.ask_again_after_edit:
        return False
    people = policy.people(terms)
    standing = [name for name in action.grant.approvers if not people or name in people]
    groups = [policy.groups[name] for name in terms.one_from_each]
    return len(standing) >= max(terms.quorum, len(groups)) and covers(standing, groups)


def _terms(rule: Rule) -> Terms:
    return Terms(**{name: getattr(rule, name) for name in Terms.__struct_fields__})


def _mismatch(match: Match, known: Facts) -> str | None:
    """The first thing that does not fit, in words; None where all does."""
    for name in ("tool", "domain", "tenant", "agent", "environment", "risk"):
        patterns, said = getattr(match, name), getattr(known, name)
        if patterns is not None and not any(fnmatchcase(said, pattern) for pattern in patterns):
            return f"{name} is {said!r}, and not {' or '.join(map(repr, patterns))}"
    if match.effect is not None and known.effect not in match.effect:
        return f"effect is {known.effect!r}, and not {' or '.join(map(repr, match.effect))}"
    for name in ("value", "risk_score"):
        bounds, number = getattr(match, name), getattr(known, name)
        if bounds is not None and not _within(bounds, number):
            return f"{name} is {'unknown' if number is None else f'{number:g}'}, and not {_worded(bounds)}"
    return None


def _within(bounds: Range, number: float | None) -> bool:
    """Unknown is never small: it is within a range that has no upper end, and in no other."""
    known = math.inf if number is None or math.isnan(number) else number
    if bounds.at_least is not None and known < bounds.at_least:
        return False
    return bounds.below is None or known < bounds.below


def _worded(bounds: Range) -> str:
    parts = []
    if bounds.at_least is not None:
        parts.append(f"at least {bounds.at_least:g}")
    if bounds.below is not None:
        parts.append(f"below {bounds.below:g}")
    return " and ".join(parts)
