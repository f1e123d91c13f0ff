"""Reading BIGHUB's answers: total, monotone, and never a yes where the SDK or the documents say no."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from bighub.decisions.types import _derive_flags, _derive_mode
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.bighub.resolve import Severity, resolve

Answer = dict[str, Any]

ID = {"request_id": "req_1"}
ABSENT = object()

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
WORDS: Mapping[str, list[object]] = {
    "enforcement_mode": [ABSENT, None, "advisory", "review", "enforced", "ENFORCED", "block", 1],
    "enforced_verdict": [ABSENT, None, "allowed", "proceed", "requires_approval", "blocked", "ALLOWED", True],
    "recommendation": [
        ABSENT,
        None,
        "proceed",
        "proceed_with_caution",
        "review_recommended",
        "do_not_proceed",
        "DO_NOT_PROCEED",
        " proceed",
        "future",
        {"proceed": True},
    ],
    "allowed": [ABSENT, None, True, False, "true", "false", 1],
    "result": [ABSENT, "allowed", "limited", "requires_approval", "blocked", "denied", "future", ["allowed"]],
    "requires_approval": [ABSENT, False, True, "true", 1],
    "human_review": [ABSENT, False, True, "yes"],
    "needs_review": [ABSENT, False, True],
    "should_not_run": [ABSENT, False, True, "no"],
    "can_run": [ABSENT, True, False, "true"],
    "needs_more_context": [ABSENT, False, True],
    "request_type": [ABSENT, "clarification_needed", "needs_more_context", "future", 7],
    "mode": [ABSENT, "autonomous", "CONDITIONAL", "review", "blocked", "needs_context", "shadow", "dry_run", "future"],
    "execution_mode": [ABSENT, "full", "limited", "review_required", "denied", "needs_context", "shadow", 3],
    "dry_run": [ABSENT, False, True, "false"],
    "blocked_by": [ABSENT, "", "rule 1", 5],
    "catastrophic_ceiling": [ABSENT, {}, {"active": False}, {"active": True}, {"forced_mode": "blocked"}, "yes"],
    "verdict_override": [ABSENT, {}, {"verdict": "blocked"}, {"to": "proceed"}, "proceed"],
    "decision_packet": [ABSENT, {}, {"signal": {"recommendation": "do_not_proceed"}}, {"signal": "go"}, "packet"],
    "decision_brain": [ABSENT, {}, {"recommended_execution_mode": "shadow"}, []],
    "constraints": [ABSENT, {}, {"max_rows": 1}, [{"name": "a", "value": 1}], "none"],
}
ROWS = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in WORDS.items()})
BASIS = {"enforcement_mode", "enforced_verdict", "recommendation", "allowed"}


def present(row: Mapping[str, object]) -> Answer:
    """An answer of the fields of `row` that are not absent."""
    return ID | {name: value for name, value in row.items() if value is not ABSENT}


def adapter_executes(answer: Mapping[str, Any]) -> bool:
    """The published adapter's truth table, written down from its description."""
    recommendation = answer.get("recommendation")
    match answer.get("enforcement_mode"):
        case "enforced":
            return answer.get("enforced_verdict") in ("allowed", "proceed")
        case "review":
            return bool(recommendation == "proceed")
    if recommendation == "review_recommended":
        return not (answer.get("requires_approval") or answer.get("human_review"))
    if recommendation:
        return bool(recommendation != "do_not_proceed")
    return bool(answer.get("allowed"))


def sdk_executes(answer: Answer) -> bool:
    """Whether the SDK itself says `can_run`."""
    try:
        return bool(_derive_flags(answer, _derive_mode(answer))[0])
    except TypeError:
        return False


@given(JSON)
def test_any_json_resolves_and_junk_never_runs(answer: object) -> None:
    """Every decoded JSON value resolves without an exception, and none that carries no decision executes."""
    assert not resolve(answer).executes


