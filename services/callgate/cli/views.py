"""The reading model of the command line: what a log says of actions and approvals. Pure folds over what was read.

Every step keeps its place (topic, partition, offset), so that whatever is shown can be found again on the log. The
checker does not use this: it judges for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from callgate.events import ids
from callgate.events.actions import ActionDecided, ActionFinished, ActionInDoubt, ActionProposed
from callgate.events.approvals import (
    ApprovalDue,
    ApprovalEscalated,
    ApprovalReminded,
    ApprovalRequested,
    ApprovalResolved,
    ApprovalVoted,
    BallotCast,
    DeadlinePassed,
)
from callgate.events.event import Event
from callgate.events.home import home
from callgate.events.outcomes import OutcomeObserved
from callgate.events.turns import ActionReply, AnswerAnnounced, TurnCompleted, TurnRecorded, TurnSubmitted
from callgate.tools.masking import MASK, mask

OPEN = ("proposed", "decided", "approval_required", "parked", "in_doubt")
"""Where an action that has not ended may stand, in the words of `actions list`."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event with its place."""

    topic: str
    partition: int
    offset: int
    at: float
    """When it was written, by its writer's clock; on entrances when the log appended it."""
    event: Event

    @property
    def place(self) -> str:
        """Topic, partition and offset as one word."""
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(slots=True)
class ActionLife:
    """One action, as far as the log tells."""

    id: str
    proposed: ActionProposed
    """Its last revision and attempt."""
    decided: ActionDecided | None = None
    """The last decision on it."""
    doubt: ActionInDoubt | None = None
    finished: ActionFinished | None = None
    parked: bool = False
    """Whether a service has put it aside to try again later."""

    @property
    def standing(self) -> str:
        """Its end, or where it stands without one."""
        if self.finished is not None:
            return self.finished.status
        if self.doubt is not None:
            return "in_doubt"
        if self.parked:
            return "parked"
        if self.decided is None or _rank(self.decided.action) < _rank(self.proposed):
            return "proposed"
        return "approval_required" if self.decided.decision.verdict == "review" else "decided"


@dataclass(slots=True)
class Question:
    """One question to people, as far as the log tells."""

    request: ApprovalRequested
    resolved: ApprovalResolved | None = None
    ballots: list[BallotCast] = field(default_factory=list)

    def time_left(self, now: float) -> float:
        """Seconds until the deadline; negative after it."""
        return self.request.deadline - now

    def standing(self, now: float) -> str:
        """`open`, how it was resolved, or `overdue`: the deadline has passed and nobody has counted yet."""
        if self.resolved is not None:
            return self.resolved.resolution
        return "open" if self.time_left(now) > 0 else "overdue"


def fold_actions(steps: Iterable[Step], parked: frozenset[str] = frozenset()) -> dict[str, ActionLife]:
    """Every action by its id, in the order in which they were first read. Repeats change nothing."""
    lives: dict[str, ActionLife] = {}
    later: list[Event] = []
    for step in steps:
        event = step.event
        if isinstance(event, ActionProposed):
            life = lives.setdefault(event.ref.id, ActionLife(event.ref.id, event))
            if _rank(event) > _rank(life.proposed):
                life.proposed = event
        else:
            later.append(event)
    for event in later:
        match event:
            case ActionDecided(action=action) | ActionInDoubt(action=action) | ActionFinished(action=action):
                # What proposed it may be past its retention: the later events carry the whole action.
                _note(lives.setdefault(action.ref.id, ActionLife(action.ref.id, action)), event)
            case _:
                continue
    for identifier in parked & lives.keys():
        lives[identifier].parked = True
    return lives


def fold_questions(steps: Iterable[Step]) -> dict[str, Question]:
    """Every question by its approval id."""
    read = [step.event for step in steps]
    questions: dict[str, Question] = {}
    for event in read:
        if isinstance(event, ApprovalRequested):
            questions.setdefault(event.approval_id, Question(event))
    for event in read:
        match event:
            case BallotCast() if event.approval_id in questions:
                questions[event.approval_id].ballots.append(event)
            case ApprovalResolved() if event.approval_id in questions:
                questions[event.approval_id].resolved = event
            case _:
                continue
    return questions


