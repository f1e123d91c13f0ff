"""What is known of one approval: its votes as they were counted, and its result. Values only."""

from __future__ import annotations

import unicodedata
from typing import Literal

import msgspec

from callgate.events.actions import ActionProposed
from callgate.events.approvals import ApprovalRequested, BallotCast, Resolution
from callgate.events.event import OptionalRaw

EVIDENCE_MOST = 100
"""How many votes are kept per approval, counted or not; a flood of junk must not grow the state without bound."""

COMMENT_MOST = 500
"""Characters of a comment that are kept and passed on; all of it stands in the vote on the log."""

CONTENT_MOST = 262_144
"""Bytes of edited arguments, or of a response: as large as the arguments of a call may be."""

VOTE_MOST = CONTENT_MOST + 65_536
"""Bytes of a vote as it stands at the entrance: its ballot, checked and with a revised call, must fit into a record."""

VOTES_MOST = 20
"""Votes of one person that may count for one approval, one after the other. After them it takes only a withdrawal or a
no: who can't make up their mind, and whoever has their key, must neither fill the state nor be held to a yes."""

STATE_MOST = 600_000
"""Bytes of the state of one approval beyond which it takes no vote that leaves it open: it must fit into a record."""

STATE_SPARE = 300_000
"""Bytes beyond `STATE_MOST` for what must always find room: withdrawals, and votes that don't count."""


VOTED_AGAIN = "the voter voted again"
"""Why a vote that has counted does so no longer."""


class Ballot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One vote as it was counted, or why it was not."""

    vote_id: str
    approver: str
    answer: str
    appended_at: float
    origin: str
    """Where the vote stands on the log: the same place again is the same vote delivered twice."""
    comment: str | None = None
    """Only while it counts: the evidence stands on the log."""
    refusal: str | None = None
    """Why it does not count; None while it is the person's current vote."""
    verified: bool = True
    """Whether the intake believed who cast it; else it may be anybody's, and takes nobody's place."""
    digest: str | None = None
    """Of the revised call that it is for: by its own edit, or as a yes to another's. None: the call as it was asked."""
    delegate_to: str | None = None
    response: OptionalRaw = None
    """What the person answers in the tool's stead, while it may still decide."""


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an approval ended."""

    resolution: Resolution
    approvers: tuple[str, ...] = ()
    """Whose votes decided it."""
    comment: str | None = None
    resolved_at: float
    """Append time of the deciding vote, or the deadline; never before the question."""
    revised: ActionProposed | None = None
    """The call that is to be evaluated anew, where it was edited."""
    response: OptionalRaw = None
    """The person's own result, where there is one."""
    settled: Literal["executed", "not_executed"] | None = None
    """What became of what was in doubt."""


class Tally(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that is known of one approval."""

    request: ApprovalRequested | None = None
    """None while only votes that overtook their request are known."""
    early: tuple[BallotCast, ...] = ()
    ballots: tuple[Ballot, ...] = ()
    revisions: tuple[ActionProposed, ...] = ()
    """The different calls that edits would make of it, while it is open."""
    result: Result | None = None
    announced: int = 0
    """How many of the request's moments before the deadline have been read: the first of `schedule.moments`."""


def unchecked(ballot: BallotCast) -> bool:
    """Whether a ballot is an edit that nobody has held against its tool."""
    return ballot.vote.answer == "edit" and ballot.verification != "refused" and not ballot.checked


def size(tally: Tally) -> int:
    """Bytes of the state that is kept of it, without the question, which has a record of its own."""
    return len(msgspec.json.encode(msgspec.structs.replace(tally, request=None)))


def person(name: str | None) -> str | None:
    """Spelling with other capitals, blanks, code points for the same letters, or unseen ones makes no second person."""
    if name is None or name.isascii():
        return None if name is None else " ".join(name.split()).casefold()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    seen = "".join(each for each in folded if unicodedata.category(each) != "Cf")
    return " ".join(seen.split())


def short(comment: str | None) -> str | None:
    """As much of a comment as is kept."""
    return None if comment is None else comment[:COMMENT_MOST]
