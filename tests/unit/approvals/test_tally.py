"""The tally: which vote counts, which does not and why, and what comes of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.support.approval_values import DEADLINE, NOW, cast, deadline, proposed, question, vote

from callgate.approvals.ballots import COMMENT_MOST, EVIDENCE_MOST, VOTED_AGAIN, VOTES_MOST, Tally, size
from callgate.approvals.tally import cast as counted
from callgate.approvals.tally import crowded, due, requested
from callgate.events.approvals import Answer, ApprovalDue, BallotCast, EscalationLevel


def _open(**changes: Any) -> Tally:
    return requested(Tally(), question(**changes))


def _after(tally: Tally, *ballots: BallotCast) -> Tally:
    for place, ballot in enumerate(ballots):
        tally = counted(tally, cast(ballot.vote, at=ballot.appended_at, origin=f"{ballot.origin}/{place}"))
    return tally


def test_one_approval_is_enough_by_default() -> None:
    """One vote resolves the approval, in the voter's name and at the time that the log gave the vote."""
    result = _after(_open(), cast(vote(comment="fine"))).result
    assert result is not None
    assert (result.resolution, result.approvers, result.comment) == ("approved", ("lee",), "fine")
    assert result.resolved_at == NOW + 5


def test_one_rejection_ends_it_whatever_the_quorum() -> None:
    """A single no is a no, also after approvals that were not enough."""
    result = _after(_open(quorum=3), cast(vote()), cast(vote("reject", "sam"))).result
    assert result is not None
    assert (result.resolution, result.approvers) == ("rejected", ("sam",))


def test_a_quorum_counts_people_and_not_votes() -> None:
    """The same person twice, also in other spelling, is one approval."""
    tally = _after(_open(quorum=2), cast(vote(vote_id="1")), cast(vote(approver=" LEE", vote_id="2")))
    assert tally.result is None
    result = _after(tally, cast(vote(approver="sam"), origin="y")).result
    assert result is not None
    assert result.approvers == (" LEE", "sam")


_SPELLINGS = (
    "jose\u0301 i\u0307lk",
    "JOS\u00c9 \u0130LK",
    "jos\u00e9\u00a0\u200bi\u0307lk",
    "\uff4a\uff4f\uff53\u00e9 i\u0307lk",
)


@pytest.mark.parametrize("spelling", _SPELLINGS)
def test_another_spelling_makes_no_other_person(spelling: str) -> None:
    """A name that only looks like another, or is written by other code points, is the same requester and voter."""
    name = "jos\u00e9 i\u0307lk"
    mine = _open(action=proposed(requester=name), eligible=(spelling, "sam"))
    assert _after(mine, cast(vote(approver=spelling))).ballots[0].refusal == "nobody answers their own request"
    twice = _after(_open(quorum=2), cast(vote(approver=name)), cast(vote(approver=spelling, vote_id="2")))
    assert twice.result is None


def test_a_person_may_change_their_mind_while_it_is_open() -> None:
    """A later vote takes the earlier one's place, and a withdrawal leaves none."""
    tally = _after(_open(quorum=2), cast(vote(vote_id="1")), cast(vote("withdraw", vote_id="2")))
    assert _after(tally, cast(vote(approver="sam"), origin="y")).result is None
    assert [ballot.refusal for ballot in tally.ballots] == ["the voter voted again", None]


_REFUSED: dict[str, tuple[BallotCast, str]] = {
    "late": (cast(at=DEADLINE + 0.001), "after the deadline"),
    "other arguments": (cast(vote(digest="b" * 64)), "other arguments"),
    "not entitled": (cast(vote(approver="max")), "not entitled"),
    "the requester": (cast(vote(approver="kim")), "their own request"),
    "the requester in capitals": (cast(vote(approver="KIM ")), "their own request"),
    "the agent": (cast(vote(approver="bot")), "their own request"),
    "an edit": (cast(vote("edit"), checked=True), "not among those allowed"),
    "a response": (cast(vote("respond")), "not among those allowed"),
    "an abstention": (cast(vote("abstain")), "not among those allowed"),
    "not believed": (cast(verification="refused", refusal="no signature"), "no signature"),
    "not believed, no reason": (cast(verification="refused"), "refused at the entrance"),
}


@pytest.mark.parametrize("name", sorted(_REFUSED))
def test_what_does_not_count_stays_as_evidence(name: str) -> None:
    """A vote that must not count changes no result, and is kept with the reason."""
    ballot, reason = _REFUSED[name]
    tally = counted(_open(eligible=("lee", "kim", "KIM ", "bot")), ballot)
    assert tally.result is None
    assert len(tally.ballots) == 1
    assert reason in (tally.ballots[0].refusal or "")


