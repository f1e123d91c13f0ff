"""The approval policy as a document: TOML, held to its form, with every name in it resolved. Pure.

Its digest is taken over what it says, not over how it is written: a comment makes no other version.
"""

from __future__ import annotations

import hashlib
import tomllib
from typing import Annotated, Any, Literal

import msgspec
import orjson

from callgate.events.actions import Effect
from callgate.events.matching import covers
from callgate.failures import BadInput

PEOPLE_MOST = 200
"""Names in one list: every request carries the people that may answer it."""

DEADLINE_MOST = 30 * 86_400.0
"""Seconds. Approvals must end well within the identity window of 45 days."""

REMINDERS_MOST = 20
"""For one question: each is a message to every one of its people."""

LEVELS_MOST = 5
"""Of an escalation chain."""

Answerable = Literal["approve", "reject", "abstain"]
"""What a policy may allow. Withdrawing one's own vote is always allowed."""

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
People = Annotated[tuple[Text, ...], msgspec.Meta(max_length=PEOPLE_MOST)]
Patterns = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=256)], ...], msgspec.Meta(min_length=1)]


class Range(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Numbers from `at_least` on and under `below`. A number that nobody knows counts as larger than any."""

    at_least: float | None = None
    below: float | None = None


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which actions a rule is about: all that is given must fit. `*` stands for anything, "" for what is not said."""

    tool: Patterns | None = None
    domain: Patterns | None = None
    tenant: Patterns | None = None
    agent: Patterns | None = None
    environment: Patterns | None = None
    risk: Patterns | None = None
    """The tool's declared risk class."""
    effect: Annotated[tuple[Effect, ...], msgspec.Meta(min_length=1)] | None = None
    value: Range | None = None
    risk_score: Range | None = None
    """BIGHUB's score in the decision that asked for people."""


class Level(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who may answer too when the others have not for so long."""

    after_seconds: Annotated[float, msgspec.Meta(gt=0, le=DEADLINE_MOST)]
    """Counted from the question, not from the level before."""
    approvers: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=PEOPLE_MOST)]
    """Names, and groups as `@name`."""


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What it takes to answer. What a rule leaves out is as in this class, not as in another rule."""

    quorum: Annotated[int, msgspec.Meta(ge=1, le=50)] = 1
    """How many different people must approve."""
    approvers: People = ()
    """Who may answer: names, and groups as `@name`. Empty, with no `one_from_each`: whoever the entrance accepts."""
    one_from_each: Annotated[tuple[Text, ...], msgspec.Meta(max_length=20)] = ()
    """Groups of which each must give one of the approvals; nobody stands for two of them."""
    requester_may_answer: bool = False
    """Whether whoever the action is for may approve it. The agent itself never may."""
    answers: tuple[Answerable, ...] = ("approve", "reject")
    deadline_seconds: Annotated[float, msgspec.Meta(gt=0, le=DEADLINE_MOST)] | None = None
    """How long people have. None: CALLGATE_APPROVAL_DEADLINE_SECONDS."""
    reminders: Annotated[
        tuple[Annotated[float, msgspec.Meta(gt=0, le=DEADLINE_MOST)], ...], msgspec.Meta(max_length=REMINDERS_MOST)
    ] = ()
    """When people are told again: seconds after the question or, under 1, the share of the deadline that has passed."""
    escalation: Annotated[tuple[Level, ...], msgspec.Meta(max_length=LEVELS_MOST)] = ()
    """Who may answer too after a while, level by level. It adds people, removes nobody, and moves no deadline."""


class Rule(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The terms for the actions that it matches. The first rule of the file that matches is the one that counts."""

    name: Text
    match: Match = Match()


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All rules of a file. `default` is for what none of them matches."""

    version: Literal[1]
    """Must be said: an empty file, perhaps one that is just being written, is no policy."""
    groups: dict[Text, Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=PEOPLE_MOST)]] = {}
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(max_length=1000)] = ()
    default: Terms = Terms()

    def digest(self) -> str:
        """Names this version; every request that it shaped carries it."""
        return hashlib.sha256(orjson.dumps(msgspec.to_builtins(self), option=orjson.OPT_SORT_KEYS)).hexdigest()

    def people(self, terms: Terms) -> tuple[str, ...]:
        """Everybody who may answer under these terms, groups written out, each once; empty: no list is kept."""
        groups = tuple(f"@{group}" for group in terms.one_from_each)
        return self.named((*terms.approvers, *groups))

    def named(self, entries: tuple[str, ...]) -> tuple[str, ...]:
        """Names and `@groups` as names, each once."""
        found: list[str] = []
        for each in entries:
            found.extend(self.groups[each[1:]] if each.startswith("@") else (each,))
        return tuple(dict.fromkeys(found))


