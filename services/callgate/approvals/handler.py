"""The approvals handler: votes become ballots, ballots are counted, and a result becomes a decision.

A deadline is a durable timer that puts `ApprovalDue` among the ballots; only reading it there ends the approval, so
that a vote which the log holds before it is counted before it.
"""

from __future__ import annotations

from callgate.approvals import tally as counting
from callgate.approvals.intake import ballot, hold_approval
from callgate.approvals.resolving import decided, resolution_effects
from callgate.approvals.state import changes, forgotten, load
from callgate.approvals.tally import Tally
from callgate.approvers.entrance import Entrance, SignedEntrance, TrustedEntrance
from callgate.clock import SystemClock
from callgate.events import topics
from callgate.events.approvals import ApprovalDue, ApprovalRequested, ApprovalVoted, BallotCast
from callgate.events.codec import Envelope
from callgate.events.event import Event
from callgate.failures import PermanentFailure
from callgate.log.port import Record
from callgate.settings import ApprovalSettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.effects import NOTHING, Context, Effects, Publish, Timer

FORWARDING_SECONDS = 0.5
"""How long after a deadline its timer waits: a vote in time may still be on its way from entrance to ballots."""

UNKNOWN = "votes of nobody known"
"""The share of the worker that all votes have together whose sender is not known, or that were refused."""

COUNTING = "counting"
"""The share of the worker that counting has: not that of what nobody can read, which junk fills as well."""

_DUE = "due/"
_FORGET = "forget/"


class ApprovalHandler:
    """See `worker.effects.Handler`."""

    def __init__(self, settings: ApprovalSettings, metrics: Metrics, entrance: Entrance | None = None) -> None:
        """`entrance` says what votes are worth. Without one `settings.trusted` does: all of them, or none."""
        self._settings = settings
        self._metrics = metrics
        closed = SignedEntrance(settings.audience, SystemClock())
        self._entrance = entrance or (TrustedEntrance() if settings.trusted else closed)

    def lane(self, event: Event, record: Record) -> str:
        """The approval. Votes at the entrance, and those refused there, are apart: neither may hold up the counting.

        Votes keep their order as far as the entrance has queues for them.
        """
        match event:
            case ApprovalVoted():
                queue = self._entrance.queue(event)
                return f"{record.topic}/{record.offset}" if queue is None else f"vote/{event.approval_id}/{queue}"
            case BallotCast(verification="refused"):
                return f"{record.topic}/{record.offset}"
            case ApprovalRequested() | BallotCast() | ApprovalDue():
                return event.approval_id
            case _:
                return f"{record.topic}/{record.offset}"

    def tenant(self, event: Event) -> str:
        """The action's tenant; votes say of none, so each sender that is known has a share, and all others have one.

        So junk, under however many names and about however many approvals, takes no more than one sender's share.
        """
        match event:
            case ApprovalRequested():
                return event.action.ref.tenant
            case ApprovalVoted():
                sender = self._entrance.sender(event)
                return UNKNOWN if sender is None or not self._entrance.known(sender) else f"votes of {sender}"
            case BallotCast(verification="refused"):
                return UNKNOWN
            case BallotCast() | ApprovalDue():
                return COUNTING
            case _:
                return ""

    async def handle(self, envelope: Envelope, context: Context) -> Effects:
        """One vote, question, ballot or moment."""
        match envelope.event:
            case ApprovalVoted() as vote:
                return await self._cast(vote, context)
            case BallotCast(verification="refused"):
                # It is evidence where it stands. The tally needs no copy, least of all of junk about what nobody asked.
                return NOTHING
            case ApprovalRequested() | BallotCast() | ApprovalDue() as event:
                return self._count(event, context)
            case _:
                return NOTHING

    async def on_timer(self, key: str, context: Context) -> Effects:
        """A deadline takes its place among the ballots; what is older than the identity window is forgotten."""
        if key.startswith(_FORGET):
            return Effects(put=forgotten(key.removeprefix(_FORGET)))
        approval_id = key.removeprefix(_DUE)
        tally = load(context.table, approval_id)
        if tally.request is None or tally.result is not None:
            return NOTHING
        moment = ApprovalDue(approval_id=approval_id, kind="deadline", due_at=tally.request.deadline)
        return Effects(publish=(Publish(moment),))

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
        return Effects(publish=(Publish(decided(request, result, self._settings.valid_seconds)),))

    async def _cast(self, vote: ApprovalVoted, context: Context) -> Effects:
        if context.delivered is None:
            raise PermanentFailure("a vote without its record")
        hold_approval(vote, context.partitions)
        verdict = await self._entrance.judge(vote, context.delivered)
        self._metrics.vote_judged(verdict.verification)
        return Effects(publish=(Publish(ballot(vote, context.delivered, verdict)),))

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
        timers = _timers(event, after, context)
        if after.result is None or before.result is not None or after.request is None:
            return Effects(put=put, timers=timers)
        waited = after.result.resolved_at - after.request.requested_at
        self._metrics.approval_resolved(after.result.resolution, waited)
        return Effects(
            publish=resolution_effects(after.request, after.result, self._settings.valid_seconds),
            put=put,
            timers=tuple(timer for timer in timers if not timer.key.startswith(_DUE)),
            cancel=(f"{_DUE}{event.approval_id}",),
        )


def _applied(tally: Tally, event: ApprovalRequested | BallotCast | ApprovalDue) -> Tally:
    match event:
        case ApprovalRequested():
            return counting.requested(tally, event)
        case BallotCast():
            return counting.cast(tally, event)
        case ApprovalDue():
            return counting.due(tally, event)


def _timers(event: Event, after: Tally, context: Context) -> tuple[Timer, ...]:
    now = context.clock.now()
    match event:
        case ApprovalRequested(approval_id=lane, deadline=deadline):
            return (
                Timer(f"{_DUE}{lane}", lane, deadline + FORWARDING_SECONDS),
                Timer(f"{_FORGET}{lane}", lane, max(now, deadline) + topics.IDENTITY_WINDOW),
            )
        case BallotCast(approval_id=lane) if after.request is None:
            return (Timer(f"{_FORGET}{lane}", lane, now + topics.IDENTITY_WINDOW),)
        case _:
            return ()
