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
from callgate.approvals.ballots import Result, Tally, unchecked
from callgate.approvals.intake import ballot, evidence, hold_approval
from callgate.approvals.resolving import decided, resolution_effects
from callgate.approvals.revising import checked
from callgate.approvals.state import changes, forgotten, load
from callgate.approvers.entrance import Entrance, SignedEntrance, TrustedEntrance
from callgate.clock import SystemClock
from callgate.events import topics
from callgate.events.approvals import ApprovalDue, ApprovalRequested, ApprovalVoted, BallotCast, DeadlinePassed
from callgate.events.codec import Envelope
from callgate.events.event import Event
from callgate.failures import PermanentFailure
from callgate.log.port import Record
from callgate.settings import ApprovalSettings
from callgate.telemetry.metrics import Metrics
from callgate.tools.toolbox import Toolbox
from callgate.worker.effects import NOTHING, Context, DeadLettered, Effects, Publish, Timer

FORWARDING_SECONDS = 0.5
"""How long after a deadline its timer waits: the log's clock, which stamps the votes, may be behind this host's."""

EARLY_SECONDS = topics.DAY
"""How long votes wait for their question: who votes has seen it, so it is there, or nobody has ever asked."""

UNKNOWN = "votes of nobody known"
"""The share of the worker that all votes have together whose sender is not known, or that were refused."""

COUNTING = "counting"
"""The share of the worker that counting has: not that of what nobody can read, which junk fills as well."""

_DUE = "due/"
_NEXT = "next/"
_FORGET = "forget/"


