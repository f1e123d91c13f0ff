"""The question carries the policy's terms, so that the count needs no policy."""

from __future__ import annotations

import msgspec
from tests.support.approval_values import NOW, proposed, review

from callgate.events.actions import ActionInDoubt
from callgate.events.approvals import ApproverGroup, EscalationLevel
from callgate.events.codec import encode
from callgate.policy.document import BUILT_IN, parse
from callgate.policy.questioning import request, settlement

POLICY = """
version = 1
[groups]
finance = ["ann", "bob"]
oncall = ["lee"]
[[rules]]
name = "large"
match.value = {at_least = 100}
one_from_each = ["finance", "oncall"]
approvers = ["max"]
requester_may_answer = true
answers = ["approve", "reject", "abstain"]
deadline_seconds = 5
"""


def test_the_terms_of_the_rule_go_into_the_question() -> None:
    """Quorum, people, groups, answers, deadline, and which rule of which version they come from."""
    policy = parse(POLICY, source="p")
    asked = request(proposed(value=100.0), review(), policy, 4, now=NOW, deadline_seconds=60)
    assert (asked.quorum, asked.eligible) == (2, ("max", "ann", "bob", "lee"))
    assert asked.one_from_each == (
        ApproverGroup(name="finance", members=("ann", "bob")),
        ApproverGroup(name="oncall", members=("lee",)),
    )
    assert asked.requester_may_answer
    assert asked.answers == ("approve", "reject", "abstain")
    assert (asked.requested_at, asked.deadline) == (NOW, NOW + 5)
    assert (asked.policy_rule, asked.policy_digest) == ("large", policy.digest())


def test_without_a_rule_the_settings_deadline_counts() -> None:
    """The built-in policy asks one person, for as long as the settings say, and is named all the same."""
    asked = request(proposed(), review(), BUILT_IN, 4, now=NOW, deadline_seconds=60)
    assert (asked.quorum, asked.eligible, asked.deadline, asked.policy_rule) == (1, (), NOW + 60, None)
    assert asked.policy_digest == BUILT_IN.digest()


def test_reminders_and_levels_become_moments() -> None:
    """Shares are taken of the deadline that counts; what would come with it or later is left out, and twins are one."""
    text = """
version = 1
[groups]
heads = ["ann", "bob"]
[default]
reminders = [30, 0.5, 10, 90]
escalation = [
  {after_seconds = 20, approvers = ["@heads", "ann", "max"]},
  {after_seconds = 60, approvers = ["zoe"]},
]
"""
    asked = request(proposed(), review(), parse(text, source="p"), 4, now=NOW, deadline_seconds=60)
    assert asked.reminders == (NOW + 10, NOW + 30)
    assert asked.escalation == (EscalationLevel(at=NOW + 20, approvers=("ann", "bob", "max")),)


def test_the_question_about_a_doubt_always_fits_into_a_record() -> None:
    """It names the call twice: where that is too much, the doubt leaves out what the question says itself."""
    arguments = msgspec.Raw(b'{"a":"' + b"x" * 262_000 + b'"}')
    action = proposed(arguments=arguments, context=msgspec.Raw(b'{"a":"' + b"y" * 65_000 + b'"}'), target="z" * 250_000)
    for better in (b"1", b'"' + b"b" * 262_000 + b'"'):
        decision = review(verdict="allow", better_action=msgspec.Raw(better))
        doubt = ActionInDoubt(
            action=action, decision=decision, token="t", reason="gone", claimed_at=NOW, horizon=NOW, doubted_at=NOW
        )
        asked = settlement(action, decision, doubt, BUILT_IN, 4, now=NOW, deadline_seconds=60)
        encode(asked, source="test", time=0.0)
        assert bytes(asked.action.arguments) == bytes(arguments)
        assert asked.doubt is not None
        assert (asked.doubt.action.ref, asked.doubt.reason, asked.doubt.token) == (action.ref, "gone", "t")


def test_the_question_about_a_doubt_holds_the_doubt_as_it_is() -> None:
    """Where there is room nothing is left out."""
    decision = review(verdict="allow", better_action=msgspec.Raw(b"1"))
    doubt = ActionInDoubt(
        action=proposed(), decision=decision, token="t", reason="gone", claimed_at=NOW, horizon=NOW, doubted_at=NOW
    )
    asked = settlement(proposed(), decision, doubt, BUILT_IN, 4, now=NOW, deadline_seconds=60)
    assert (asked.doubt, asked.decision) == (doubt, decision)
