"""Answering from a terminal: what is shown is what is voted on, and what can't be answered any more says so."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.approval_values import APPROVAL, DIGEST, cast, proposed, question, review, vote
from tests.support.command import Ran, callgate
from tests.support.planted import plant, put, records

from callgate.approvals.ballots import Ballot, Tally
from callgate.events import ids, topics
from callgate.events.actions import ActionFinished
from callgate.events.approvals import ApprovalResolved
from callgate.events.codec import decode
from callgate.events.event import Event

SHORT = APPROVAL.rsplit("_", 1)[-1][:8]


def asked(path: Path, *more: Event, left: float = 600.0, **changes: Any) -> None:
    """A log on which the question is asked, with `left` seconds to answer."""
    now = time.time()
    plant(path, proposed(), question(requested_at=now - 5, deadline=now + left, **changes), *more, at=now - 5)


def answer(path: Path, *arguments: str, **settings: str) -> Ran:
    """An approval that nobody counts, since no service runs."""
    return callgate(
        "approvals", "approve", SHORT, "--wait", "0", *arguments, CALLGATE_LOG=f"sqlite:///{path}", **settings
    )


def votes(path: Path) -> list[Event]:
    """The votes that were cast."""
    return [decode(record.value, record.headers).event for record in records(path, topics.VOTES.name)]


def resolved(resolution: str) -> ApprovalResolved:
    """The end of the question."""
    return msgspec.convert(
        {
            "approval_id": APPROVAL,
            "action": msgspec.to_builtins(proposed().ref),
            "resolution": resolution,
            "approvers": ["lee"],
            "requested_at": 0.0,
            "resolved_at": 1.0,
        },
        ApprovalResolved,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is."""
    return tmp_path / "log.db"


def test_a_question_is_shown_masked_with_all_that_decides(path: Path) -> None:
    """The list shows who, tool, arguments, risk and reason, with what is secret masked."""
    asked(path, decision=review(risk_score=0.7))
    (shown,) = callgate("approvals", "list", "--json", CALLGATE_LOG=f"sqlite:///{path}").json()
    assert shown["id"] == SHORT
    assert shown["arguments"] == {"amount": 5, "pin": "***"}
    assert (shown["tool"], shown["requester"], shown["reason"]) == ("pay", "kim", "rule 7")
    assert (shown["risk_score"], shown["digest"]) == (0.7, DIGEST)
    assert 590 < shown["seconds_left"] <= 600
    out = callgate("approvals", "list", CALLGATE_LOG=f"sqlite:///{path}").out
    assert "kim" in out
    assert "1234" not in out


def test_questions_come_by_the_time_that_is_left(path: Path) -> None:
    """What expires first stands first; what is resolved is left out unless asked for."""
    asked(path, resolved("approved"))
    now = time.time()
    for number, left in enumerate((300.0, 100.0, 200.0)):
        other = question(approval_id=f"apr_000_{'abc'[number] * 24}", deadline=now + left)
        plant(path, other)
    log = f"sqlite:///{path}"
    open_ = callgate("approvals", "list", "--json", CALLGATE_LOG=log).json()
    assert [each["id"][0] for each in open_] == ["b", "c", "a"]
    assert len(callgate("approvals", "list", "--all", "--json", CALLGATE_LOG=log).json()) == 4


def test_a_vote_carries_the_digest_that_was_shown(path: Path) -> None:
    """The vote names approval, digest, answer and voter; where nobody counts it in time, that is said with exit 3."""
    asked(path)
    ran = answer(path, "--as", "mia", "--comment", "fine")
    assert ran.code == 3
    assert DIGEST in ran.out
    (cast_,) = votes(path)
    wanted = {"approval_id": APPROVAL, "digest": DIGEST, "answer": "approve", "approver": "mia", "comment": "fine"}
    assert {name: getattr(cast_, name) for name in wanted} == wanted