class ApprovalHandler:
    """See `worker.effects.Handler`."""

    def __init__(
        self,
        settings: ApprovalSettings,
        metrics: Metrics,
        entrance: Entrance | None = None,
        toolbox: Toolbox | None = None,
    ) -> None:
        """`entrance` says what votes are worth. Without one `settings.trusted` does: all of them, or none.

        `toolbox` is what edits are checked against; without it every edit is refused.
        """
        self._toolbox = toolbox
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
            case DeadlinePassed():
                # Behind the votes of a trusted entrance. Behind signed ones it can't stand: junk under anybody's key
                # would hold it up. They are picked up before it, and what takes no time to prove is ahead of it.
                return f"vote/{event.approval_id}/"
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
            case DeadlinePassed():
                return "deadlines at the entrance"
            case ApprovalDue(kind="deadline"):
                # Anybody can send one on its way, and where it comes from does not show any more.
                return "deadlines"
            case BallotCast() | ApprovalDue():
                return COUNTING
            case _:
                return ""

    async def handle(self, envelope: Envelope, context: Context) -> Effects:
        """One vote, question, ballot or moment."""
        match envelope.event:
            case ApprovalVoted() as vote:
                return await self._cast(vote, context)
            case DeadlinePassed() as passed:
                return self._pass_on(passed, context)
            case BallotCast(verification="refused"):
                # It is evidence where it stands. The tally needs no copy, least of all of junk about what nobody asked.
                return NOTHING
            case ApprovalRequested() | BallotCast() | ApprovalDue() as event:
                return self._count(event, context)
            case _:
                return NOTHING

    async def on_timer(self, key: str, context: Context) -> Effects:
        """A deadline sets out for the ballots, a reminder or level goes there; what is too old is forgotten."""
        approval_id = key.removeprefix(_FORGET).removeprefix(_NEXT).removeprefix(_DUE)
        tally = load(context.table, approval_id)
        if key.startswith(_FORGET):
            return NOTHING if _needed(tally, context) else Effects(put=forgotten(approval_id))
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
        result = Result(resolution="expired", resolved_at=max(request.requested_at, context.clock.now()))
        put_out = Publish(decided(request, result, self._settings))
        return Effects(publish=(put_out,), timers=(_forget(request, context),))

    async def _cast(self, vote: ApprovalVoted, context: Context) -> Effects:
        if context.delivered is None:
            raise PermanentFailure("a vote without its record")
        hold_approval(vote, context.partitions)
        verdict = await self._entrance.judge(vote, context.delivered)
        self._metrics.vote_judged(verdict.verification)
        return Effects(publish=(Publish(ballot(vote, context.delivered, verdict)),))

    def _pass_on(self, passed: DeadlinePassed, context: Context) -> Effects:
        if context.delivered is None:
            raise PermanentFailure("a deadline at the entrance without its record")
        onward = closing.passed_on(passed, context.delivered, context.partitions)
        return NOTHING if onward is None else Effects(publish=(onward,))

    def _count(self, event: ApprovalRequested | BallotCast | ApprovalDue, context: Context) -> Effects:
        before = load(context.table, event.approval_id)
        if isinstance(event, BallotCast) and counting.crowded(before, event):
            # A dead letter of its sender's making: it must not pull the brake, as a failure would, for all the others.
            return Effects(dead=DeadLettered("too many votes wait for a question that nobody has asked"))
        if isinstance(event, BallotCast) and unchecked(event) and before.request is not None:
            return Effects(publish=self._checked(event, before, before.request))
        after = _applied(before, event)
        if after is before:
            return NOTHING
        put = changes(event.approval_id, before, after)
        timers = _timers(event, before, after, context)
        publish = (*_announced(before, after), *self._checks(event, before, after))
        if after.result is None or before.result is not None or after.request is None:
            return Effects(publish=publish, put=put, timers=timers)
        waited = after.result.resolved_at - after.request.requested_at
        self._metrics.approval_resolved(after.result.resolution, waited)
        return Effects(
            publish=(*publish, *resolution_effects(after.request, after.result, self._settings)),
            put=put,
            timers=(_forget(after.request, context),),
            cancel=(f"{_DUE}{event.approval_id}", f"{_NEXT}{event.approval_id}"),
        )

    def _checks(self, event: Event, before: Tally, after: Tally) -> tuple[Publish, ...]:
        """The edits that came before their question, each to be counted once it is checked."""
        if not isinstance(event, ApprovalRequested) or before.request is not None:
            return ()
        found = [self._checked(each, after, event) for each in before.early if unchecked(each)]
        return tuple(publish for each in found for publish in each)

    def _checked(self, ballot: BallotCast, tally: Tally, request: ApprovalRequested) -> tuple[Publish, ...]:
        """The edit as it may be counted, or as evidence. Only what may count runs what its tool declares of a call.

        What is said again is said no third time: anybody can write a vote again that they have read.
        """
        if counting.known(tally, ballot):
            return ()
        refusal = counting.hopeless(tally, request, ballot)
        return (Publish(checked(ballot, request, self._toolbox) if refusal is None else evidence(ballot, refusal)),)


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
            return (Timer(f"{_FORGET}{lane}", lane, now + EARLY_SECONDS),)
        case ApprovalDue() if after.request is not None and after.announced > before.announced:
            return _next(after.request, after)
        case _:
            return ()


def _forget(request: ApprovalRequested, context: Context) -> Timer:
    """Set when the approval ends: what is open is not forgotten, and needs no timer for it."""
    lane = request.approval_id
    return Timer(f"{_FORGET}{lane}", lane, max(context.clock.now(), request.deadline) + topics.IDENTITY_WINDOW)


def _needed(tally: Tally, context: Context) -> bool:
    """Whether an approval is open whose early votes were to be forgotten. Its own end sets the time anew."""
    request = tally.request
    if request is None or tally.result is not None:
        return False
    return context.clock.now() < request.deadline + topics.IDENTITY_WINDOW


def _next(request: ApprovalRequested, after: Tally) -> tuple[Timer, ...]:
    """The timer of the next reminder or level, if there is one."""
    coming = schedule.moments(request)[after.announced :]
    lane = request.approval_id
    return tuple(Timer(f"{_NEXT}{lane}", lane, each.at) for each in coming[:1])