@given(JSON, st.sampled_from(sorted(WORDS)))
def test_any_json_in_any_field_resolves(value: object, field: str) -> None:
    """Every JSON value in every field that is read resolves; one of a wrong type makes no execution."""
    allow = ID | {"recommendation": "proceed", "allowed": True}
    resolution = resolve(allow | {field: value})
    wrong = field not in ("decision_packet", "decision_brain", "constraints") and not isinstance(
        value, bool | str | dict
    )
    assert not (resolution.executes and wrong and value is not None)


@given(ROWS)
@settings(max_examples=600)
def test_executes_only_where_sdk_and_adapter_both_would(row: Mapping[str, object]) -> None:
    """An answer executes only if the SDK says it can run and the adapter would have run it too."""
    answer = present(row)
    if resolve(answer).executes:
        assert adapter_executes(answer)
        assert sdk_executes(answer)


def test_every_combination_of_the_deciding_fields_is_safe() -> None:
    """Over the whole product of the fields of the adapter's and the SDK's tables, no execution exceeds either."""
    tables = {
        "enforcement_mode": [ABSENT, "advisory", "review", "enforced", "ENFORCED"],
        "enforced_verdict": [ABSENT, "allowed", "requires_approval", "blocked", "ALLOWED"],
        "recommendation": WORDS["recommendation"],
        "allowed": [ABSENT, True, False, "false"],
        "result": [ABSENT, "allowed", "requires_approval", "blocked", "future"],
        "human_review": [ABSENT, True, "yes"],
        "mode": [ABSENT, "autonomous", "needs_context", "shadow"],
    }
    executed = 0
    for values in itertools.product(*tables.values()):
        answer = present(dict(zip(tables, values, strict=True)))
        if resolve(answer).executes:
            executed += 1
            assert adapter_executes(answer), answer
            assert sdk_executes(answer), answer
    assert executed > 50


@given(ROWS, st.sampled_from(sorted(WORDS)), st.data())
@settings(max_examples=1000)
def test_no_added_signal_makes_an_execution(row: Mapping[str, object], field: str, data: st.DataObject) -> None:
    """Adding any field to an answer that does not run makes it run only where it is a ground that was lacking."""
    without = present({name: value for name, value in row.items() if name != field})
    value = data.draw(st.sampled_from([value for value in WORDS[field] if value is not ABSENT]))
    if not resolve(without).executes and resolve(without | {field: value}).executes:
        assert field in BASIS
        says = (without.get("recommendation"), without.get("allowed"), without.get("enforced_verdict"))
        lacking_ground = says[0] is None and says[1] is None
        lacking_verdict = without.get("enforcement_mode") in ("enforced", "ENFORCED") and says[2] is None
        review_without_word = without.get("enforcement_mode") == "review" and says[0] is None
        assert lacking_ground or lacking_verdict or review_without_word


@given(ROWS, ROWS)
@settings(max_examples=1000)
def test_an_objection_survives_whatever_else_is_said(row: Mapping[str, object], other: Mapping[str, object]) -> None:
    """A field that alone keeps a plain allow from running keeps every other answer from running too."""
    allow = present({"recommendation": "proceed", "allowed": True})
    for name, value in row.items():
        if value is ABSENT or name in BASIS:
            continue
        if not resolve(allow | {name: value}).executes:
            assert not resolve(present(other) | {name: value}).executes


