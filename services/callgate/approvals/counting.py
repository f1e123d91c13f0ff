"""What the votes of an approval come to: who may vote, why a vote does not count, and when it is enough. Pure."""

from __future__ import annotations

import msgspec

from callgate.approvals.ballots import CONTENT_MOST, VOTED_AGAIN, VOTES_MOST, Ballot, Result, Tally, person
from callgate.events.approvals import ApprovalRequested, ApprovalVoted, BallotCast, Resolution
from callgate.events.matching import covers
from callgate.tools import strict_json

NOT_CHECKED = "the edit was not checked"
"""Why an edit does not count that nobody has held against its tool, where nothing else speaks against it."""

_COUNTED = frozenset({"approve", "edit", "respond", "reject", "abstain", "delegate", "withdraw"})
_HAPPENED = frozenset({"approve", "respond"})


def entitled(request: ApprovalRequested, name: str, at: float) -> bool:
    """Whether a vote of a person that was appended at `at` may count: named from the start, or by a level until then.

    The moment counts and not when its announcement is read, as with the deadline: so a downtime entitles nobody earlier
    or later.
    """
    if not request.eligible or name in request.eligible:
        return True
    return any(level.at <= at and name in level.approvers for level in request.escalation)


def refusal(tally: Tally, request: ApprovalRequested, ballot: BallotCast) -> str | None:
    """Why a vote does not count; None where it does."""
    vote = ballot.vote
    if ballot.verification == "refused" or ballot.refusal is not None:
        return ballot.refusal or "the vote was refused at the entrance"
    if tally.result is not None:
        return f"the approval was already {tally.result.resolution}"
    if ballot.appended_at > request.deadline:
        return "the vote came after the deadline"
    if vote.digest != request.action.ref.digest and not (vote.answer == "approve" and _proposed(tally, vote.digest)):
        return "the vote is about other arguments"
    if not (entitled(request, vote.approver, ballot.appended_at) or _delegated(tally, request, vote.approver)):
        return "the voter is not entitled to answer"
    if person(vote.approver) in _barred(request):
        return "nobody answers their own request"
    if vote.answer not in _COUNTED or (vote.answer not in request.answers and vote.answer != "withdraw"):
        return f"the answer {vote.answer} is not among those allowed: {', '.join(request.answers)}"
    return _too_often(tally, request, vote) or _unfit(request, ballot)


def outcome(tally: Tally, request: ApprovalRequested) -> Result | None:
    """The result that the current votes give; None while they don't decide."""
    current = [ballot for ballot in tally.ballots if ballot.refusal is None and _may(tally, request, ballot)]
    if request.kind == "settle":
        return _settled(request, current)
    # One is enough: the tool does not run.
    if rejecting := [ballot for ballot in current if ballot.answer == "reject"]:
        return result(request, "rejected", rejecting[-1].appended_at, rejecting[-1:])
    # A response is told to the model as the tool's result, so it takes as many people, and all must say the same.
    for said in dict.fromkeys(bytes(ballot.response) for ballot in current if ballot.response is not None):
        deciding = [each for each in current if each.response is not None and bytes(each.response) == said]
        if _enough(tally, request, deciding):
            return result(request, "responded", deciding[-1].appended_at, deciding)
    for revised in (None, *tally.revisions):
        digest = None if revised is None else revised.ref.digest
        deciding = [each for each in current if each.answer in {"approve", "edit"} and each.digest == digest]
        if _enough(tally, request, deciding):
            found = result(request, "approved", deciding[-1].appended_at, deciding)
            return found if revised is None else msgspec.structs.replace(found, resolution="edited", revised=revised)
    return None


def result(
    request: ApprovalRequested, resolution: Resolution, at: float, deciding: list[Ballot] | tuple[Ballot, ...]
) -> Result:
    """A result by these votes, at the time of the last; none of them where nobody decided it."""
    return Result(
        resolution=resolution,
        approvers=tuple(ballot.approver for ballot in deciding),
        comment=deciding[-1].comment if deciding else None,
        response=deciding[-1].response if deciding else None,
        resolved_at=max(at, request.requested_at),
    )


