"""Questions to people, their votes, and what came of it.

`approvals.ballots` is the only input of the tally: whatever bears on the result is on it, in one order, so that any
reader of the log gets the same result without a key and without a clock.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from callgate.events import ids
from callgate.events.actions import ActionInDoubt, ActionProposed, ActionRef, Decision
from callgate.events.event import Digest, Event, Identifier, Name, OptionalRaw, Part, Seconds

Answer = Literal["approve", "edit", "respond", "reject", "abstain", "delegate", "withdraw"]
"""What a vote may say; each request lists the ones that it allows.

About what is in doubt: approve says that it happened, reject that it did not, respond that it did, with its result."""

ApprovalKind = Literal["action", "settle"]
"""Whether an action may run, or what became of one that is in doubt."""

Resolution = Literal["approved", "edited", "responded", "rejected", "expired", "settled"]
"""How an approval ended. Expiry is not a "no"."""


class ApproverGroup(Part, frozen=True, kw_only=True):
    """People of whom one must be among those that approve."""

    name: Name
    members: tuple[str, ...]


class EscalationLevel(Part, frozen=True, kw_only=True):
    """The next people of a chain, and from when on they may answer too."""

    at: Seconds
    """A vote of theirs counts if it was appended to the entrance at this moment or later."""
    approvers: tuple[str, ...]


class ApprovalRequested(Event, frozen=True, kw_only=True):
    """Signals that people are asked about exactly one revision of an action."""

    TYPE: ClassVar[str] = "callgate.approval.requested.v1"

    approval_id: Identifier
    kind: ApprovalKind = "action"
    action: ActionProposed
    decision: Decision
    """The evaluation that asked for people: its reason, risk and better action are shown to them."""
    doubt: ActionInDoubt | None = None
    """What is to be settled, where `kind` is `settle`. Very large parts that `action` and `decision` hold too are left
    out of it where the question would not fit into a record else."""
    answers: tuple[Answer, ...] = ("approve", "reject")
    quorum: int = 1
    """How many approvals it takes; one rejection ends it."""
    eligible: tuple[str, ...] = ()
    """Who may answer; empty means whoever the entrance accepts."""
    one_from_each: tuple[ApproverGroup, ...] = ()
    """Each group must give one of the approvals; nobody stands for two of them."""
    requester_may_answer: bool = False
    """Whether the action's requester may vote. The agent itself never may."""
    policy_digest: str = ""
    """Which version of the approval policy set quorum, eligibility and deadline."""
    policy_rule: str | None = None
    """The rule of it that matched; None for its default."""
    requested_at: Seconds
    deadline: Seconds
    """A vote appended to the entrance after this moment is too late."""
    reminders: tuple[Seconds, ...] = ()
    """When its people are told again, while it is open; the first is number 1."""
    escalation: tuple[EscalationLevel, ...] = ()
    """Its chain, by time; the first is level 1. Where `eligible` is empty it only says whom to tell."""

    def identity(self) -> str:
        """See `Event.identity`."""
        return f"evt_{ids.fingerprint('approval_requested', self.approval_id)}"


class ApprovalVoted(Event, frozen=True, kw_only=True):
    """Signals that somebody says something about an approval; from any client in any language: trusted in nothing."""

    TYPE: ClassVar[str] = "callgate.approval.voted.v1"

    vote_id: Name
    """Chosen by the voter; the same vote twice counts once."""
    approval_id: Identifier
    digest: Digest
    """Of the arguments that the voter was shown; a vote on other arguments does not count."""
    answer: Answer
    approver: Name
    """Who claims to vote. Believed only as far as the entrance's verification goes."""
    comment: str | None = None
    arguments: OptionalRaw = None
    """The edited arguments, with `edit`."""
    response: OptionalRaw = None
    """The text for the model, with `respond`."""
    delegate_to: str | None = None
    signature: str | None = None
    """Compact JWS (EdDSA) over the vote, or an id token whose nonce names it, where the entrance asks for proof."""

    def identity(self) -> str:
        """See `Event.identity`."""
        return f"evt_{ids.fingerprint('voted', self.approval_id, self.approver, self.vote_id)}"