@given(ROWS, st.sampled_from([None, "", 7, "a/b", "..", "x" * 129, "req 1", {"id": "req_1"}]))
def test_nothing_runs_without_a_safe_request_id(row: Mapping[str, object], request_id: object) -> None:
    """An answer whose id is missing, mistyped or unsafe in a path neither runs nor asks a person."""
    resolution = resolve(present(row) | {"request_id": request_id})
    assert resolution.verdict in ("block", "needs_context")
    assert resolution.request_id is None


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        # The documented shapes on which every consumer agrees.
        (
            {
                "enforcement_mode": "enforced",
                "enforced_verdict": "allowed",
                "recommendation": "proceed",
                "allowed": True,
                "result": "allowed",
                "requires_approval": False,
                "human_review": False,
                "execution_mode": "autonomous",
            },
            "allow",
        ),
        (
            {
                "enforcement_mode": "enforced",
                "enforced_verdict": "allowed",
                "recommendation": "proceed_with_caution",
                "allowed": True,
                "result": "limited",
                "requires_approval": False,
                "human_review": False,
                "execution_mode": "constrained",
            },
            "allow",
        ),
        (
            {
                "enforcement_mode": "enforced",
                "enforced_verdict": "requires_approval",
                "recommendation": "review_recommended",
                "allowed": False,
                "result": "requires_approval",
                "requires_approval": True,
                "human_review": True,
                "execution_mode": "review",
            },
            "review",
        ),
        (
            {
                "enforcement_mode": "enforced",
                "enforced_verdict": "blocked",
                "recommendation": "do_not_proceed",
                "allowed": False,
                "result": "blocked",
                "requires_approval": False,
                "human_review": False,
                "execution_mode": "blocked",
            },
            "block",
        ),
        (
            {
                "enforcement_mode": "enforced",
                "enforced_verdict": "blocked",
                "recommendation": "do_not_proceed",
                "allowed": False,
                "result": "blocked",
                "requires_approval": False,
                "human_review": False,
                "execution_mode": "needs_context",
                "needs_more_context": True,
            },
            "needs_context",
        ),
        (
            {
                "enforcement_mode": "enforced",
                "enforced_verdict": "blocked",
                "recommendation": "proceed",
                "allowed": True,
                "dry_run": True,
            },
            "block",
        ),
        # The adapter's concrete rows, with the verdict that is meant.
        ({"recommendation": "proceed"}, "allow"),
        ({"recommendation": "proceed", "requires_approval": True, "allowed": False, "result": "blocked"}, "block"),
        ({"recommendation": "proceed_with_caution"}, "allow"),
        ({"recommendation": "proceed_with_caution", "requires_approval": True, "human_review": True}, "review"),
        ({"recommendation": "review_recommended"}, "review"),
        ({"recommendation": "review_recommended", "human_review": True}, "review"),
        ({"recommendation": "do_not_proceed"}, "block"),
        ({"recommendation": "do_not_proceed", "human_review": True}, "block"),
        ({"recommendation": "block"}, "review"),
        ({"recommendation": "DO_NOT_PROCEED"}, "block"),
        ({"recommendation": " do_not_proceed"}, "block"),
        ({"recommendation": "PROCEED"}, "review"),
        ({"allowed": True}, "allow"),
        ({"allowed": True, "requires_approval": True, "result": "requires_approval"}, "review"),
        ({"allowed": True, "result": "blocked"}, "block"),
        ({"result": "requires_approval"}, "review"),
        ({"requires_approval": True}, "review"),
        ({"result": "allowed"}, "block"),
        ({"result": "limited"}, "block"),
        ({"allowed": "false"}, "block"),
        ({}, "block"),
        # What the adapter ran although the fields that the documents call primary forbade it.
        ({"mode": "blocked", "can_run": False, "should_not_run": True, "recommendation": "proceed"}, "block"),
        ({"mode": "needs_context", "can_run": False, "recommendation": "review_recommended"}, "needs_context"),
        ({"recommendation": "some_future_value"}, "review"),
        ({"mode": "review", "can_run": False}, "review"),
        ({"mode": "needs_context", "can_run": False}, "needs_context"),
        # Enforcement.
        ({"enforcement_mode": "enforced", "recommendation": "proceed"}, "block"),
        ({"enforcement_mode": "ENFORCED", "enforced_verdict": "allowed", "recommendation": "proceed"}, "allow"),
        ({"enforcement_mode": "enforced", "enforced_verdict": "ALLOWED", "recommendation": "proceed"}, "block"),
        ({"enforcement_mode": "strict", "recommendation": "proceed"}, "review"),
        ({"enforcement_mode": "strict"}, "block"),
        ({"enforcement_mode": "review", "recommendation": "proceed"}, "allow"),
        ({"enforcement_mode": "review", "recommendation": "proceed_with_caution"}, "review"),
        ({"enforcement_mode": "review", "allowed": True}, "review"),
        ({"enforced_verdict": "blocked", "recommendation": "proceed"}, "block"),
        # Only generic refusals give way to a question.
        ({"needs_more_context": True, "recommendation": "do_not_proceed", "should_not_run": True}, "block"),
        ({"needs_more_context": True, "result": "denied"}, "block"),
        ({"request_type": "clarification_needed", "recommendation": "proceed", "allowed": False}, "needs_context"),
        ({"allowed": False, "recommendation": "future"}, "block"),
    ],
)
def test_each_row_comes_to_its_verdict(answer: Answer, verdict: str) -> None:
    """Every documented shape and every row named dangerous resolves to the verdict that is meant."""
    assert resolve(ID | answer).verdict == verdict