BUILT_IN = Policy(version=1)
"""Where there is no file: one approval, by anybody but the requester and the agent."""


def parse(text: str, *, source: str) -> Policy:
    """The policy that a text holds. Raises BadInput that names `source` and the field in it."""
    try:
        policy = msgspec.convert(tomllib.loads(text), Policy)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(source, f"is not TOML: {error}", "Mend that line") from error
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at ")
        where = path.strip("`").removeprefix("$").lstrip(".") or "the file"
        way_out = "See docs/approval-policy.md for the fields and what they take"
        problem = what[:1].lower() + what[1:].replace(" | null", "")  # TOML has no null to offer
        raise BadInput(f"{source}: {where}", problem, way_out) from error
    _hold(policy, source)
    return policy


def _hold(policy: Policy, source: str) -> None:
    """What the form alone can't say: names that exist, ranges with something in them, terms that can be met."""
    seen: set[str] = set()
    for place, rule in enumerate(policy.rules):
        where = f"{source}: rules[{place}]"
        if rule.name in seen:
            raise BadInput(f"{where}.name", f"{rule.name!r} is the name of an earlier rule too", "Give it its own")
        seen.add(rule.name)
        for name in ("value", "risk_score"):
            _hold_range(getattr(rule.match, name), f"{where}.match.{name}")
        _hold_terms(policy, rule, where)
    _hold_terms(policy, policy.default, f"{source}: default")


def _hold_range(given: Range | None, where: str) -> None:
    if given is None:
        return
    if given.at_least is None and given.below is None:
        raise BadInput(where, "has no bound", "Give at_least, below or both")
    if given.at_least is not None and given.below is not None and not given.at_least < given.below:
        raise BadInput(where, "has nothing in it", "Let at_least be less than below")
    if any(bound != bound for bound in (given.at_least, given.below)):  # noqa: PLR0124 - only NaN differs from itself
        raise BadInput(where, "has a bound that is no number", "Give a number")


def _hold_terms(policy: Policy, terms: Terms, where: str) -> None:
    known = ", ".join(sorted(policy.groups)) or "none"
    for field, groups in (
        ("approvers", [each[1:] for each in terms.approvers if each.startswith("@")]),
        ("one_from_each", list(terms.one_from_each)),
        ("escalation", [each[1:] for level in terms.escalation for each in level.approvers if each.startswith("@")]),
    ):
        for group in groups:
            if group not in policy.groups:
                raise BadInput(f"{where}.{field}", f"there is no group {group!r}", f"Known are: {known}")
    if len(set(terms.one_from_each)) < len(terms.one_from_each):
        raise BadInput(f"{where}.one_from_each", "names a group twice", "Name each group once")
    for answer in ("approve", "reject"):
        if answer not in terms.answers:
            raise BadInput(f"{where}.answers", f"{answer!r} is missing", "Allow approve and reject at the least")
    people = policy.people(terms)
    if len(people) > PEOPLE_MOST:
        raise BadInput(f"{where}.approvers", f"are {len(people)} people", f"Name {PEOPLE_MOST} at the most")
    if people and len(people) < terms.quorum:
        raise BadInput(f"{where}.quorum", f"{terms.quorum} of {len(people)} people can't be had", "Name more people")
    if not covers(people, [policy.groups[group] for group in terms.one_from_each]):
        problem = "can't be met: one person can't stand for two groups"
        raise BadInput(f"{where}.one_from_each", problem, "Put more people into the groups")
    _hold_times(policy, terms, where)


def _hold_times(policy: Policy, terms: Terms, where: str) -> None:
    """Moments that come in their order and before the deadline, where that is known."""
    deadline = DEADLINE_MOST if terms.deadline_seconds is None else terms.deadline_seconds
    for place, after in enumerate(terms.reminders):
        if after >= max(1.0, deadline):
            raise BadInput(f"{where}.reminders[{place}]", "is not before the deadline", "Remind people earlier")
    before = 0.0
    for place, level in enumerate(terms.escalation):
        field = f"{where}.escalation[{place}]"
        if level.after_seconds <= before:
            raise BadInput(f"{field}.after_seconds", "is not after the level before", "List the levels by time")
        if level.after_seconds >= deadline:
            raise BadInput(f"{field}.after_seconds", "is not before the deadline", "Escalate earlier")
        if len(policy.named(level.approvers)) > PEOPLE_MOST:
            raise BadInput(f"{field}.approvers", "are too many people", f"Name {PEOPLE_MOST} at the most")
        before = level.after_seconds


def plain(terms: Terms) -> dict[str, Any]:
    """The terms as plain values, all of them said: for showing."""
    return {name: getattr(terms, name) for name in Terms.__struct_fields__}
