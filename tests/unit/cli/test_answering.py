"""Answers that carry something, from a terminal: what is cast is what was given, and what can't be cast says so."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from tests.support.approval_values import APPROVAL, proposed, question, review, vote
from tests.support.approval_values import cast as ballot
from tests.support.command import Ran, callgate
from tests.support.planted import plant, records

from callgate.cli.needing import better_arguments
from callgate.cli.watching import line_of
from callgate.events import ids, topics
from callgate.events.actions import ActionInDoubt
from callgate.events.approvals import ApprovalRequested, ApprovalResolved, ApprovalVoted
from callgate.events.codec import decode
from callgate.events.event import Event

SHORT = APPROVAL.rsplit("_", 1)[-1][:8]
ALL = ("approve", "reject", "edit", "respond", "delegate")


def doubt() -> ActionInDoubt:
    """The payment may have been made."""
    return ActionInDoubt(
        action=proposed(),
        decision=review(verdict="allow"),
        token="tok_1",
        reason="its worker went away",
        claimed_at=1.0,
        horizon=2.0,
        doubted_at=3.0,
    )


def asked(path: Path, *more: Event, **changes: object) -> None:
    """A log on which the question is asked."""
    now = time.time()
    fields = {"requested_at": now - 5, "deadline": now + 600, "answers": ALL, **changes}
    plant(path, proposed(), question(**fields), *more, at=now - 5)


def run(path: Path, *arguments: str, **settings: str) -> Ran:
    """A command of approvals; nobody counts, since no service runs."""
    return callgate("approvals", *arguments, CALLGATE_LOG=f"sqlite:///{path}", **settings)


def cast(path: Path) -> list[ApprovalVoted]:
    """The votes on the log."""
    found = [decode(record.value, record.headers).event for record in records(path, topics.VOTES.name)]
    return [event for event in found if isinstance(event, ApprovalVoted)]


def test_an_edit_carries_the_whole_arguments(tmp_path: Path) -> None:
    """What is given as JSON is what the vote holds, to the byte."""
    asked(tmp_path / "log.db")
    done = run(tmp_path / "log.db", "edit", SHORT, "--arguments", '{"amount": 1.50, "pin": "1"}', "--wait", "0")
    assert done.code == 3, done.err
    (voted,) = cast(tmp_path / "log.db")
    assert (voted.answer, bytes(voted.arguments or b"")) == ("edit", b'{"amount": 1.50, "pin": "1"}')


def test_an_edit_may_come_from_a_file_or_the_editor(tmp_path: Path) -> None:
    """Both ways give the same vote; an editor that saves nothing casts nothing."""
    asked(tmp_path / "log.db")
    (tmp_path / "edited.json").write_text('{"amount": 2, "pin": "1234"}\n')
    assert run(tmp_path / "log.db", "edit", SHORT, "--arguments", f"@{tmp_path}/edited.json", "--wait", "0").code == 3
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\ncp {tmp_path}/edited.json "$1"\n')
    editor.chmod(0o755)
    assert run(tmp_path / "log.db", "edit", SHORT, "--wait", "0", EDITOR=str(editor), VISUAL="").code == 3
    assert {bytes(voted.arguments or b"") for voted in cast(tmp_path / "log.db")} == {b'{"amount": 2, "pin": "1234"}'}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("edit", SHORT, "--arguments", "{amount"), "--arguments: is not JSON"),
        (("edit", SHORT, "--arguments", "[1]"), "is no JSON object"),
        (("edit", SHORT, "--arguments", '{"pin":"1234","amount":5}'), "changes nothing"),
        (("edit", SHORT, "--arguments", "@nowhere.json"), "can't be read"),
        (("edit", SHORT, "--arguments", "{}", "--better"), "Give one of the two"),
        (("edit", SHORT, "--better"), "better action is no set"),
        (("edit", SHORT), "no terminal for an editor"),
        (("respond", SHORT), "--text"),
        (("respond", SHORT, "--text", "a", "--result", "1"), "not both"),
        (("settle", SHORT, "happened"), "asks whether a call may run"),
        (("settle", SHORT, "did-not-happen", "--result", "1"), "Leave it out"),
    ],
)
def test_what_cannot_be_cast_names_the_way_out(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """A mistake ends with 2 and a sentence, without a traceback, and nothing is cast."""
    asked(tmp_path / "log.db")
    done = run(tmp_path / "log.db", *arguments)
    assert (done.code, said in done.err, "Traceback" in done.err) == (2, True, False), done.err
    assert cast(tmp_path / "log.db") == []


def test_a_response_and_a_delegation_are_cast_as_given(tmp_path: Path) -> None:
    """A text is JSON in the vote; a delegation names the person."""
    asked(tmp_path / "log.db")
    assert run(tmp_path / "log.db", "respond", SHORT, "--text", 'say "no"', "--wait", "0").code == 3
    assert run(tmp_path / "log.db", "delegate", SHORT, "max", "--wait", "0").code == 3
    first, second = cast(tmp_path / "log.db")
    assert (first.answer, bytes(first.response or b"")) == ("respond", b'"say \\"no\\""')
    assert (second.answer, second.delegate_to) == ("delegate", "max")


@pytest.mark.parametrize(
    ("how", "answer", "response"),
    [
        (("happened",), "approve", None),
        (("did-not-happen",), "reject", None),
        (("happened", "--result", '{"ref": 7}'), "respond", b'{"ref": 7}'),
    ],
)
def test_what_is_in_doubt_is_settled_in_plain_words(
    tmp_path: Path, how: tuple[str, ...], answer: str, response: bytes | None
) -> None:
    """The words of the command become the vote that the tally reads; a mere approve is asked to be plainer."""
    asked(tmp_path / "log.db", kind="settle", doubt=doubt())
    vague = run(tmp_path / "log.db", "approve", SHORT)
    assert (vague.code, "happened|did-not-happen" in vague.err) == (2, True)
    assert run(tmp_path / "log.db", "settle", SHORT, *how, "--wait", "0").code == 3
    (voted,) = cast(tmp_path / "log.db")
    assert (voted.answer, None if voted.response is None else bytes(voted.response)) == (answer, response)


def test_show_offers_the_command_of_every_answer_and_what_changed(tmp_path: Path) -> None:
    """Whoever looks at a question sees how to answer it, and what is other than the last time; secrets stay hidden."""
    before = ids.approval_id(0, proposed().ref.id, 1, 1, "action")
    earlier = proposed(arguments=msgspec.Raw(b'{"amount":4,"pin":"9999"}'))
    asked(tmp_path / "log.db", question(approval_id=before, action=earlier, requested_at=time.time() - 60))
    shown = run(tmp_path / "log.db", "show", APPROVAL).out
    for answer in ("approve", "reject", "edit", "respond", "delegate"):
        assert f"callgate approvals {answer} {SHORT}" in shown
    assert "amount: was 4, is 5" in shown
    assert "pin: masked, and another than before" in shown
    assert "9999" not in shown


def test_watching_tells_a_question_a_vote_and_a_result(tmp_path: Path) -> None:
    """Each is one line with the id that the commands take."""
    del tmp_path
    event = question()
    assert isinstance(event, ApprovalRequested)
    resolved = ApprovalResolved(
        approval_id=APPROVAL,
        action=event.action.ref,
        resolution="approved",
        approvers=("lee",),
        requested_at=1.0,
        resolved_at=2.0,
    )
    lines = [line_of(each, event.requested_at) for each in (event, resolved)]
    assert f"callgate approvals approve {SHORT}" in (lines[0] or "")
    assert "1234" not in (lines[0] or "")
    assert lines[1] == f"{SHORT}  is approved by lee"
    assert line_of(vote(), 0.0) is None


@pytest.mark.parametrize(
    ("better", "arguments"),
    [
        (b'{"amount":1,"pin":"***"}', {"amount": 1, "pin": "1234"}),
        (b'{"arguments":{"amount":"***"}}', {"amount": 5, "pin": "1234"}),
        (b'{"amount":{"cents":"***"}}', None),
        (b'{"amount":[{"cents":"***"}]}', None),
    ],
)
def test_a_mask_in_a_better_action_is_no_value(better: bytes, arguments: dict[str, object] | None) -> None:
    """BIGHUB was shown stars: where it gives them back the call keeps what it has, and runs with stars never."""
    assert better_arguments(question(decision=review(better_action=msgspec.Raw(better)))) == arguments


def test_a_better_action_that_fits_is_the_first_command(tmp_path: Path) -> None:
    """BIGHUB's own proposal is one command away, and changes only what it names."""
    better = review(better_action=msgspec.Raw(b'{"arguments":{"amount":1}}'))
    asked(tmp_path / "log.db", decision=better)
    assert f"answer     callgate approvals edit {SHORT} --better" in run(tmp_path / "log.db", "show", SHORT).out
    assert run(tmp_path / "log.db", "edit", SHORT, "--better", "--wait", "0").code == 3
    (voted,) = cast(tmp_path / "log.db")
    assert bytes(voted.arguments or b"") == b'{"amount":1,"pin":"1234"}'


def test_show_says_how_many_of_several_there_are(tmp_path: Path) -> None:
    """Where two are needed and one has approved, both numbers and the name are said; a refused vote does not count."""
    ballots = [
        ballot(vote(), origin="v/0/0"),
        ballot(vote(approver="eve"), origin="v/0/1", verification="refused", refusal="no signature"),
    ]
    asked(tmp_path / "log.db", *ballots, quorum=2)
    assert "so far     1 of 2: lee" in run(tmp_path / "log.db", "show", SHORT).out
