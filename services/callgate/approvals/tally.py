"""The tally of one approval: a pure state machine over the ordered ballots.

Its only input is `approvals.ballots`. It uses neither keys nor a clock: what a vote is worth was checked at the intake, and
when it came is what the log says. So a recount gives the same result for every reader. Votes that don't count stay as
evidence, with the reason.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from callgate.events.approvals import ApprovalDue, ApprovalRequested, BallotCast, Resolution

EVIDENCE_MOST = 200
"""How many votes are kept per approval, counted or not; a flood of junk must not grow the state without bound."""

Answered = Literal["approve", "reject"]


class Ballot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One vote as it was counted, or why it was not."""

    vote_id: str
    approver: str
    answer: str
    appended_at: float
    comment: str | None = None
    refusal: str | None = None
    """Why it does not count; None while it is the person's current vote."""


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an approval ended."""

    resolution: Resolution
    approvers: tuple[str, ...] = ()
    """Whose votes decided it."""
    comment: str | None = None
    resolved_at: float
    """Append time of the deciding vote, or the deadline."""


class Tally(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that is known of one approval."""

    request: ApprovalRequested | None = None
    """None while only votes that overtook their request are known."""
    early: tuple[BallotCast, ...] = ()
    ballots: tuple[Ballot, ...] = ()
    result: Result | None = None


def requested(tally: Tally, request: ApprovalRequested) -> Tally:
    """The question itself; what overtook it is counted now, in its own order. A repeat changes nothing."""
    if tally.request is not None:
        return tally
    opened = msgspec.structs.replace(tally, request=request, early=())
    for ballot in tally.early:
        opened = cast(opened, ballot)
    return opened


def cast(tally: Tally, ballot: BallotCast) -> Tally:
    """One vote more. Idempotent by voter and vote id."""
    if tally.request is None:
        known = any(_same(each, ballot) for each in tally.early)
        full = len(tally.early) >= EVIDENCE_MOST
        return tally if known or full else msgspec.structs.replace(tally, early=(*tally.early, ballot))
    if any(each.vote_id == ballot.vote.vote_id and each.approver == ballot.vote.approver for each in tally.ballots):
        return tally
    refusal = _refusal(tally, tally.request, ballot)
    if refusal is not None and len(tally.ballots) >= EVIDENCE_MOST:
        return tally
    counted = Ballot(
        vote_id=ballot.vote.vote_id,
        approver=ballot.vote.approver,
        answer=ballot.vote.answer,
        appended_at=ballot.appended_at,
        comment=ballot.vote.comment,
        refusal=refusal,
    )
    earlier = tally.ballots
    if refusal is None:
        earlier = tuple(_replaced(each, counted) for each in earlier)
    voted = msgspec.structs.replace(tally, ballots=(*earlier, counted))
    return voted if voted.result is not None else _counted(voted, tally.request)


def due(tally: Tally, moment: ApprovalDue) -> Tally:
    """A moment has taken its place in the order: the deadline ends what is still open, as expired."""
    if moment.kind != "deadline" or tally.request is None or tally.result is not None:
        return tally
    return msgspec.structs.replace(tally, result=Result(resolution="expired", resolved_at=tally.request.deadline))


def _refusal(tally: Tally, request: ApprovalRequested, ballot: BallotCast) -> str | None:  # noqa: PLR0911 - a list of rules
    vote = ballot.vote
    if ballot.verification == "refused":
        return ballot.refusal or "the vote was refused at the entrance"
    if tally.result is not None:
        return f"the approval was already {tally.result.resolution}"
    if ballot.appended_at > request.deadline:
        return "the vote came after the deadline"
    if vote.digest != request.action.ref.digest:
        return "the vote is about other arguments"
    if request.eligible and vote.approver not in request.eligible:
        return "the voter is not entitled to answer"
    if vote.approver in {request.action.requester, request.action.ref.agent}:
        return "nobody answers their own request"
    if vote.answer not in request.answers and vote.answer != "withdraw":
        return f"the answer {vote.answer} is not among those allowed: {', '.join(request.answers)}"
    return None


def _counted(tally: Tally, request: ApprovalRequested) -> Tally:
    current = [ballot for ballot in tally.ballots if ballot.refusal is None]
    rejecting = [ballot for ballot in current if ballot.answer == "reject"]
    approving = [ballot for ballot in current if ballot.answer == "approve"]
    if rejecting:
        last = rejecting[-1]
        result = Result(
            resolution="rejected", approvers=(last.approver,), comment=last.comment, resolved_at=last.appended_at
        )
    elif len(approving) >= max(1, request.quorum):
        last = approving[-1]
        result = Result(
            resolution="approved",
            approvers=tuple(ballot.approver for ballot in approving),
            comment=last.comment,
            resolved_at=max(last.appended_at, request.requested_at),
        )
    else:
        return tally
    return msgspec.structs.replace(tally, result=result)


def _replaced(earlier: Ballot, later: Ballot) -> Ballot:
    """One current vote a person: a later one takes the earlier one's place."""
    if earlier.refusal is not None or earlier.approver != later.approver:
        return earlier
    return msgspec.structs.replace(earlier, refusal="the voter voted again")


def _same(first: BallotCast, second: BallotCast) -> bool:
    return first.vote.vote_id == second.vote.vote_id and first.vote.approver == second.vote.approver
