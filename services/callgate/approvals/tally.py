"""The tally of one approval: a pure state machine over the ordered ballots.

Its only input is `approvals.ballots`. It uses neither keys nor a clock: what a vote is worth was checked at the intake,
and when it came is what the log says. So a recount gives the same result for every reader. Votes that don't count stay
as evidence, with the reason.
"""

from __future__ import annotations

import msgspec

from callgate.approvals import counting
from callgate.approvals.ballots import (
    EVIDENCE_MOST,
    STATE_MOST,
    STATE_SPARE,
    VOTED_AGAIN,
    Ballot,
    Result,
    Tally,
    person,
    short,
    size,
    unchecked,
)
from callgate.approvals.schedule import moments
from callgate.events.approvals import ApprovalDue, ApprovalRequested, BallotCast


def requested(tally: Tally, request: ApprovalRequested) -> Tally:
    """The question itself; what overtook it is counted now, in its own order. A repeat changes nothing."""
    if tally.request is not None:
        return tally
    opened = msgspec.structs.replace(tally, request=request, early=())
    for ballot in tally.early:
        opened = cast(opened, ballot)
    return opened


def cast(tally: Tally, ballot: BallotCast) -> Tally:
    """One vote more. Idempotent by place on the log, and by voter and vote id.

    An edit counts when it comes again, checked: until then it changes nothing.
    """
    if tally.request is None:
        return _waiting(tally, ballot)
    if unchecked(ballot) or known(tally, ballot):
        return tally
    refusal = counting.refusal(tally, tally.request, ballot)
    if refusal is not None:
        return _refused(tally, tally.request, ballot, refusal)
    voted = _counted(tally, tally.request, ballot)
    outcome = counting.outcome(voted, tally.request)
    if outcome is not None:
        return _closed(voted, outcome)
    held = size(voted)
    if ballot.vote.answer != "withdraw" and held > STATE_MOST:
        return _refused(tally, tally.request, ballot, "too much is kept of this approval already")
    return voted if held <= STATE_MOST + STATE_SPARE else tally


def due(tally: Tally, moment: ApprovalDue) -> Tally:
    """A moment has taken its place in the order: whatever was set for until then has come, and the deadline ends it.

    So each reminder and level is announced once and in the order of their times, also where their own moments come in
    another order, twice or never.
    """
    request = tally.request
    if request is None or tally.result is not None:
        return tally
    come = sum(1 for each in moments(request) if each.at <= moment.due_at)
    if come > tally.announced:
        tally = msgspec.structs.replace(tally, announced=come)
    if moment.kind != "deadline" or moment.due_at < request.deadline:
        return tally
    return _closed(tally, counting.result(request, "expired", request.deadline, ()))


def hopeless(tally: Tally, request: ApprovalRequested, ballot: BallotCast) -> str | None:
    """Why an unchecked edit will not count, whatever it says; None where that is for its tool to say."""
    found = counting.refusal(tally, request, ballot)
    return None if found == counting.NOT_CHECKED else found


def known(tally: Tally, ballot: BallotCast) -> bool:
    """Whether a vote was cast before, counted or not.

    One that the intake did not believe is known by its place only: it can't use up another's vote id.
    """
    believed = ballot.verification != "refused"
    return any(
        each.origin == ballot.origin
        or (
            believed
            and each.verified
            and each.vote_id == ballot.vote.vote_id
            and person(each.approver) == person(ballot.vote.approver)
        )
        for each in tally.ballots
    )


def crowded(tally: Tally, ballot: BallotCast) -> bool:
    """Whether so much waits for a question that nobody has asked that this vote is not taken in."""
    if tally.request is not None or _waits(tally, ballot):
        return False
    return len(tally.early) >= EVIDENCE_MOST or size(_joined(tally, ballot)) > STATE_MOST


def _waiting(tally: Tally, ballot: BallotCast) -> Tally:
    return tally if crowded(tally, ballot) or _waits(tally, ballot) else _joined(tally, ballot)


def _waits(tally: Tally, ballot: BallotCast) -> bool:
    return any(each.origin == ballot.origin for each in tally.early)


def _joined(tally: Tally, ballot: BallotCast) -> Tally:
    vote = msgspec.structs.replace(ballot.vote, comment=short(ballot.vote.comment), signature=None)
    return msgspec.structs.replace(tally, early=(*tally.early, msgspec.structs.replace(ballot, vote=vote)))


def _counted(tally: Tally, request: ApprovalRequested, ballot: BallotCast) -> Tally:
    """With a vote that counts."""
    counted = _ballot(ballot, None, request.action.ref.digest)
    earlier = tuple(_replaced(each, counted) for each in tally.ballots)
    voted = msgspec.structs.replace(tally, ballots=(*earlier, counted))
    if ballot.revised is None or any(each.ref.digest == counted.digest for each in tally.revisions):
        return voted
    return msgspec.structs.replace(voted, revisions=(*tally.revisions, ballot.revised))


def _refused(tally: Tally, request: ApprovalRequested, ballot: BallotCast, refusal: str) -> Tally:
    """With a vote that does not count, as far as there is room for evidence."""
    kept = (*tally.ballots, _ballot(ballot, refusal, request.action.ref.digest))
    voted = msgspec.structs.replace(tally, ballots=kept)
    room = len(tally.ballots) < EVIDENCE_MOST and size(voted) <= STATE_MOST + STATE_SPARE
    return voted if room else tally


def _ballot(ballot: BallotCast, refusal: str | None, asked: str) -> Ballot:
    vote = ballot.vote
    about = ballot.revised.ref.digest if ballot.revised is not None else vote.digest
    return Ballot(
        vote_id=vote.vote_id,
        approver=vote.approver,
        answer=vote.answer,
        appended_at=ballot.appended_at,
        origin=ballot.origin,
        comment=short(vote.comment) if refusal is None else None,
        refusal=refusal,
        verified=ballot.verification != "refused",
        digest=None if about == asked or refusal is not None else about,
        delegate_to=vote.delegate_to if vote.answer == "delegate" and refusal is None else None,
        response=vote.response if vote.answer == "respond" and refusal is None else None,
    )


def _replaced(earlier: Ballot, later: Ballot) -> Ballot:
    """One current vote a person: a later one takes the earlier one's place."""
    if earlier.refusal is not None or person(earlier.approver) != person(later.approver):
        return earlier
    return msgspec.structs.replace(earlier, refusal=VOTED_AGAIN, response=None, comment=None)


def _closed(tally: Tally, result: Result) -> Tally:
    """With its result. What only an open one needs is dropped, and all evidence where it is too much: see the log."""
    ballots = tuple(msgspec.structs.replace(ballot, response=None) for ballot in tally.ballots)
    closed = msgspec.structs.replace(tally, result=result, ballots=ballots, revisions=())
    return closed if size(closed) <= STATE_MOST + STATE_SPARE else msgspec.structs.replace(closed, ballots=())