def test_the_voter_is_the_one_who_is_named(path: Path) -> None:
    """--as wins over CALLGATE_APPROVER, and two answers are two votes."""
    asked(path)
    answer(path, CALLGATE_APPROVER="lee")
    answer(path, "--as", "mia", CALLGATE_APPROVER="lee")
    assert sorted(each.approver for each in votes(path)) == ["lee", "mia"]  # type: ignore[attr-defined]
    assert len({each.vote_id for each in votes(path)}) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("resolution", ["approved", "rejected", "expired"])
def test_what_is_answered_is_not_answered_again(path: Path, resolution: str) -> None:
    """Answering what has been resolved says how it ended, exits 1 and casts nothing."""
    asked(path, resolved(resolution))
    ran = answer(path)
    assert (ran.code, resolution in ran.err) == (1, True)
    assert votes(path) == []


def test_what_has_expired_is_not_answered(path: Path) -> None:
    """Answering after the deadline says so, exits 1 and casts nothing, though nobody has counted yet."""
    asked(path, left=-30)
    ran = answer(path)
    assert (ran.code, "expired" in ran.err) == (1, True)
    assert votes(path) == []
    listed = callgate("approvals", "list", "--json", CALLGATE_LOG=f"sqlite:///{path}").json()
    assert listed[0]["standing"] == "overdue"


@pytest.mark.parametrize("change", [{"revision": 2}, {"attempt": 1}])
def test_what_has_changed_is_not_answered(path: Path, change: dict[str, int]) -> None:
    """Answering an action that was proposed anew since says that it has changed, exits 1 and casts nothing."""
    later = proposed(ref=msgspec.structs.replace(proposed().ref, **change))
    asked(path, later)
    ran = answer(path)
    assert (ran.code, "changed" in ran.err) == (1, True)
    assert votes(path) == []


def test_what_has_ended_is_not_answered(path: Path) -> None:
    """Answering an action that has ended otherwise says how, exits 1 and casts nothing."""
    asked(path, ActionFinished(action=proposed(), decision=review(), status="killed", via="gate", finished_at=1.0))
    ran = answer(path)
    assert (ran.code, "killed" in ran.err) == (1, True)
    assert votes(path) == []


def test_a_digest_that_was_given_must_hold(path: Path) -> None:
    """With --digest a vote is cast only if the arguments have it; a beginning is enough, but no mere letter."""
    asked(path)
    assert answer(path, "--digest", "b" * 64).code == 1
    assert answer(path, "--digest", "a").code == 2
    assert votes(path) == []
    assert answer(path, "--digest", DIGEST[:12]).code == 3
    assert len(votes(path)) == 1


def test_a_refused_vote_is_shown_with_its_reason(path: Path) -> None:
    """A vote that the intake did not believe stands in the view of its question, with the reason."""
    asked(path)
    plant(path, cast(vote(approver="eve"), verification="refused", refusal="unsigned"))
    shown = callgate("approvals", "show", SHORT, "--json", CALLGATE_LOG=f"sqlite:///{path}").json()
    assert [(each["approver"], each["refusal"]) for each in shown["votes"]] == [("eve", "unsigned")]
    out = callgate("approvals", "show", SHORT, CALLGATE_LOG=f"sqlite:///{path}").out
    assert "unsigned" in out


@pytest.mark.parametrize(("number", "code"), [(0, 1), (9, 3)], ids=["its own", "another's"])
def test_only_the_refusal_of_this_very_vote_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    """Junk at another place of the entrance, under the vote's own name, is not taken for the vote."""
    monkeypatch.setattr("callgate.events.ids.fingerprint", lambda *_: "x" * 24)
    junk = vote(vote_id=f"cli-{'x' * 24}")
    asked(path, cast(junk, origin=f"approvals.votes/0/{number}", verification="refused", refusal="junk"))
    assert answer(path).code == code


