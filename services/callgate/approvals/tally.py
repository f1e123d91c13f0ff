"""The tally of one approval: a pure state machine over the ordered ballots.

Its only input is `approvals.ballots`. It uses neither keys nor a clock: what a vote is worth was checked at the intake,
and when it came is what the log says. So a recount gives the same result for every reader. Votes that don't count stay
as evidence, with the reason.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from callgate.approvals.schedule import moments
from callgate.events.approvals import ApprovalDue, ApprovalRequested, ApprovalVoted, BallotCast, Resolution
from callgate.events.matching import covers

EVIDENCE_MOST = 100
"""How many votes are kept per approval, counted or not; a flood of junk must not grow the state without bound."""

COMMENT_MOST = 500
"""Characters of a comment that are kept and passed on; all of it stands in the vote on the log."""

Answered = Literal["approve", "reject", "abstain", "withdraw"]
"""What can be counted. Editing, responding and delegating need what is not there yet, and are refused."""


_COUNTED = frozenset(get_args(Answered))


class Ballot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One vote as it was counted, or why it was not."""

    vote_id: str
    approver: str
    answer: str
    appended_at: float
    origin: str
    """Where the vote stands on the log: the same place again is the same vote delivered twice."""
    comment: str | None = None
    refusal: str | None = None
    """Why it does not count; None while it is the person's current vote."""
    verified: bool = True
    """Whether the intake believed who cast it; else it may be anybody's, and takes nobody's place."""


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an approval ended."""

    resolution: Resolution
    approvers: tuple[str, ...] = ()
    """Whose votes decided it."""
    comment: str | None = None
    resolved_at: float
    """Append time of the deciding vote, or the deadline; never before the question."""


class Tally(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that is known of one approval."""

    request: ApprovalRequested | None = None
    """None while only votes that overtook their request are known."""
    early: tuple[BallotCast, ...] = ()
    ballots: tuple[Ballot, ...] = ()
    result: Result | None = None
    announced: int = 0
    """How many of the request's moments before the deadline have been read: the first of `schedule.moments`."""


def requested(tally: Tally, request: ApprovalRequested) -> Tally:
    """The question itself; what overtook it is counted now, in its own order. A repeat changes nothing."""
    if tally.request is not None:
        return tally
    opened = msgspec.structs.replace(tally, request=request, early=())
    for ballot in tally.early:
        opened = cast(opened, ballot)
    return opened


def cast(tally: Tally, ballot: BallotCast) -> Tally:
    """One vote more. Idempotent by place on the log, and by voter and vote id."""
    if tally.request is None:
        return _waiting(tally, ballot)
    if _known(tally, ballot):
        return tally
    refusal = _refusal(tally, tally.request, ballot)
    if refusal is not None and len(tally.ballots) >= EVIDENCE_MOST:
        return tally
    counted = _ballot(ballot, refusal)
    earlier = tally.ballots
    if refusal is None:
        earlier = tuple(_replaced(each, counted) for each in earlier)
    voted = msgspec.structs.replace(tally, ballots=(*earlier, counted))
    return voted if voted.result is not None else _counted(voted, tally.request)


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
    return msgspec.structs.replace(tally, result=_result(request, "expired", request.deadline, ()))


def entitled(request: ApprovalRequested, person: str, at: float) -> bool:
    """Whether a vote of `person` that was appended at `at` may count: named from the start, or by a level until then.

    The moment counts and not when its announcement is read, as with the deadline: so a downtime entitles nobody earlier
    or later.
    """
    if not request.eligible or person in request.eligible:
        return True
    return any(level.at <= at and person in level.approvers for level in request.escalation)


def crowded(tally: Tally) -> bool:
    """Whether so many votes wait for a question that nobody has asked that no more are taken in."""
    return tally.request is None and len(tally.early) >= EVIDENCE_MOST


def _waiting(tally: Tally, ballot: BallotCast) -> Tally:
    if crowded(tally) or any(each.origin == ballot.origin for each in tally.early):
        return tally
    vote = msgspec.structs.replace(
        ballot.vote, comment=_short(ballot.vote.comment), arguments=None, response=None, signature=None
    )
    return msgspec.structs.replace(tally, early=(*tally.early, msgspec.structs.replace(ballot, vote=vote)))