def _settled(request: ApprovalRequested, current: list[Ballot]) -> Result | None:
    """What became of something in doubt. Both answers move money or work on, so both need the quorum."""
    for answers, settled in ((_HAPPENED, "executed"), ({"reject"}, "not_executed")):
        deciding = [ballot for ballot in current if ballot.answer in answers]
        if len(deciding) >= max(1, request.quorum):
            said = {bytes(ballot.response) for ballot in deciding if ballot.response is not None}
            found = result(request, "settled", deciding[-1].appended_at, deciding)
            # One result may stand beside a plain yes. Of two that differ nobody knows which is true.
            response = msgspec.Raw(said.pop()) if len(said) == 1 else None
            return msgspec.structs.replace(found, settled=settled, response=response)
    return None


def _enough(tally: Tally, request: ApprovalRequested, deciding: list[Ballot]) -> bool:
    if len(deciding) < max(1, request.quorum):
        return False
    groups = []
    for group in request.one_from_each:
        members = set(group.members)
        # Who was asked to stand in for somebody stands for their group.
        stands = {person(each.delegate_to) for each in _delegations(tally, request) if each.approver in members}
        groups.append(members | {each.approver for each in deciding if person(each.approver) in stands})
    return covers([ballot.approver for ballot in deciding], groups)


def _may(tally: Tally, request: ApprovalRequested, ballot: Ballot) -> bool:
    """Whether a vote that once counted still does: who gave the right to it may have taken it back."""
    return entitled(request, ballot.approver, ballot.appended_at) or _delegated(tally, request, ballot.approver)


def _delegated(tally: Tally, request: ApprovalRequested, name: str) -> bool:
    return any(person(each.delegate_to) == person(name) for each in _delegations(tally, request))


def _delegations(tally: Tally, request: ApprovalRequested) -> list[Ballot]:
    """One hop only: what was delegated to somebody, they can't pass on."""
    return [
        each
        for each in tally.ballots
        if each.answer == "delegate" and each.refusal is None and entitled(request, each.approver, each.appended_at)
    ]


def _too_often(tally: Tally, request: ApprovalRequested, vote: ApprovalVoted) -> str | None:
    """Whether this is one change of mind too many. What can only keep the call from running is always heard."""
    who = person(vote.approver)
    said = [each for each in tally.ballots if each.refusal in {None, VOTED_AGAIN} and person(each.approver) == who]
    taken_back = vote.answer == "withdraw" and any(each.refusal is None and each.answer != "withdraw" for each in said)
    if len(said) < VOTES_MOST or taken_back or (vote.answer == "reject" and request.kind == "action"):
        return None
    return f"the voter has voted {VOTES_MOST} times: only a withdrawal or a rejection is heard"


def _unfit(request: ApprovalRequested, ballot: BallotCast) -> str | None:
    """What is wrong with the content of an answer."""
    vote = ballot.vote
    if _size(vote) > CONTENT_MOST:
        return f"the answer holds more than {CONTENT_MOST} bytes"
    if vote.answer == "edit" and ballot.revised is None:
        return NOT_CHECKED
    if vote.answer == "edit" and request.kind == "settle":
        return "what is in doubt can't be edited"
    if vote.answer == "respond":
        return _unreadable(vote)
    if vote.answer == "delegate":
        return _misdelegated(request, vote, ballot.appended_at)
    return None


def _unreadable(vote: ApprovalVoted) -> str | None:
    """What is wrong with a response: it becomes the tool's result, and an event carries what no reader can take."""
    if vote.response is None:
        return "a response is missing"
    try:
        strict_json.loads(bytes(vote.response))
    except strict_json.NotStrict as error:
        return f"the response is not JSON that everybody reads alike: {error}"
    return None


def _misdelegated(request: ApprovalRequested, vote: ApprovalVoted, at: float) -> str | None:
    to = person(vote.delegate_to)
    if not to:
        return "it does not say to whom it delegates"
    if to == person(vote.approver):
        return "nobody delegates to themselves"
    if to in _barred(request):
        return "who asks may not be asked: it can't be delegated to them"
    if not entitled(request, vote.approver, at):
        return "what was delegated can't be delegated on"
    return None


def _proposed(tally: Tally, digest: str) -> bool:
    return any(each.ref.digest == digest for each in tally.revisions)


def _barred(request: ApprovalRequested) -> set[str | None]:
    """Who may not answer, whatever else entitles them: the agent, and its requester unless the policy lets them."""
    requester = None if request.requester_may_answer else person(request.action.requester)
    return {requester, person(request.action.ref.agent)} - {None}


def _size(vote: ApprovalVoted) -> int:
    return sum(len(bytes(content)) for content in (vote.arguments, vote.response) if content is not None)
