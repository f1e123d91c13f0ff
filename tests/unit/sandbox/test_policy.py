"""The sandbox's policy: which rule decides, and what is said of a file that can't be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from callgate.failures import BadInput
from callgate.sandbox.policy import load_policy, parse_policy

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "policies"


def decision(policy: str, **request: object) -> str:
    """What a policy decides about a request."""
    return parse_policy(policy).decide({"action": "refund", "context": {}, "arguments": {}} | request).decision


def test_the_first_rule_that_matches_decides() -> None:
    """Rules are tried in their order, and the default decides where none matches."""
    policy = """
    [default]
    decision = "block"
    [[rule]]
    action = "refund"
    value = { above = 100 }
    decision = "review"
    [[rule]]
    action = ["ref*", "pay"]
    decision = "allow"
    """
    assert decision(policy, value=101) == "review"
    assert decision(policy, value=100) == "allow"
    assert decision(policy) == "allow"
    assert decision(policy, action="wipe") == "block"


def test_without_a_policy_everything_is_allowed() -> None:
    """An empty file allows."""
    assert decision("") == "allow"


@pytest.mark.parametrize(
    ("condition", "request_", "holds"),
    [
        ('domain = "pay*"', {"domain": "payments"}, True),
        ('domain = "pay*"', {"domain": None}, False),
        ('domain = "PAY*"', {"domain": "payments"}, False),
        ('actor = "agent-?"', {"actor": "agent-7"}, True),
        ('target = ["a", "b"]', {"target": "b"}, True),
        ("value = { min = 1, max = 2 }", {"value": 2}, True),
        ("value = { min = 1, max = 2 }", {"value": 2.5}, False),
        ("value.below = 5", {"value": 5}, False),
        ("value.below = 5", {}, False),
        ("value.below = 5", {"value": True}, False),
        ("context.malicious = true", {"context": {"malicious": True}}, True),
        ("context.malicious = true", {"context": {"malicious": 1}}, False),
        ("context.malicious = true", {"context": {"malicious": "true"}}, False),
        ("context.malicious = true", {}, False),
        ("context.score = 1", {"context": {"score": True}}, False),
        ("context.score = 1", {"context": {"score": 1.0}}, True),
        ('context.host.region = ["eu-*", "us-1"]', {"context": {"host": {"region": "eu-2"}}}, True),
        ('context.host.region = "eu-*"', {"context": {"host": "eu-2"}}, False),
        ('arguments.table = "users"', {"arguments": {"table": "users", "limit": 1}}, True),
        ('arguments.table = "users"', {"arguments": "users"}, False),
    ],
)
def test_conditions_hold_for_what_they_say(condition: str, request_: dict[str, object], *, holds: bool) -> None:
    """Globs, ranges, nested keys and lists match what they say, and never a missing or mistyped value."""
    policy = f'[default]\ndecision = "allow"\n[[rule]]\n{condition}\ndecision = "block"'
    assert decision(policy, **request_) == ("block" if holds else "allow")


def test_a_ruling_says_all_that_the_rule_says() -> None:
    """Reason, risk, constraints, safer action and the rule's name travel with the ruling."""
    policy = parse_policy(
        """
        [approvals]
        seconds = 5
        [[rule]]
        name = "queries"
        action = "query"
        decision = "constrain"
        reason = "limited"
        risk_score = 0.25
        better_action = "count"
        constraints = { max_rows = 5 }
        """
    )
    ruling = policy.decide({"action": "query"})
    assert (ruling.rule, ruling.reason, ruling.risk_score) == ("queries", "limited", 0.25)
    assert (ruling.better_action, ruling.constraints) == ("count", {"max_rows": 5})
    assert policy.approval_seconds == 5


@pytest.mark.parametrize(
    ("text", "field", "way_out"),
    [
        ("[default", "policy", "Mend the file"),
        ("[defualt]\ndecision = 'allow'", "policy: defualt", "default"),
        ("[default]\nreason = 'x'", "policy: default: decision", "allow, constrain"),
        ("[default]\ndecision = 'permit'", "policy: default: decision", "allow, constrain"),
        ("rule = 3", "policy: rule", "[[rule]]"),
        ("[[rule]]\ndecision = 'allow'", "policy: rule 1", "[default]"),
        ("[[rule]]\naction = 'a'\ndecision = 'allow'\n[[rule]]\nactoin = 'a'", "policy: rule 2: actoin", "action"),
        ("[[rule]]\naction = 3\ndecision = 'allow'", "policy: rule 1: action", "refund_*"),
        ("[[rule]]\naction = []\ndecision = 'allow'", "policy: rule 1: action", "refund_*"),
        ("[[rule]]\nvalue = 3\ndecision = 'allow'", "policy: rule 1: value", "value = {"),
        ("[[rule]]\nvalue = {}\ndecision = 'allow'", "policy: rule 1: value", "above"),
        ("[[rule]]\nvalue.over = 3\ndecision = 'allow'", "policy: rule 1: value: over", "above"),
        ("[[rule]]\nvalue.min = 'a'\ndecision = 'allow'", "policy: rule 1: value: min", "Use"),
        ("[[rule]]\nvalue.min = nan\ndecision = 'allow'", "policy: rule 1: value: min", "Use"),
        ("[[rule]]\ncontext = 'x'\ndecision = 'allow'", "policy: rule 1: context", "context = {"),
        ("[[rule]]\ncontext = {}\ndecision = 'allow'", "policy: rule 1: context", "context.key"),
        ("[[rule]]\naction = 'a'\ndecision = 'block'\nrisk_score = 2", "policy: rule 1: risk_score", "0 to 1"),
        ("[[rule]]\naction = 'a'\ndecision = 'allow'\nconstraints.a = 1", "policy: rule 1: constraints", "constrain"),
        ("[[rule]]\naction = 'a'\ndecision = 'allow'\nreason = ''", "policy: rule 1: reason", "quotes"),
        ("[approvals]\nseconds = 0", "policy: approvals: seconds", "Use"),
    ],
)
def test_a_wrong_policy_says_where_and_what_to_do(text: str, field: str, way_out: str) -> None:
    """Every fault names the file, the rule and the field, and the way out."""
    with pytest.raises(BadInput) as caught:
        parse_policy(text)
    assert caught.value.field == field
    assert way_out in caught.value.way_out


def test_an_unreadable_file_says_so(tmp_path: Path) -> None:
    """A file that is missing, or no text, is bad input of its option."""
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for name in ("missing.toml", "binary.toml", "."):
        with pytest.raises(BadInput, match="--policy"):
            load_policy(tmp_path / name)


def test_the_examples_do_what_they_say() -> None:
    """The injections policy blocks the label and nothing else; the other allows even that."""
    labelled = {"action": "send_money", "context": {"malicious": True}}
    assert load_policy(EXAMPLES / "injections.toml").decide(labelled).decision == "block"
    assert load_policy(EXAMPLES / "injections.toml").decide({"action": "a", "context": {}}).decision == "allow"
    assert load_policy(EXAMPLES / "allow.toml").decide(labelled).decision == "allow"
