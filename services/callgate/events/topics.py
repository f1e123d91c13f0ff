"""The catalogue of topics: their names, partitions, retention, and who writes and reads them.

N, the number of partitions of every partitioned topic, is one number for a whole log. State topics are named after
their group (`state_topic`) and are private to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from callgate.events import actions, approvals, control, outcomes, turns
from callgate.events.event import Event

DAY = 86_400.0
IDENTITY_WINDOW = 45 * DAY
"""Seconds. Inputs older than this are refused; claims and results are kept for it (promises P2 and P3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic of the catalogue."""

    name: str
    spread: Literal["home", "effect", "approval", "single", "any", "origin"]
    """How a record's partition is found; `any` is an entrance, where the producer chooses."""
    events: tuple[type[Event], ...]
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]
    entrance: bool = False
    """Whether outsiders may write to it; its records are stamped by the log, whatever the producer says."""
    compacted: bool = False
    retention_seconds: float = IDENTITY_WINDOW
    """How long records are kept where the topic is not compacted."""
    committed_only: bool = True
    """Whether readers wait for transactions to end; `control` is read as it is written."""


TURNS = Topic(
    name="turns",
    spread="any",
    entrance=True,
    events=(turns.TurnSubmitted, turns.TurnRecorded, turns.AnswerAnnounced),
    written_by=("agents", "proposer"),
    read_by=("proposer",),
)
PROPOSED = Topic(
    name="actions.proposed",
    spread="home",
    events=(actions.ActionProposed,),
    written_by=("proposer", "approvals", "executor"),
    read_by=("evaluator", "reporter"),
)
DECIDED = Topic(
    name="actions.decided",
    spread="home",
    events=(actions.ActionDecided,),
    written_by=("evaluator", "approvals"),
    read_by=("executor", "proposer", "reporter"),
)
EFFECTS = Topic(
    name="actions.effects",
    spread="effect",
    events=(actions.ActionDecided,),
    written_by=("executor",),
    read_by=("executor",),
)
FINISHED = Topic(
    name="actions.finished",
    spread="home",
    events=(actions.ActionInDoubt, actions.ActionFinished),
    written_by=("executor",),
    read_by=("proposer", "reporter"),
)
VOTES = Topic(
    name="approvals.votes",
    spread="any",
    entrance=True,
    events=(approvals.ApprovalVoted, approvals.DeadlinePassed),
    written_by=("anyone", "approvals"),
    read_by=("approvals",),
)
BALLOTS = Topic(
    name="approvals.ballots",
    spread="approval",
    events=(approvals.ApprovalRequested, approvals.BallotCast, approvals.ApprovalDue),
    written_by=("evaluator", "executor", "approvals", "bridge"),
    read_by=("approvals", "bridge", "notifier", "console"),
)
RESOLVED = Topic(
    name="approvals.resolved",
    spread="home",
    events=(approvals.ApprovalResolved, approvals.ApprovalReminded, approvals.ApprovalEscalated),
    written_by=("approvals",),
    read_by=("proposer", "reporter", "notifier"),
)
OBSERVED = Topic(
    name="outcomes.observed",
    spread="any",
    entrance=True,
    events=(outcomes.OutcomeObserved,),
    written_by=("anyone", "reporter"),
    read_by=("reporter",),
)
REPLIES = Topic(
    name="replies",
    spread="home",
    events=(turns.ActionReply, turns.TurnCompleted),
    written_by=("proposer",),
    read_by=("agents",),
)
STREAM = Topic(
    name="replies.stream",
    spread="home",
    events=(turns.ReplyStreamed,),
    written_by=("proposer",),
    read_by=("agents",),
    retention_seconds=DAY,
)
CONTROL = Topic(
    name="control",
    spread="single",
    events=(control.ControlChanged,),
    written_by=("operators",),
    read_by=("every service",),
    compacted=True,
    committed_only=False,
)
FLEET = Topic(
    name="fleet",
    spread="single",
    events=(control.WorkerReported,),
    written_by=("every service",),
    read_by=("command line", "console"),
    compacted=True,
)
DEADLETTERS = Topic(
    name="deadletters",
    spread="origin",
    events=(),
    written_by=("every service",),
    read_by=("command line",),
)

CATALOGUE: tuple[Topic, ...] = (
    TURNS,
    PROPOSED,
    DECIDED,
    EFFECTS,
    FINISHED,
    VOTES,
    BALLOTS,
    RESOLVED,
    OBSERVED,
    REPLIES,
    STREAM,
    CONTROL,
    FLEET,
    DEADLETTERS,
)
"""Every topic but the groups' own state topics."""

BY_NAME: dict[str, Topic] = {topic.name: topic for topic in CATALOGUE}


def state_topic(group: str) -> str:
    """The compacted topic of a group's tables and progress; its partition number is the lease's."""
    return f"state.{group}"
