"""Which rule speaks: the first that fits in all that it names, and what nobody knows is never taken for small."""

from __future__ import annotations

from typing import Any

import pytest

from callgate.policy.choosing import Facts, choose
from callgate.policy.document import Terms, parse


def _fits(match: str, **known: Any) -> bool:
    policy = parse(f'version = 1\n[[rules]]\nname = "a"\nmatch = {{{match}}}\nquorum = 2', source="p")
    choice = choose(policy, Facts(**known))
    assert choice.terms.quorum == (2 if choice.rule else 1)
    assert bool(choice.passed_over) is (choice.rule is None)
    return choice.rule == "a"


@pytest.mark.parametrize("field", ["tool", "domain", "tenant", "agent", "environment", "risk"])
def test_names_match_by_pattern_and_case(field: str) -> None:
    """A name fits one of the patterns, with its capitals; what is not said fits only "" and "*"."""
    assert _fits(f'{field} = ["x", "pay_*"]', **{field: "pay_out"})
    assert not _fits(f'{field} = ["pay_*"]', **{field: "PAY_out"})
    assert not _fits(f'{field} = ["?*"]')
    assert _fits(f'{field} = [""]')
    assert _fits(f'{field} = ["*"]')


@pytest.mark.parametrize("field", ["value", "risk_score"])
def test_numbers_match_from_on_and_below(field: str) -> None:
    """The lower bound is in the range and the upper is not."""
    both = f"{field} = {{at_least = 10, below = 20}}"
    assert [_fits(both, **{field: number}) for number in (9.9, 10.0, 19.9, 20.0)] == [False, True, True, False]


@pytest.mark.parametrize("field", ["value", "risk_score"])
def test_an_unknown_number_counts_as_larger_than_any(field: str) -> None:
    """An action that says no value gets the terms of large ones, and never those of small ones."""
    assert _fits(f"{field} = {{at_least = 1000}}")
    assert _fits(f"{field} = {{at_least = 1000}}", **{field: float("nan")})
    assert not _fits(f"{field} = {{below = 1000}}")
    assert not _fits(f"{field} = {{at_least = 1, below = 1000}}")


def test_the_effect_matches_exactly() -> None:
    """A rule for tools that can't be run again says nothing about reading."""
    assert _fits('effect = ["unsafe"]')
    assert not _fits('effect = ["unsafe", "verifiable"]', effect="read")


def test_all_that_is_named_must_fit() -> None:
    """A rule about a tool of a tenant is not about another tenant's."""
    assert _fits('tool = ["pay"], tenant = ["acme"]', tool="pay", tenant="acme")
    assert not _fits('tool = ["pay"], tenant = ["acme"]', tool="pay", tenant="other")


def test_the_first_rule_that_fits_counts_and_the_default_otherwise() -> None:
    """The order of the file decides; nothing is mixed from two rules."""
    text = """
version = 1
[[rules]]
name = "large"
match.value = {at_least = 100}
quorum = 3
[[rules]]
name = "all payments"
match.tool = ["pay"]
answers = ["approve", "reject", "abstain"]
[default]
quorum = 2
"""
    policy = parse(text, source="p")
    large = choose(policy, Facts(tool="pay", value=100.0))
    assert (large.rule, large.terms.quorum, large.terms.answers) == ("large", 3, Terms().answers)
    small = choose(policy, Facts(tool="pay", value=1.0))
    assert (small.rule, small.terms.quorum) == ("all payments", 1)
    assert small.passed_over == (("large", "value is 1, and not at least 100"),)
    assert choose(policy, Facts(tool="read", value=1.0)).terms.quorum == 2
