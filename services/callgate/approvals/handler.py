"""The approvals handler: votes become ballots, ballots are counted, and a result becomes a decision.

A deadline is a durable timer that sends `DeadlinePassed` through the entrance, from where it comes to the ballots as
`ApprovalDue` (`closing`); only reading that there ends the approval, so that a vote which the log holds before it is
counted before it. Reminders and escalations come by a second timer, which is set for the next of them when the one
before has been read: so they stay in order, and after a downtime all that are overdue follow each other at once. The
deadline depends on none of them.
"""

from __future__ import annotations

from callgate.approvals import closing, schedule
from callgate.approvals import tally as counting
from callgate.approvals.intake import ballot
from callgate.approvals.resolving import decided, resolution_effects
from callgate.approvals.state import changes, forgotten, load
from callgate.approvals.tally import Tally
from callgate.events import topics
from callgate.events.approvals import ApprovalDue, ApprovalRequested, ApprovalVoted, BallotCast, DeadlinePassed
from callgate.events.codec import Envelope
from callgate.events.event import Event
from callgate.failures import PermanentFailure
from callgate.log.port import Record
from callgate.settings import ApprovalSettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.effects import NOTHING, Context, Effects, Publish, Timer

FORWARDING_SECONDS = 0.5
"""How long after a deadline its timer waits: the log's clock, which stamps the votes, may be behind this host's."""

_DUE = "due/"
_NEXT = "next/"
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
            case ApprovalVoted() | DeadlinePassed():
                return f"vote/{event.approval_id}"  # one lane: a deadline must not overtake a vote
            case ApprovalRequested() | BallotCast() | ApprovalDue():
                return event.approval_id
            case _:
                return f"{record.topic}/{record.offset}"

    def tenant(self, event: Event) -> str:
        """The action's tenant; votes say of none, so each voter is given a share of their own."""
        match event:
            case ApprovalRequested():
                return event.action.ref.tenant
            case ApprovalVoted():
                return f"votes of {event.approver}"
            case DeadlinePassed():
                return "deadlines at the entrance"
            case _:
                return ""

    async def handle(self, envelope: Envelope, context: Context) -> Effects:
        """One vote, question, ballot or moment."""
        match envelope.event:
            case ApprovalVoted() as vote:
                return self._cast(vote, context)
            case DeadlinePassed() as passed:
                return self._pass_on(passed, context)
            case ApprovalRequested() | BallotCast() | ApprovalDue() as event:
                return self._count(event, context)
            case _:
                return NOTHING

    async def on_timer(self, key: str, context: Context) -> Effects:
        """A deadline sets out for the ballots, a reminder or level goes there; what is too old is forgotten."""
        if key.startswith(_FORGET):
            return Effects(put=forgotten(key.removeprefix(_FORGET)))
        approval_id = key.removeprefix(_NEXT).removeprefix(_DUE)
        tally = load(context.table, approval_id)
        if tally.request is None or tally.result is not None:
            return NOTHING
        if key.startswith(_NEXT):
            coming = schedule.moments(tally.request)[tally.announced :]
            return Effects(publish=tuple(Publish(schedule.due(tally.request, each)) for each in coming[:1]))
        deadline = tally.request.deadline
        passed = DeadlinePassed(approval_id=approval_id, deadline=deadline)
        again = Timer(key, approval_id, closing.again_at(deadline, context.clock.now()))
        return Effects(publish=(Publish(passed),), timers=(again,))

    async def on_dead(self, envelope: Envelope, context: Context, reason: str) -> Effects:  # noqa: ARG002 - the port's
        """A question that can't be put, or can't be ended, ends as unanswered, or its action would wait for ever.

        A vote or ballot that can't be read changes nothing: its approval still has its deadline.
        """
        match envelope.event:
            case ApprovalRequested(kind="action") as request:
                known = load(context.table, request.approval_id)
                if known.request is not None:
                    return NOTHING
            case ApprovalDue(kind="deadline") as moment:
                known = load(context.table, moment.approval_id)
                if known.request is None:
                    return NOTHING
                request = known.request
            case _:
                return NOTHING
        if known.result is not None:
            return NOTHING
        result = counting.Result(resolution="expired", resolved_at=max(request.requested_at, context.clock.now()))
        put_out = Publish(decided(request, result, self._settings.valid_seconds))
        return Effects(publish=(put_out,), timers=(_forget(request, context),))

    def _cast(self, vote: ApprovalVoted, context: Context) -> Effects:
        if context.delivered is None:
            raise PermanentFailure("a vote without its record")
        cast = ballot(vote, context.delivered, trusted=self._settings.trusted, partitions=context.partitions)
        return Effects(publish=(Publish(cast),))

    def _pass_on(self, passed: DeadlinePassed, context: Context) -> Effects:
        if context.delivered is None:
            raise PermanentFailure("a deadline at the entrance without its record")
        onward = closing.passed_on(passed, context.delivered, context.partitions)
        return NOTHING if onward is None else Effects(publish=(onward,))

    def _count(self, event: ApprovalRequested | BallotCast | ApprovalDue, context: Context) -> Effects:
        if isinstance(event, ApprovalRequested) and event.kind != "action":
            raise PermanentFailure(f"an approval of kind {event.kind} can't be answered by this version")
        before = load(context.table, event.approval_id)
        if isinstance(event, BallotCast) and counting.crowded(before):
            raise PermanentFailure("too many votes wait for a question that nobody has asked")
        after = _applied(before, event)
        if after is before:
            return NOTHING
        put = changes(event.approval_id, before, after)
        timers = _timers(event, before, after, context)
        publish = _announced(before, after)
        if after.result is None or before.result is not None or after.request is None:
            return Effects(publish=publish, put=put, timers=timers)
        waited = after.result.resolved_at - after.request.requested_at
        self._metrics.approval_resolved(after.result.resolution, waited)
        return Effects(
            publish=(*publish, *resolution_effects(after.request, after.result, self._settings.valid_seconds)),
            put=put,
            timers=(_forget(after.request, context),),
            cancel=(f"{_DUE}{event.approval_id}", f"{_NEXT}{event.approval_id}"),
        )


