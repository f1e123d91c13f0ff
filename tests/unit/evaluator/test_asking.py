"""BIGHUB is told what a call is about, and nothing that should not leave the process."""

from __future__ import annotations

import msgspec
import orjson
from tests.support.evaluation_values import proposed

from callgate.evaluator.asking import question
from callgate.events.ids import is_id


def test_declared_and_known_secrets_leave_masked() -> None:
    """What the tool declares as sensitive, and what is a secret nearly everywhere, is masked at any depth."""
    action = proposed(
        arguments={"iban": "DE1", "amount": 5, "deep": [{"IBAN": "DE2", "api_key": "k"}]}, sensitive=("iban",)
    )
    assert question(action).arguments == {
        "iban": "***",
        "amount": 5,
        "deep": [{"IBAN": "***", "api_key": "***"}],
    }


def test_the_tools_own_name_for_bighub_is_used() -> None:
    """The declared action name, else the tool's; the rest as the proposer computed it."""
    plain = question(proposed())
    assert (plain.action, plain.target, plain.domain, plain.value) == ("pay", "x", None, None)
    named = question(proposed(bighub_action="refund_full", domain="payments", value=12.5, target=""))
    assert (named.action, named.target, named.domain, named.value) == ("refund_full", None, "payments", 12.5)


def test_a_label_can_not_pose_as_the_gates_own_word() -> None:
    """Labels of the turn are context; those that the gate sets itself can't be overridden by an agent."""
    context = {"malicious": True, "tenant": "other", "session_id": "other", "agent": "root"}
    asked = question(proposed(context=msgspec.Raw(orjson.dumps(context)), risk="high", suspicion="2 equal calls"))
    assert asked.context == {
        "malicious": True,
        "tenant": "t",
        "session_id": "s",
        "agent": "a",
        "risk": "high",
        "suspicion": "2 equal calls",
        "digest": proposed().ref.digest,
    }


def test_labels_that_are_no_object_are_left_out() -> None:
    """Whatever stands in place of labels, the question can be asked."""
    assert "malicious" not in question(proposed(context=msgspec.Raw(b'["malicious"]'))).context


def test_a_repeat_has_the_same_key_and_an_attempt_another() -> None:
    """BIGHUB answers a repeat as before, and judges a later attempt or another call anew."""
    keys = [question(each).idempotency_key for each in (proposed(), proposed(attempt=1), proposed(1))]
    assert question(proposed()).idempotency_key == keys[0]
    assert len(set(keys)) == len(keys)
    assert all(is_id(key) for key in keys)
