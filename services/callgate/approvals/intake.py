"""What a vote at the entrance is worth, before it is put into the order of the ballots. Pure.

The entrance is open to any client in any language. Either the operator has declared it trusted (whoever can write to
the topic may vote, under any name), or votes must be signed; signatures are not verified yet, so an unsigned or
signed vote on an entrance that is not trusted is refused, and kept as evidence.
"""

from __future__ import annotations

from callgate.events import ids
from callgate.events.approvals import ApprovalVoted, BallotCast
from callgate.failures import PermanentFailure
from callgate.log.port import Record

APPROVAL_PREFIX = "apr_"


def ballot(vote: ApprovalVoted, record: Record, *, trusted: bool, partitions: int) -> BallotCast:
    """The vote with the intake's verdict on it. Raises PermanentFailure where it names no approval of this log."""
    partition = ids.partition_of(vote.approval_id)
    if partition is None or partition >= partitions or not vote.approval_id.startswith(APPROVAL_PREFIX):
        raise PermanentFailure(f"the vote names no approval of this log with {partitions} partitions")
    return BallotCast(
        approval_id=vote.approval_id,
        vote=vote,
        verification="trusted" if trusted else "refused",
        refusal=None if trusted else "the entrance is not declared trusted, and the vote's signature can't be verified",
        appended_at=record.timestamp,
        origin=f"{record.topic}/{record.partition}/{record.offset}",
    )