def _known(tally: Tally, ballot: BallotCast) -> bool:
    """A vote that the intake did not believe is known by its place only: it can't use up another's vote id."""
    believed = ballot.verification != "refused"
    return any(
        each.origin == ballot.origin
        or (believed and each.verified and each.vote_id == ballot.vote.vote_id and _same(each, ballot.vote))
        for each in tally.ballots
    )


def _refusal(tally: Tally, request: ApprovalRequested, ballot: BallotCast) -> str | None:
    vote = ballot.vote
    if ballot.verification == "refused":
        return ballot.refusal or "the vote was refused at the entrance"
    if tally.result is not None:
        return f"the approval was already {tally.result.resolution}"
    if ballot.appended_at > request.deadline:
        return "the vote came after the deadline"
    if vote.digest != request.action.ref.digest:
        return "the vote is about other arguments"
    if not entitled(request, vote.approver, ballot.appended_at):
        return "the voter is not entitled to answer"
    if _person(vote.approver) in _barred(request):
        return "nobody answers their own request"
    if vote.answer not in _COUNTED or (vote.answer not in request.answers and vote.answer != "withdraw"):
        return f"the answer {vote.answer} is not among those allowed: {', '.join(request.answers)}"
    return None


def _counted(tally: Tally, request: ApprovalRequested) -> Tally:
    current = [ballot for ballot in tally.ballots if ballot.refusal is None]
    rejecting = [ballot for ballot in current if ballot.answer == "reject"]
    approving = [ballot for ballot in current if ballot.answer == "approve"]
    if rejecting:
        result = _result(request, "rejected", rejecting[-1].appended_at, rejecting[-1:])
    elif len(approving) >= max(1, request.quorum) and _each_group(request, approving):
        result = _result(request, "approved", approving[-1].appended_at, approving)
    else:
        return tally
    return msgspec.structs.replace(tally, result=result)


def _barred(request: ApprovalRequested) -> set[str | None]:
    """Who may not answer, whatever else entitles them: the agent, and its requester unless the policy lets them."""
    requester = None if request.requester_may_answer else _person(request.action.requester)
    return {requester, _person(request.action.ref.agent)}


def _each_group(request: ApprovalRequested, approving: list[Ballot]) -> bool:
    groups = [set(group.members) for group in request.one_from_each]
    return covers([ballot.approver for ballot in approving], groups)


def _result(
    request: ApprovalRequested, resolution: Resolution, at: float, deciding: tuple[Ballot, ...] | list[Ballot]
) -> Result:
    return Result(
        resolution=resolution,
        approvers=tuple(ballot.approver for ballot in deciding),
        comment=deciding[-1].comment if deciding else None,
        resolved_at=max(at, request.requested_at),
    )


def _ballot(ballot: BallotCast, refusal: str | None) -> Ballot:
    return Ballot(
        vote_id=ballot.vote.vote_id,
        approver=ballot.vote.approver,
        answer=ballot.vote.answer,
        appended_at=ballot.appended_at,
        origin=ballot.origin,
        comment=_short(ballot.vote.comment),
        refusal=refusal,
        verified=ballot.verification != "refused",
    )


def _replaced(earlier: Ballot, later: Ballot) -> Ballot:
    """One current vote a person: a later one takes the earlier one's place."""
    if earlier.refusal is not None or _person(earlier.approver) != _person(later.approver):
        return earlier
    return msgspec.structs.replace(earlier, refusal="the voter voted again")


def _same(ballot: Ballot, vote: ApprovalVoted) -> bool:
    return _person(ballot.approver) == _person(vote.approver)


def _person(name: str | None) -> str | None:
    """Spelling with other capitals or blanks makes no second person."""
    return None if name is None else " ".join(name.split()).casefold()


def _short(comment: str | None) -> str | None:
    return None if comment is None else comment[:COMMENT_MOST]