def _announced(before: Tally, after: Tally) -> tuple[Publish, ...]:
    """Every reminder and level that this record has brought, in order."""
    if after.request is None:
        return ()
    come = schedule.moments(after.request)[before.announced : after.announced]
    return tuple(Publish(schedule.announcement(after.request, each)) for each in come)


def _applied(tally: Tally, event: ApprovalRequested | BallotCast | ApprovalDue) -> Tally:
    match event:
        case ApprovalRequested():
            return counting.requested(tally, event)
        case BallotCast():
            return counting.cast(tally, event)
        case ApprovalDue():
            return counting.due(tally, event)


def _timers(event: Event, before: Tally, after: Tally, context: Context) -> tuple[Timer, ...]:
    now = context.clock.now()
    match event:
        case ApprovalRequested(approval_id=lane, deadline=deadline):
            return (
                Timer(f"{_DUE}{lane}", lane, deadline + FORWARDING_SECONDS),
                *_next(event, after),
            )
        case BallotCast(approval_id=lane) if after.request is None:
            return (Timer(f"{_FORGET}{lane}", lane, now + topics.IDENTITY_WINDOW),)
        case ApprovalDue() if after.request is not None and after.announced > before.announced:
            return _next(after.request, after)
        case _:
            return ()


def _forget(request: ApprovalRequested, context: Context) -> Timer:
    """Set when the approval ends: what is open is not forgotten, and needs no timer for it."""
    lane = request.approval_id
    return Timer(f"{_FORGET}{lane}", lane, max(context.clock.now(), request.deadline) + topics.IDENTITY_WINDOW)


def _next(request: ApprovalRequested, after: Tally) -> tuple[Timer, ...]:
    """The timer of the next reminder or level, if there is one."""
    coming = schedule.moments(request)[after.announced :]
    lane = request.approval_id
    return tuple(Timer(f"{_NEXT}{lane}", lane, each.at) for each in coming[:1])
