"""BIGHUB's answer is one voice among several, and none of the others makes a yes of a no."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.evaluation_values import BLOCK, PROCEED, REVIEW, answer, proposed

from callgate.bighub.resolve import Resolution, Severity
from callgate.evaluator import deciding
from callgate.events.actions import ActionProposed, Decision, Fault

_RANK = {"allow": 0, "review": 1, "needs_context": 2, "block": 3}


def decide(action: ActionProposed, given: Resolution, siblings: str = "review") -> Decision:
    """The decision at 1000 s, good for 300 s."""
    return deciding.decision(action, given, siblings=siblings, now=1000.0, valid_seconds=300.0, took_seconds=0.25)


def test_an_allow_says_all_that_later_steps_need() -> None:
    """Verdict, request id, validity and BIGHUB's time travel with the decision."""
    made = decide(proposed(), answer(PROCEED, risk_score=0.2, enforcement_mode="advisory"))
    assert (made.verdict, made.by, made.request_id) == ("allow", "bighub", "req_1")
    assert (made.decided_at, made.valid_until, made.bighub_seconds) == (1000.0, 1300.0, 0.25)
    assert (made.risk_score, made.recommendation, made.enforcement_mode) == (0.2, "proceed", "advisory")


@pytest.mark.parametrize(("words", "verdict"), [(REVIEW, "review"), (BLOCK, "block")])
def test_bighubs_no_is_taken_over(words: dict[str, Any], verdict: str) -> None:
    """What BIGHUB does not allow is not allowed."""
    assert decide(proposed(), answer(words)).verdict == verdict


def test_constraints_that_the_tool_does_not_keep_make_a_review() -> None:
    """Each demand must be one that the tool has declared to honour; they travel with the decision all the same."""
    given = answer(PROCEED, constraints={"max_amount": 10, "region": "eu"})
    half = decide(proposed(honours=("max_amount",)), given)
    assert (half.verdict, half.by) == ("review", "policy")
    assert "does not keep to: region;" in half.reason
    whole = decide(proposed(honours=("max_amount", "region")), given)
    assert whole.verdict == "allow"
    assert bytes(whole.constraints or b"") == b'{"max_amount":10,"region":"eu"}'


@pytest.mark.parametrize(("policy", "verdict"), [("review", "review"), ("block", "block")])
def test_a_suspicion_makes_an_allow_what_the_policy_says(policy: str, verdict: str) -> None:
    """Equal siblings are looked at by a person, or blocked, although BIGHUB allows the call."""
    made = decide(proposed(suspicion="2 equal calls in one response"), answer(PROCEED), policy)
    assert (made.verdict, made.by) == (verdict, "policy")


@pytest.mark.parametrize("policy", ["review", "block", "collapse"])
def test_a_suspicion_never_softens(policy: str) -> None:
    """What BIGHUB blocks stays blocked, whatever the policy on siblings."""
    assert decide(proposed(suspicion="2 equal calls"), answer(BLOCK), policy).verdict == "block"


@given(
    severity=st.sampled_from(Severity),
    request_id=st.none() | st.just("req_1"),
    demands=st.none() | st.dictionaries(st.text(max_size=5), st.none() | st.integers(0, 9), max_size=3),
    honours=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    suspicion=st.none() | st.just("odd"),
    siblings=st.sampled_from(["review", "block", "collapse", "nonsense"]),
)
def test_no_voice_of_ours_lowers_an_answer(
    severity: Severity, request_id: str | None, demands: Any, honours: Any, suspicion: Any, siblings: str
) -> None:
    """The decision is at least as strict as the answer; an allow has an id and only demands that are honoured."""
    verdicts = {Severity.ALLOW: "allow", Severity.CONSTRAINED: "allow", Severity.REVIEW: "review"}
    verdicts |= {Severity.NEEDS_CONTEXT: "needs_context", Severity.BLOCK: "block"}
    given: Any = Resolution(
        severity=severity,
        verdict=verdicts[severity],  # type: ignore[arg-type]
        reason="r",
        constraints=demands,
        request_id=request_id,
    )
    made = decide(proposed(honours=honours, suspicion=suspicion), given, siblings)
    assert _RANK[made.verdict] >= _RANK[given.verdict]
    if made.verdict == "allow":
        assert request_id is not None
        assert suspicion is None
        assert set(demands or {}) <= set(honours)


def test_the_model_is_never_told_a_rule() -> None:
    """Reasons are for operators: what the model is told does not quote them."""
    for words in (PROCEED, REVIEW, BLOCK):
        made = decide(proposed(), answer(words, reason="rule 17: transfers over 900"))
        assert "17" in made.reason
        assert "17" not in made.told
    assert "sinister" not in deciding.stopped("sinister", 0.0).told
    assert "sinister" not in deciding.unreachable("sinister", 0.0).told
    assert "sinister" not in deciding.unanswerable("sinister", 0.0).told


def test_a_fault_is_refused_in_its_own_words() -> None:
    """The model is told what was wrong with its call."""
    fault = Fault(code="invalid_arguments", message="n must be a number")
    made = deciding.refused(proposed(fault=fault), 1000.0)
    assert (made.verdict, made.by, made.told) == ("refuse", "fault", "n must be a number")
    assert "invalid_arguments" in made.reason


def test_what_is_no_yes_is_valid_no_longer_than_now() -> None:
    """Decisions of our own can't be acted on as a yes by anybody."""
    made = [deciding.stopped("x", 7.0), deciding.unreachable("x", 7.0), deciding.unanswerable("x", 7.0)]
    assert [(each.verdict, each.by, each.valid_until) for each in made] == [
        ("block", "control", 7.0),
        ("block", "outage", 7.0),
        ("block", "bighub", 7.0),
    ]