def test_a_vote_at_the_deadline_is_in_time() -> None:
    """In time is decided by the append time alone, and the deadline itself still is."""
    result = counted(_open(), cast(at=DEADLINE)).result
    assert result is not None
    assert result.resolution == "approved"


def test_the_deadline_ends_what_is_open_as_expired() -> None:
    """Nobody's answer is not a no: the result says expired, at the deadline."""
    result = due(_open(), deadline()).result
    assert result is not None
    assert (result.resolution, result.approvers, result.resolved_at) == ("expired", (), DEADLINE)


def test_the_order_decides_between_vote_and_deadline() -> None:
    """What stands first among the ballots wins, and what comes after is evidence."""
    voted = due(counted(_open(), cast()), deadline())
    expired = counted(due(_open(), deadline()), cast())
    assert voted.result is not None
    assert voted.result.resolution == "approved"
    assert expired.result is not None
    assert expired.result.resolution == "expired"
    assert expired.ballots[0].refusal == "the approval was already expired"


def test_a_moment_before_the_deadline_ends_nothing() -> None:
    """A reminder, or a deadline that was set earlier than the question's, leaves it open."""
    tally = _open()
    early = ApprovalDue(approval_id=deadline().approval_id, kind="deadline", due_at=DEADLINE - 1)
    reminder = ApprovalDue(approval_id=deadline().approval_id, kind="reminder", due_at=DEADLINE)
    assert due(due(tally, early), reminder) is tally


def test_a_resolved_approval_is_not_resolved_again() -> None:
    """A later rejection is evidence: one approval has one end."""
    tally = _after(_open(), cast(vote()), cast(vote("reject", "sam")))
    assert tally.result is not None
    assert tally.result.resolution == "approved"
    assert tally.ballots[1].refusal == "the approval was already approved"


def test_a_vote_that_overtook_its_question_counts() -> None:
    """Partitions are not ordered among each other: the vote waits, and is resolved not before the question."""
    result = requested(counted(Tally(), cast(at=NOW - 3)), question()).result
    assert result is not None
    assert (result.resolution, result.resolved_at) == ("approved", NOW)


def test_what_waits_for_a_question_is_small_and_bounded() -> None:
    """Votes on ids that nobody asked about can't fill the state."""
    tally = Tally()
    big = vote(comment="x" * 10_000, signature="y" * 10_000)
    for place in range(EVIDENCE_MOST + 5):
        tally = counted(tally, cast(big, origin=f"x/0/{place}"))
    assert len(tally.early) == EVIDENCE_MOST
    assert crowded(tally, cast(big, origin="x/0/more"))
    assert tally.early[0].vote.comment == "x" * COMMENT_MOST
    assert tally.early[0].vote.signature is None


def test_evidence_is_bounded_and_leaves_room_for_votes_that_count() -> None:
    """A flood of junk neither grows the state nor keeps a real vote out."""
    tally = _open()
    for place in range(EVIDENCE_MOST + 50):
        tally = counted(tally, cast(vote(digest="b" * 64, vote_id=str(place)), origin=f"x/0/{place}"))
    assert len(tally.ballots) == EVIDENCE_MOST
    result = counted(tally, cast(vote(vote_id="real"), origin="y")).result
    assert result is not None


def test_a_vote_that_is_not_believed_uses_up_nobodys_vote_id() -> None:
    """A forger who guesses the vote id that a voter will use does not make the real vote a repeat."""
    forged = cast(verification="refused", refusal="no signature", origin="x/0/1")
    result = counted(counted(_open(), forged), cast(origin="x/0/2")).result
    assert result is not None
    assert result.resolution == "approved"


def test_the_same_vote_written_twice_counts_once() -> None:
    """A client that sends its vote again, with the same id, adds nothing."""
    tally = counted(_open(quorum=2), cast(origin="x/0/1"))
    assert counted(tally, cast(origin="x/0/2")) is tally


def test_a_comment_is_cut_to_what_is_passed_on() -> None:
    """A long comment can't make the decision too large for the log."""
    result = counted(_open(), cast(vote(comment="x" * 10_000))).result
    assert result is not None
    assert result.comment == "x" * COMMENT_MOST


def test_without_a_requester_anybody_but_the_agent_may_answer() -> None:
    """Where nobody is named as requester, no name is mistaken for theirs."""
    assert counted(_open(action=proposed(requester=None)), cast(vote(approver="None"))).result is not None