def test_the_tallys_refusal_is_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ballot that was taken in and not counted is told with the tally's reason, read from the service's table."""
    asked(path)
    monkeypatch.setattr("callgate.events.ids.fingerprint", lambda *_: "x" * 24)
    refused = Ballot(
        vote_id=f"cli-{'x' * 24}", approver="kim", answer="approve", appended_at=1.0, origin="o",
        refusal="nobody answers their own request",
    )  # fmt: skip
    put(path, "approvals", ("approvals.votes", "approvals.ballots"), {
        f"tally/{APPROVAL}": msgspec.json.encode(Tally(ballots=(refused,)))
    })  # fmt: skip
    ran = answer(path, "--as", "kim")
    assert (ran.code, "own request" in ran.err) == (1, True)


def test_an_unknown_question_is_bad_input(path: Path) -> None:
    """An id that is the beginning of no question is bad input, and names the list."""
    asked(path)
    ran = callgate("approvals", "approve", "nope", CALLGATE_LOG=f"sqlite:///{path}")
    assert (ran.code, "approvals list" in ran.err) == (2, True)


@pytest.mark.parametrize("said", ["a", "apr", "apr_", APPROVAL[:11], SHORT[:3]])
def test_a_slip_of_the_hand_answers_nothing(path: Path, said: str) -> None:
    """With one question open every beginning of its id is unique; what is no more than the kind's name is no answer."""
    asked(path)
    ran = callgate("approvals", "approve", said, "--wait", "0", CALLGATE_LOG=f"sqlite:///{path}")
    assert (ran.code, "at least 4 characters" in ran.err, votes(path)) == (2, True, [])
    assert callgate("approvals", "show", said, CALLGATE_LOG=f"sqlite:///{path}").code == 0


@pytest.mark.parametrize("command", ["show", "approve"])
def test_the_id_of_the_action_is_told_from_that_of_the_question(path: Path, command: str) -> None:
    """Who gives what `actions list` shows is told the question's id, and nothing is cast."""
    asked(path)
    ran = callgate("approvals", command, ids.short(proposed().ref.id), CALLGATE_LOG=f"sqlite:///{path}")
    assert (ran.code, "is an action" in ran.err, SHORT in ran.err, votes(path)) == (2, True, True, [])


@pytest.mark.parametrize("said", ["abstain", "withdraw"])
def test_taking_back_is_cast_and_told_what_is_needed_now(
    path: Path, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Abstaining and withdrawing are votes of their own; counted, they say what is still needed, and never approve."""
    asked(path, quorum=2)
    command = ("approvals", said, SHORT, "--wait", "0", "--as", "lee")
    assert callgate(*command, CALLGATE_LOG=f"sqlite:///{path}").code == 3
    assert [getattr(event, "answer", None) for event in votes(path)] == [said]
    monkeypatch.setattr("callgate.events.ids.fingerprint", lambda *_: "x" * 24)
    counted = Ballot(vote_id=f"cli-{'x' * 24}", approver="lee", answer=said, appended_at=1.0, origin="o")
    put(path, "approvals", ("approvals.votes", "approvals.ballots"), {
        f"tally/{APPROVAL}": msgspec.json.encode(Tally(ballots=(counted,)))
    })  # fmt: skip
    ran = callgate(*command, CALLGATE_LOG=f"sqlite:///{path}")
    assert (ran.code, "2 approvals are needed in all" in ran.out) == (0, True)


@pytest.mark.parametrize("said", ["abstain", "withdraw"])
def test_taking_back_after_the_end_is_too_late(path: Path, said: str) -> None:
    """What is approved stays approved: nothing is cast, and the exit code says so."""
    asked(path, resolved("approved"))
    ran = callgate("approvals", said, SHORT, "--wait", "0", CALLGATE_LOG=f"sqlite:///{path}")
    assert (ran.code, "already approved" in ran.err) == (1, True)
    assert votes(path) == []
