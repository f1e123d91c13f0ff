"""`callgate approvals policy`: a mistake is found before it counts, and what counts can be asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.command import callgate

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "approval-policy.md"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The example of the document, which must work as it stands."""
    file = tmp_path / "approvals.toml"
    file.write_text(DOCUMENT.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0], encoding="utf-8")
    return file


def test_the_documents_example_can_be_used(path: Path) -> None:
    """What the document shows passes the check, named by argument or by the environment, with the same digest."""
    given = callgate("approvals", "policy", "check", str(path))
    set_ = callgate("approvals", "policy", "check", CALLGATE_APPROVAL_POLICY=str(path))
    assert (given.code, set_.code) == (0, 0)
    assert given.out == set_.out
    shown = json.loads(callgate("approvals", "policy", "check", str(path), "--json").out)
    assert f"digest {shown['digest']}" in given.out
    assert shown["rules"] == ["large refunds", "small refunds"]


def test_a_mistake_is_named_without_a_traceback(path: Path) -> None:
    """Exit 2, the file, the field and the way out."""
    path.write_text(path.read_text() + '\n[[rules]]\nname = "x"\nquorum = "two"\n')
    ran = callgate("approvals", "policy", "check", str(path))
    assert ran.code == 2
    assert "rules[2].quorum" in ran.err
    assert "Traceback" not in ran.err


def test_no_file_at_all_is_said() -> None:
    """Without a name there is nothing to check, and the way to name one is said."""
    ran = callgate("approvals", "policy", "check")
    assert ran.code == 2
    assert "CALLGATE_APPROVAL_POLICY" in ran.err


def test_explain_says_which_rule_and_why_not_the_others(path: Path) -> None:
    """A small refund passes over the rule for large ones, for a reason, and shows what it takes."""
    ran = callgate("approvals", "policy", "explain", str(path), "--tool", "refund", "--value", "20")
    assert ran.code == 0
    assert "large refunds: value is 20, and not at least 1000" in ran.out
    assert "small refunds" in ran.out
    large = callgate("approvals", "policy", "explain", str(path), "--tool", "refund", "--json")
    shown = json.loads(large.out)
    assert (shown["rule"], shown["one_from_each"]) == ("large refunds", ["finance", "oncall"])
