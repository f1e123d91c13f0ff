"""Where each event goes: one function, so that no writer chooses a partition or key by itself."""

from __future__ import annotations

from dataclasses import dataclass

from callgate.events import actions, approvals, control, ids, outcomes, topics, turns
from callgate.events.event import Event
from callgate.events.home import home, spread


@dataclass(frozen=True, slots=True)
class Address:
    """A place on the log."""

    topic: str
    partition: int
    key: str
    """The record's key: what compaction and outside consumers group by."""


def address(event: Event, partitions: int) -> Address:  # noqa: C901, PLR0912 - one case per family reads as a table
    """The address of an event on a log with `partitions` partitions. Raises ValueError for a forged id."""
    match event:
        case turns.TurnSubmitted() | turns.TurnRecorded():
            origin = event.origin
            return Address(topics.TURNS.name, home(origin.tenant, origin.session, partitions), origin.session)
        case turns.AnswerAnnounced():
            return Address(topics.TURNS.name, _located(event.turn_key, partitions), event.turn_key)
        case actions.ActionProposed():
            return Address(topics.PROPOSED.name, _located(event.ref.id, partitions), event.ref.id)
        case actions.ActionDecided():
            return Address(topics.DECIDED.name, _located(event.action.ref.id, partitions), event.action.ref.id)
        case actions.ActionInDoubt() | actions.ActionFinished():
            return Address(topics.FINISHED.name, _located(event.action.ref.id, partitions), event.action.ref.id)
        case approvals.ApprovalVoted():
            return Address(topics.VOTES.name, _located(event.approval_id, partitions), event.approval_id)
        case approvals.DeadlinePassed():
            return Address(topics.VOTES.name, 0, event.approval_id)  # where its way through the entrance begins
        case approvals.ApprovalRequested() | approvals.BallotCast() | approvals.ApprovalDue():
            return Address(topics.BALLOTS.name, _located(event.approval_id, partitions), event.approval_id)
        case approvals.ApprovalResolved() | approvals.ApprovalReminded() | approvals.ApprovalEscalated():
            return Address(topics.RESOLVED.name, _located(event.action.id, partitions), event.action.id)
        case outcomes.OutcomeObserved():
            return Address(topics.OBSERVED.name, _outcome_home(event, partitions), event.outcome_id)
        case turns.ActionReply() | turns.TurnCompleted():
            return Address(topics.REPLIES.name, _located(event.turn_key, partitions), event.session)
        case turns.ReplyStreamed():
            return Address(topics.STREAM.name, _located(event.turn_key, partitions), event.session)
        case control.ControlChanged():
            return Address(topics.CONTROL.name, 0, event.scope())
        case control.WorkerReported():
            return Address(topics.FLEET.name, 0, f"{event.service}/{event.member}")
        case _:
            message = f"no topic carries {type(event).__name__}"
            raise ValueError(message)


def effect_address(event: actions.ActionDecided, partitions: int) -> Address:
    """Where an action that declares an effect key is claimed: where every other action of that effect is."""
    key = event.action.effect_key
    if key is None:
        message = "the action declares no effect key"
        raise ValueError(message)
    tenant = event.action.ref.tenant
    return Address(topics.EFFECTS.name, spread((tenant, key), partitions), event.action.ref.id)


def ballot_partition(tenant: str, tool: str, partitions: int) -> int:
    """The partition of `approvals.ballots` where approvals for a tenant's tool are counted."""
    return spread((tenant, tool), partitions)


def _located(identifier: str, partitions: int) -> int:
    partition = ids.partition_of(identifier)
    if partition is None or partition >= partitions:
        message = f"{identifier!r} is not an id of a log with {partitions} partitions"
        raise ValueError(message)
    return partition


def _outcome_home(event: outcomes.OutcomeObserved, partitions: int) -> int:
    if event.action_id is not None:
        return _located(event.action_id, partitions)
    return spread((event.tenant, event.request_id or event.external_ref or ""), partitions)