@pytest.mark.parametrize(
    ("fields", "constraints"),
    [
        ({"constraints": {"max_rows": 10}}, {"max_rows": 10}),
        ({"constraints": [{"name": "max_rows", "value": 10}, "read_only"]}, {"max_rows": 10, "read_only": True}),
        ({"decision_packet": {"constraints": [{"type": "region", "value": "eu"}]}}, {"region": "eu"}),
        ({"decision_packet": {"constraints": [{"max_rows": 10}]}, "constraints": {"max_rows": 10}}, {"max_rows": 10}),
        ({"max_percentage": 25, "duration": "1h"}, {"max_percentage": 25, "duration": "1h"}),
    ],
)
def test_constraints_are_found_wherever_they_stand(fields: Answer, constraints: Answer) -> None:
    """Constraints count from every carrier, on every answer, by name."""
    resolution = resolve(ID | {"recommendation": "proceed"} | fields)
    assert resolution.severity is Severity.CONSTRAINED
    assert resolution.constraints == constraints


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"constraints": "be careful"}, "block"),
        ({"max_percentage": "25"}, "block"),
        ({"duration": 3}, "block"),
        ({"constraints": [7]}, "review"),
        ({"constraints": [{"value": 1, "unit": "rows"}]}, "review"),
        ({"constraints": {"a": 1}, "decision_packet": {"constraints": [{"name": "a", "value": 2}]}}, "review"),
    ],
)
def test_constraints_that_cannot_be_read_do_not_run(fields: Answer, verdict: str) -> None:
    """A constraint of a wrong type blocks, and one that can't be read, or has two values, asks a person."""
    assert resolve(ID | {"recommendation": "proceed"} | fields).verdict == verdict


def test_a_resolution_explains_itself() -> None:
    """A resolution carries what operators and people need: reason, deciding field, risk, safer action, words."""
    answer = ID | {
        "recommendation": "review_recommended",
        "reason": "large refund",
        "risk_score": 0.7,
        "enforcement_mode": "advisory",
        "decision_packet": {"action_contract": {"better_action": "refund_partial"}},
    }
    resolution = resolve(answer)
    assert resolution.reason == "large refund (recommendation: review_recommended)"
    assert resolution.risk_score == pytest.approx(0.7)
    assert resolution.better_action == "refund_partial"
    assert (resolution.recommendation, resolution.enforcement_mode) == ("review_recommended", "advisory")
    assert ("recommendation", Severity.REVIEW) in resolution.signals


@pytest.mark.parametrize("risk", [float("nan"), float("inf"), -1, 2, "0.5", True, 10**400])
def test_a_risk_that_is_none_is_left_out(risk: object) -> None:
    """A risk score that is no number from 0 to 1 is left out, and changes no verdict."""
    resolution = resolve(ID | {"recommendation": "proceed", "risk_score": risk})
    assert resolution.risk_score is None
    assert resolution.executes


@pytest.mark.parametrize(
    ("fields", "request_id"),
    [({"validation_id": "VAL_1"}, "VAL_1"), ({"id": "act-1"}, "act-1"), ({"request_id": "../x", "id": "a"}, None)],
)
def test_the_id_is_the_first_that_is_present(fields: Answer, request_id: str | None) -> None:
    """The id falls back from request to validation to plain id, but never past one that is unsafe."""
    assert resolve({"recommendation": "proceed"} | fields).request_id == request_id
