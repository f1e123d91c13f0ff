"""The policy file: what can be used, and what is refused with the field's name."""

from __future__ import annotations

import pytest

from callgate.failures import BadInput
from callgate.policy.document import BUILT_IN, parse

GROUPS = 'version = 1\n[groups]\nfinance = ["ann", "bob"]\nsolo = ["ann"]\n'


def test_what_is_left_out_is_the_strictest_that_works_for_one_person() -> None:
    """The smallest file asks one person who is not the requester, like no file at all."""
    policy = parse("version = 1", source="p")
    assert policy == BUILT_IN
    assert (policy.default.quorum, policy.default.requester_may_answer) == (1, False)


def test_groups_are_written_out_once() -> None:
    """People named twice, by a group and by name, are one entry, in the order of the file."""
    policy = parse(GROUPS + '[default]\napprovers = ["@finance", "max", "ann"]', source="p")
    assert policy.people(policy.default) == ("ann", "bob", "max")


def test_those_of_whom_one_must_answer_may_answer() -> None:
    """A group that must give an approval is entitled without being named again."""
    policy = parse(GROUPS + '[default]\none_from_each = ["finance"]', source="p")
    assert policy.people(policy.default) == ("ann", "bob")


def test_a_comment_makes_no_other_version_and_a_number_does() -> None:
    """The digest names what the policy says."""
    first = parse("version = 1\n[default]\nquorum = 2", source="p")
    assert first.digest() == parse("# why\nversion = 1\n\n[default]\nquorum = 2", source="q").digest()
    assert first.digest() != parse("version = 1\n[default]\nquorum = 3", source="p").digest()


_FAULTS: dict[str, tuple[str, str]] = {
    "": ("the file", "version"),
    "version = 2": ("version", "invalid enum value 2"),
    "version = 1\n[[rules": ("p", "is not TOML"),
    "version = 1\nrule = []": ("the file", "unknown field `rule`"),
    'version = 1\n[[rules]]\nname = "a"\nquorum = 0': ("rules[0].quorum", ">= 1"),
    'version = 1\n[[rules]]\nname = "a"\nreminder = [5]': ("rules[0]", "unknown field `reminder`"),
    "version = 1\n[default]\nreminders = [0]": ("default.reminders[0]", "> 0"),
    "version = 1\n[default]\ndeadline_seconds = 60\nreminders = [0.5, 60]": ("reminders[1]", "not before the deadline"),
    "version = 1\n[default]\nescalation = [{after_seconds = 5, approvers = []}]": ("approvers", "length >= 1"),
    'version = 1\n[default]\nescalation = [{after_seconds = 5, approvers = ["@no"]}]': ("escalation", "no group 'no'"),
    'version = 1\n[default]\ndeadline_seconds = 5\nescalation = [{after_seconds = 5, approvers = ["x"]}]': (
        "default.escalation[0].after_seconds",
        "not before the deadline",
    ),
    "version = 1\n[default]\nescalation = ["
    '{after_seconds = 5, approvers = ["x"]}, {after_seconds = 5, approvers = ["y"]}]': (
        "default.escalation[1].after_seconds",
        "not after the level before",
    ),
    'version = 1\n[[rules]]\nname = "a"\nmatch.tol = ["x"]': ("rules[0].match", "unknown field `tol`"),
    'version = 1\n[[rules]]\nname = "a"\nmatch.tool = "x"': ("rules[0].match.tool", "expected `array`"),
    'version = 1\n[[rules]]\nname = "a"\nmatch.tool = []': ("rules[0].match.tool", "length >= 1"),
    'version = 1\n[[rules]]\nname = "a"\nmatch.effect = ["odd"]': ("rules[0].match.effect[0]", "invalid enum value"),
    'version = 1\n[[rules]]\nname = "a"\n[[rules]]\nname = "a"': ("rules[1].name", "earlier rule"),
    'version = 1\n[[rules]]\nname = "a"\nmatch.value = {}': ("rules[0].match.value", "no bound"),
    'version = 1\n[[rules]]\nname = "a"\nmatch.value = {at_least = 5, below = 5}': ("match.value", "nothing in it"),
    'version = 1\n[[rules]]\nname = "a"\nmatch.risk_score = {at_least = nan}': ("match.risk_score", "no number"),
    "version = 1\n[default]\nquorum = true": ("default.quorum", "expected `int`"),
    "version = 1\n[default]\ndeadline_seconds = 0": ("default.deadline_seconds", "> 0"),
    "version = 1\n[default]\ndeadline_seconds = 9e9": ("default.deadline_seconds", "<="),
    "version = 1\n[default]\ndeadline_seconds = nan": ("default.deadline_seconds", "expected"),
    'version = 1\n[default]\nanswers = ["approve"]': ("default.answers", "'reject' is missing"),
    'version = 1\n[default]\nanswers = ["approve", "reject", "edit"]': ("default.answers[2]", "invalid enum value"),
    GROUPS + '[default]\napprovers = ["@sales"]': ("default.approvers", "no group 'sales'"),
    GROUPS + '[default]\none_from_each = ["sales"]': ("default.one_from_each", "no group 'sales'"),
    GROUPS + '[default]\none_from_each = ["solo", "solo"]': ("default.one_from_each", "twice"),
    GROUPS + '[default]\napprovers = ["@finance"]\nquorum = 3': ("default.quorum", "3 of 2 people"),
    'version = 1\n[groups]\na = ["x"]\nb = ["x"]\n[default]\none_from_each = ["a", "b"]': ("one_from_each", "met"),
}


@pytest.mark.parametrize("text", sorted(_FAULTS))
def test_what_cannot_be_used_names_its_field(text: str) -> None:
    """A mistake is never ignored: a rule that nobody can meet, or a field that nobody reads, is refused by name."""
    field, problem = _FAULTS[text]
    with pytest.raises(BadInput) as refused:
        parse(text, source="p")
    assert field in refused.value.field
    assert problem in refused.value.problem
    assert refused.value.way_out
