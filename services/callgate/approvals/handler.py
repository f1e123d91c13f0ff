"""The approvals handler: votes become ballots, ballots are counted, and a result becomes a decision.

A deadline is a durable timer that puts `ApprovalDue` among the ballots; only reading it there ends the approval, so that
a vote which the log holds before it is counted before it.
"""

from __future__ import annotations

import msgspec

from callgate.approvals import tally as counting
from callgate.approvals.intake import ballot
from callgate.approvals.resolving import resolution_effects
from callgate.approvals.tally import Tally
from callgate.events import topics
from callgate.events.approvals import ApprovalDue, ApprovalRequested, ApprovalVoted, BallotCast
from callgate.events.codec import Envelope
from callgate.events.event import Event
from callgate.failures import PermanentFailure
from callgate.log.port import Record
from callgate.settings import ApprovalSettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.effects import NOTHING, Context, Effects, Publish, Timer

_DUE = "due/"
_FORGET = "forget/"


class ApprovalHandler:
    """See `worker.effects.Handler`."""

    def __init__(self, settings: ApprovalSettings, metrics: Metrics) -> None:
        """`settings.trusted` decides what unsigned votes are worth."""
        self._settings = settings
        self._metrics = metrics

    def lane(self, event: Event, record: Record) -> str:
        """The approval, apart for votes at the entrance: what waits there must not hold up the counting."""
        match event:
            case ApprovalVoted():
                return f"vote/{event.approval_id}"
            case ApprovalRequested() | BallotCast() | ApprovalDue():
                return event.approval_id
            case _:
                return f"{record.topic}/{record.offset}"

    def tenant(self, event: Event) -> str:
        """The action's tenant; votes say of none, and share one place by approval."""
        match event:
            case ApprovalRequested():
                return event.action.ref.tenant
            case ApprovalVoted():
                return f"votes of {event.approver}"
            case _:
                return ""

    async def handle(self, envelope: Envelope, context: Context) -> Effects:
        """One vote, question, ballot or moment."""
        event = envelope.event
        if isinstance(event, ApprovalVoted):
            if context.delivered is None:
                raise PermanentFailure("a vote without its record")
            cast = ballot(event, context.delivered, trusted=self._settings.trusted, partitions=context.partitions)
            return Effects(publish=(Publish(cast),))
        if not isinstance(event, ApprovalRequested | BallotCast | ApprovalDue):
            return NOTHING
        before = load(context, event.approval_id)
        after = _applied(before, event)
        if after is before:
            return NOTHING
        timers = self._timers(event, context)
        put = {f"approval/{event.approval_id}": msgspec.json.encode(after)}
        if after.result is None or before.result is not None or after.request is None:
            return Effects(put=put, timers=timers)
        self._metrics.approval_resolved(after.result.resolution, after.result.resolved_at - after.request.requested_at)
        publish = resolution_effects(after.request, after.result, self._settings.valid_seconds)
        return Effects(publish=publish, put=put, timers=timers, cancel=(f"{_DUE}{event.approval_id}",))

    async def on_timer(self, key: str, context: Context) -> Effects:
        """A deadline takes its place among the ballots; what is older than the identity window is forgotten."""
        if key.startswith(_FORGET):
            return Effects(put={f"approval/{key.removeprefix(_FORGET)}": None})
        approval_id = key.removeprefix(_DUE)
        tally = load(context, approval_id)
        if tally.request is None or tally.result is not None:
            return NOTHING
        moment = ApprovalDue(approval_id=approval_id, kind="deadline", due_at=tally.request.deadline)
        return Effects(publish=(Publish(moment),))

    async def on_dead(self, envelope: Envelope, context: Context, reason: str) -> Effects:  # noqa: ARG002 - part of the port
        """A vote or ballot that can't be read changes nothing: its approval still has its deadline."""
        return NOTHING

    def _timers(self, event: Event, context: Context) -> tuple[Timer, ...]:
        now = context.clock.now()
        match event:
            case ApprovalRequested():
                lane = event.approval_id
                return (
                    Timer(f"{_DUE}{lane}", lane, event.deadline),
                    Timer(f"{_FORGET}{lane}", lane, max(now, event.deadline) + topics.IDENTITY_WINDOW),
                )
            case BallotCast():
                lane = event.approval_id
                return (Timer(f"{_FORGET}{lane}", lane, now + 2 * topics.IDENTITY_WINDOW),)
            case _:
                return ()


def load(context: Context, approval_id: str) -> Tally:
    """The tally so far."""
    kept = context.table.get(f"approval/{approval_id}")
    return Tally() if kept is None else msgspec.json.decode(kept, type=Tally)


def _applied(tally: Tally, event: ApprovalRequested | BallotCast | ApprovalDue) -> Tally:
    match event:
        case ApprovalRequested():
            return counting.requested(tally, event)
        case BallotCast():
            return counting.cast(tally, event)
        case ApprovalDue():
            return counting.due(tally, event)
