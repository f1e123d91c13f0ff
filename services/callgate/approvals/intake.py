"""A vote at the entrance becomes a ballot: with the entrance's verdict on it, and its place and time. Pure.

A refused vote stays as evidence with the reason. What could be large in it is left out: it stands in the vote itself,
whose place the ballot names, and junk must not cost a second time what it costs to write.
"""

from __future__ import annotations

import msgspec

from callgate.approvals.ballots import COMMENT_MOST, VOTE_MOST
from callgate.approvers.entrance import Verdict
from callgate.events import ids
from callgate.events.approvals import ApprovalVoted, BallotCast
from callgate.failures import PermanentFailure
from callgate.log.port import Record

APPROVAL_PREFIX = "apr_"


def ballot(vote: ApprovalVoted, record: Record, verdict: Verdict) -> BallotCast:
    """The vote with the verdict on it. One that no record could carry any further is refused, whoever it is from."""
    if len(record.value or b"") > VOTE_MOST:
        verdict = Verdict("refused", f"the vote holds more than {VOTE_MOST} bytes")
    refused = verdict.verification == "refused"
    return BallotCast(
        approval_id=vote.approval_id,
        vote=_short(vote) if refused else vote,
        verification=verdict.verification,
        refusal=verdict.refusal,
        key=verdict.key,
        appended_at=record.timestamp,
        origin=f"{record.topic}/{record.partition}/{record.offset}",
    )


def evidence(ballot: BallotCast, refusal: str) -> BallotCast:
    """An edit that does not count, whatever it says: without what it says, as a refused vote is kept."""
    return msgspec.structs.replace(ballot, vote=_short(ballot.vote), checked=True, refusal=refusal)


def hold_approval(vote: ApprovalVoted, partitions: int) -> None:
    """Raise PermanentFailure where a vote names no approval of this log: there is no place among the ballots for it."""
    partition = ids.partition_of(vote.approval_id)
    if partition is None or partition >= partitions or not vote.approval_id.startswith(APPROVAL_PREFIX):
        raise PermanentFailure(f"the vote names no approval of this log with {partitions} partitions")


def _short(vote: ApprovalVoted) -> ApprovalVoted:
    comment = None if vote.comment is None else vote.comment[:COMMENT_MOST]
    return msgspec.structs.replace(
        vote, comment=comment, arguments=None, response=None, delegate_to=None, signature=None
    )