def subjects(event: Event, partitions: int) -> frozenset[str]:
    """The ids of the action, approval or turn that an event tells of: what `show` collects a life by."""
    match event:
        case TurnSubmitted(origin=origin) | TurnRecorded(origin=origin):
            at = home(origin.tenant, origin.session, partitions)
            return frozenset({ids.turn_key(at, origin.tenant, origin.session, origin.turn)})
        case TurnCompleted() | AnswerAnnounced():
            return frozenset({event.turn_key})
        case ActionProposed():
            return frozenset({event.ref.id})
        case ActionDecided() | ActionInDoubt() | ActionFinished():
            return frozenset({event.action.ref.id})
        case ApprovalRequested():
            return frozenset({event.approval_id, event.action.ref.id})
        case BallotCast() | ApprovalVoted() | DeadlinePassed() | ApprovalDue():
            return frozenset({event.approval_id})
        case ApprovalResolved() | ApprovalReminded() | ApprovalEscalated():
            return frozenset({event.approval_id, event.action.id})
        case ActionReply():
            return frozenset({event.action_id})
        case OutcomeObserved():
            return frozenset({name for name in (event.action_id, event.request_id) if name})
        case _:
            return frozenset()


def in_order(steps: Iterable[Step]) -> list[Step]:
    """The steps of one life as they happened; hosts' clocks differ, so equal times keep the order of the way."""
    return sorted(steps, key=lambda step: (step.at, _WAY.get(type(step.event), len(_WAY)), step.place))


def masked(action: ActionProposed) -> Any:
    """The arguments as eyes may see them; what can't be read is masked whole."""
    try:
        return mask(orjson.loads(bytes(action.arguments)), action.sensitive)
    except (orjson.JSONDecodeError, RecursionError):
        return MASK


def masked_fault(action: ActionProposed) -> Any:
    """The arguments of a call that came with a fault: a text that is no object can't be looked through."""
    arguments = masked(action)
    return arguments if action.fault is None or isinstance(arguments, dict) else MASK


def changed(question: Question, life: ActionLife | None) -> str | None:
    """Why answering has no sense any more although nobody has resolved it, or None."""
    if life is None:
        return None
    if life.finished is not None:
        return f"the action has ended meanwhile: {life.finished.status}"
    if _rank(life.proposed) > _rank(question.request.action):
        return "the action has changed since it was asked"
    return None


def counts(lives: Mapping[str, ActionLife]) -> dict[str, int]:
    """How many actions stand where."""
    found: dict[str, int] = {}
    for life in lives.values():
        found[life.standing] = found.get(life.standing, 0) + 1
    return dict(sorted(found.items()))


def _note(life: ActionLife, event: ActionDecided | ActionInDoubt | ActionFinished) -> None:
    match event:
        case ActionDecided():
            # A review of the same revision and attempt is only the first word on it.
            before = life.decided
            if before is None or _weight(event) >= _weight(before):
                life.decided = event
        case ActionInDoubt():
            life.doubt = life.doubt or event
        case ActionFinished():
            life.finished = life.finished or event


def _weight(decided: ActionDecided) -> tuple[int, int, bool]:
    return (*_rank(decided.action), decided.decision.verdict != "review")


def _rank(action: ActionProposed) -> tuple[int, int]:
    return action.ref.revision, action.ref.attempt


_WAY: dict[Any, int] = {
    kind: place
    for place, kind in enumerate(
        (
            TurnSubmitted,
            TurnRecorded,
            AnswerAnnounced,
            ActionProposed,
            ActionDecided,
            ApprovalRequested,
            ApprovalVoted,
            BallotCast,
            DeadlinePassed,
            ApprovalDue,
            ApprovalReminded,
            ApprovalEscalated,
            ApprovalResolved,
            ActionInDoubt,
            ActionFinished,
            ActionReply,
            TurnCompleted,
            OutcomeObserved,
        )
    )
}
