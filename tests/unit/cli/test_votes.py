"""The votes on a question: each once, with the reason why it does not count, and junk does not bury the others."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.approval_values import APPROVAL, cast, proposed, question, vote
from tests.support.command import callgate
from tests.support.planted import plant

from callgate.approvals import tally as counting
from callgate.approvals.ballots import Tally
from callgate.cli.views import Question
from callgate.cli.votes import REFUSED_SHOWN, votes_of


def test_each_vote_is_listed_once_with_what_it_is_worth() -> None:
    """A repeat is one vote; the entrance's refusal and that of the counting are both said."""
    asked = question()
    ballots = [
        cast(origin="v/0/0"),
        cast(origin="v/0/0"),
        cast(vote(approver="kim"), origin="v/0/1", verification="signed", key="k1"),
        cast(origin="v/0/2", verification="refused", refusal="junk"),
    ]
    tally = counting.requested(Tally(), asked)
    for ballot in ballots[2:]:
        tally = counting.cast(tally, ballot)
    listed = votes_of(Question(asked, ballots=ballots), tally)
    assert [(each["place"], each["refusal"]) for each in listed] == [
        ("v/0/0", None),
        ("v/0/1", "nobody answers their own request"),
        ("v/0/2", "junk"),
    ]
    assert listed[1]["key"] == "k1"
    assert votes_of(Question(asked, ballots=ballots), None)[1]["refusal"] is None


def test_junk_does_not_bury_the_votes(tmp_path: Path) -> None:
    """However many votes were refused, people see those that were not, and how many more there are."""
    path, now = tmp_path / "log.db", time.time()
    junk = [
        cast(vote(vote_id=f"j{number}"), origin=f"v/1/{number}", verification="refused", refusal=f"junk {number}")
        for number in range(3 * REFUSED_SHOWN)
    ]
    asked = question(requested_at=now - 5, deadline=now + 600)
    plant(path, proposed(), asked, cast(vote(approver="mia"), origin="v/0/0"), *junk, at=now - 5)
    ran = callgate("approvals", "show", APPROVAL, CALLGATE_LOG=f"sqlite:///{path}")
    assert "mia says approve\n" in ran.out
    assert f"{2 * REFUSED_SHOWN} more were refused" in ran.out
    assert ran.out.count("refused: junk") == REFUSED_SHOWN
    shown = callgate("approvals", "show", APPROVAL, "--json", CALLGATE_LOG=f"sqlite:///{path}").json()
    assert len(shown["votes"]) == 3 * REFUSED_SHOWN + 1