def test_a_level_entitles_from_its_moment_on() -> None:
    """A vote appended before its voter's level is refused; one from that moment on counts, read when it may be."""
    chain = (EscalationLevel(at=NOW + 10, approvers=("ann",)),)
    tally = _open(eligible=("lee",), escalation=chain)
    early = counted(tally, cast(vote(approver="ann"), at=NOW + 9))
    assert early.ballots[0].refusal == "the voter is not entitled to answer"
    result = counted(early, cast(vote(approver="ann", vote_id="2"), at=NOW + 10, origin="y")).result
    assert result is not None
    assert result.approvers == ("ann",)


def test_a_level_never_entitles_the_requester() -> None:
    """Whoever is barred stays so, whatever names them."""
    chain = (EscalationLevel(at=NOW, approvers=("kim", "bot")),)
    tally = _open(eligible=("lee",), escalation=chain)
    for who in ("kim", "bot"):
        tally = counted(tally, cast(vote(approver=who, vote_id=who), origin=who))
    assert tally.result is None
    assert {ballot.refusal for ballot in tally.ballots} == {"nobody answers their own request"}


def _undecided(tally: Tally, times: int, **changes: Any) -> Tally:
    for place in range(times):
        answer: Answer = "approve" if place % 2 else "abstain"
        tally = counted(tally, cast(vote(answer, vote_id=f"{place}", **changes), origin=f"lee/0/{place}"))
    return tally


_ANSWERS: tuple[Answer, ...] = ("approve", "reject", "abstain", "respond")


def test_who_can_not_make_up_their_mind_is_heard_so_often() -> None:
    """Beyond the bound a voter's yes counts no more, however often it comes; what was said last stands."""
    tally = _undecided(_open(quorum=2, answers=_ANSWERS), VOTES_MOST + 200)
    assert sum(each.refusal in {None, VOTED_AGAIN} for each in tally.ballots) == VOTES_MOST
    assert len(tally.ballots) == EVIDENCE_MOST
    assert counted(tally, cast(vote(approver="sam"), origin="y")).result is not None


def test_a_yes_can_always_be_taken_back() -> None:
    """After too many votes a withdrawal still counts, once; then there is nothing to take back."""
    tally = _undecided(_open(quorum=2, answers=_ANSWERS), VOTES_MOST + 200)
    for place in range(3):
        tally = counted(tally, cast(vote("withdraw", vote_id=f"w{place}"), origin=f"w/{place}"))
    assert sum(each.refusal in {None, VOTED_AGAIN} for each in tally.ballots) == VOTES_MOST + 1
    assert counted(tally, cast(vote(approver="sam"), origin="y")).result is None


def test_a_no_is_always_heard() -> None:
    """Whoever has voted too often can still keep the call from running."""
    tally = _undecided(_open(quorum=2, answers=_ANSWERS), VOTES_MOST + 200)
    result = counted(tally, cast(vote("reject", vote_id="no"), origin="no")).result
    assert result is not None
    assert result.resolution == "rejected"


def test_the_state_of_an_approval_is_bounded_whoever_says_what() -> None:
    """Large answers and long names of many people leave a state that fits into a record; a no is heard all the same."""
    large = msgspec.Raw(b'"' + b"x" * 250_000 + b'"')
    tally = _open(quorum=50, answers=_ANSWERS)
    for place in range(6):
        tally = counted(tally, cast(vote("respond", f"r{place}", response=large), origin=f"r/{place}"))
    for place in range(400):
        who = f"{place}" + "\x01" * 250
        for answer in ("approve", "withdraw"):
            said = vote(answer, who, "\x02" * 240 + answer)
            tally = counted(tally, cast(said, origin=f"{answer}/{place}"))
    assert size(tally) < 1_000_000
    assert any(each.refusal == "too much is kept of this approval already" for each in tally.ballots)
    assert counted(tally, cast(vote("reject", "sam"), origin="no")).result is not None


def test_the_end_of_a_full_approval_fits_into_a_record() -> None:
    """However much evidence there is, the vote that decides is kept with its result: evidence gives way."""
    tally = _open(answers=_ANSWERS)
    for answer in ("abstain", "withdraw"):
        for place in range(300):
            said = vote(answer, f"{place}" + "\x01" * 250, "\x02" * 240 + answer)
            tally = counted(tally, cast(said, origin=f"{answer}/{place}"))
    assert size(tally) > 750_000
    large = msgspec.Raw(b'"' + b"x" * 262_000 + b'"')
    ended = counted(tally, cast(vote("respond", response=large), origin="lee"))
    assert ended.result is not None
    assert ended.result.response == large
    assert size(ended) < 1_000_000
    assert counted(ended, cast(vote(approver="sam"), origin="late")).result == ended.result