class BallotCast(Event, frozen=True, kw_only=True):
    """Signals that the intake has checked a vote and put it into the one order that counts."""

    TYPE: ClassVar[str] = "callgate.approval.ballot_cast.v1"

    approval_id: Identifier
    vote: ApprovalVoted
    verification: Literal["trusted", "signed", "refused"]
    refusal: str | None = None
    """Why the vote was refused; a refused vote stays as evidence and changes nothing."""
    key: str | None = None
    """The kid of the key that proved who votes, where the vote was signed."""
    policy_digest: str = ""
    appended_at: Seconds
    """When the log appended the vote: the time that counts, whatever the voter's clock says."""
    origin: str
    """Topic, partition and offset of the vote, so that the evidence can be found."""
    checked: bool = False
    """Whether an edit was held against its tool. It counts from there on: with `revised`, or with a `refusal`."""
    revised: ActionProposed | None = None
    """The call as it would be with the edited arguments."""

    def identity(self) -> str:
        """See `Event.identity`."""
        stage = "checked" if self.checked else "ballot"
        return f"evt_{ids.fingerprint(stage, self.approval_id, self.origin)}"


class DeadlinePassed(Event, frozen=True, kw_only=True):
    """Signals that an approval's deadline has passed, on its way behind the votes that were cast in time.

    It goes through every partition of the entrance; from the last it comes to the ballots, as `ApprovalDue`. The
    entrance is open to all: one that the log appended before `deadline` is worth nothing.
    """

    TYPE: ClassVar[str] = "callgate.approval.deadline_passed.v1"

    approval_id: Identifier
    deadline: Seconds

    def identity(self) -> str:
        """See `Event.identity`."""
        return f"evt_{ids.fingerprint('deadline_passed', self.approval_id)}"


class ApprovalDue(Event, frozen=True, kw_only=True):
    """Signals that a moment set for an approval has come: it takes its place in the order of the ballots."""

    TYPE: ClassVar[str] = "callgate.approval.due.v1"

    approval_id: Identifier
    kind: Literal["deadline", "reminder", "escalation"]
    ordinal: int = 0
    """Which reminder, or which level; a deadline has none."""
    due_at: Seconds
    """When it was set for, however late it was read."""

    def identity(self) -> str:
        """See `Event.identity`."""
        return f"evt_{ids.fingerprint('due', self.approval_id, self.kind, self.ordinal)}"


class ApprovalResolved(Event, frozen=True, kw_only=True):
    """Signals the one end of an approval."""

    TYPE: ClassVar[str] = "callgate.approval.resolved.v1"

    approval_id: Identifier
    kind: ApprovalKind = "action"
    action: ActionRef
    request_id: str | None = None
    """BIGHUB's id of the evaluation that asked, under which its own queue knows the approval."""
    resolution: Resolution
    approvers: tuple[str, ...] = ()
    comment: str | None = None
    requested_at: Seconds
    resolved_at: Seconds

    def identity(self) -> str:
        """See `Event.identity`."""
        return f"evt_{ids.fingerprint('approval_resolved', self.approval_id)}"


class ApprovalReminded(Event, frozen=True, kw_only=True):
    """Signals that an approval still waits and its people should be told again."""

    TYPE: ClassVar[str] = "callgate.approval.reminded.v1"

    approval_id: Identifier
    action: ActionRef
    ordinal: int
    """1 is the first."""
    deadline: Seconds
    reminded_at: Seconds
    """When the reminder was set for. After a downtime it comes later."""

    def identity(self) -> str:
        """See `Event.identity`."""
        return f"evt_{ids.fingerprint('approval_reminded', self.approval_id, self.ordinal)}"


class ApprovalEscalated(Event, frozen=True, kw_only=True):
    """Signals that an approval has gone to the next people of its chain."""

    TYPE: ClassVar[str] = "callgate.approval.escalated.v1"

    approval_id: Identifier
    action: ActionRef
    level: int
    """1 is the first."""
    eligible: tuple[str, ...] = ()
    """The people of this level: they may answer as well as those before them."""
    deadline: Seconds
    escalated_at: Seconds
    """When the level was set for. After a downtime it is read later; votes are held against this moment."""

    def identity(self) -> str:
        """See `Event.identity`."""
        return f"evt_{ids.fingerprint('approval_escalated', self.approval_id, self.level)}"
