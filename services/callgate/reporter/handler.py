"""The reporter's handler: one record, its reports, and a note that they were made.

Reports go out before the note is committed, so that a crash repeats a report rather than losing it. The outcome goes
first, because BIGHUB merges repeats of it, and ingestion, which it does not, goes last, next to the commit. A report
that BIGHUB will never take is a dead letter: it holds up nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from callgate.bighub import queue
from callgate.bighub.requests import OutcomeReport
from callgate.events import topics
from callgate.events.actions import ActionFinished, ActionInDoubt
from callgate.events.approvals import ApprovalResolved
from callgate.events.codec import Envelope
from callgate.events.event import Event
from callgate.events.outcomes import OutcomeObserved
from callgate.events.routing import address
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.log.port import Record
from callgate.reporter import life, mirroring
from callgate.reporter.batching import Batcher
from callgate.telemetry.metrics import Metrics
from callgate.worker.effects import NOTHING, Context, DeadLettered, Effects, Publish, Timer

KEPT_SECONDS = topics.IDENTITY_WINDOW
"""How long it is remembered what was reported, and under which request id an action's outcomes go."""

ENDING_SECONDS = 3600.0
"""How long an observed outcome waits for its action's end to be reported; then it goes by reference alone."""


MIRROR_SECONDS = 7 * topics.DAY
"""How old an answer may be to be told BIGHUB's queue still; after that nobody waits for it there."""


class Reports(Protocol):
    """What the reporter needs of BIGHUB."""

    async def report_outcome(self, report: OutcomeReport) -> None:
        """Report what became of a decision."""
        ...

    async def reconcile(self, *, external_ref: str, outcome: Mapping[str, object]) -> None:
        """Report an outcome that is known only under an outside reference."""
        ...

    async def resolve_approval(self, request_id: str, answer: queue.Answer, comment: str) -> bool:
        """Tell its own queue; False where it has nothing open there."""
        ...


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """That an action's end was reported, for the outcomes that are seen later."""

    tenant: str
    request_id: str = ""
    """BIGHUB's id of the decision; empty where BIGHUB decided nothing."""


class ReportHandler:
    """See `worker.effects.Handler`."""

    def __init__(self, bighub: Reports, batcher: Batcher, metrics: Metrics) -> None:
        """`batcher` sends ingestion events of many lanes together."""
        self._bighub = bighub
        self._batcher = batcher
        self._metrics = metrics

    def lane(self, event: Event, record: Record) -> str:
        """The action, whose life is told in order; what was observed may wait for that, in a lane of its own."""
        match event:
            case ActionFinished() | ActionInDoubt():
                return event.action.ref.id
            case OutcomeObserved():
                return f"observed/{event.tenant}/{event.outcome_id}"
            case ApprovalResolved():
                return f"mirrored/{event.approval_id}"
            case _:
                return f"{record.topic}/{record.offset}"

    def tenant(self, event: Event) -> str:
        """The action's or the observer's tenant."""
        match event:
            case ActionFinished() | ActionInDoubt():
                return event.action.ref.tenant
            case OutcomeObserved():
                return event.tenant
            case ApprovalResolved():
                return event.action.tenant
            case _:
                return ""

    async def handle(self, envelope: Envelope, context: Context) -> Effects:
        """Report one end, doubt or observation, unless the table says that it was."""
        match envelope.event:
            case ActionFinished() as event:
                return await self._finished(event, context)
            case ActionInDoubt() as event:
                return await self._doubted(event, context)
            case OutcomeObserved() as event:
                return await self._observed(event, context)
            case ApprovalResolved() as event:
                return await self._mirrored(event, context)
            case _:
                return NOTHING

    async def on_timer(self, key: str, context: Context) -> Effects:  # noqa: ARG002 - the port's
        """Forget what is older than the identity window; the timer's key is the table's."""
        return Effects(put={key: None})

    async def on_dead(self, envelope: Envelope, context: Context, reason: str) -> Effects:  # noqa: ARG002 - the port's
        """A report that can't be made ends as a dead letter; no action waits for it."""
        return NOTHING

    async def _finished(self, event: ActionFinished, context: Context) -> Effects:
        key = f"reported/{event.action.ref.id}"
        if context.table.get(key) is not None:
            return NOTHING
        refused: DeadLettered | None = None
        report = life.outcome_of(event)
        if report is not None:
            try:
                await self._bighub.report_outcome(report)
            except PermanentFailure as failure:
                refused = DeadLettered(failure.reason)
            else:
                self._metrics.reported("outcome")
        await self._ingest(life.finished_events(event))
        note = Note(tenant=event.action.ref.tenant, request_id=event.decision.request_id or "")
        return _remembered(key, msgspec.json.encode(note), context, refused)

    async def _doubted(self, event: ActionInDoubt, context: Context) -> Effects:
        key = f"doubted/{event.action.ref.id}"
        if context.table.get(key) is not None:
            return NOTHING
        await self._ingest(life.doubt_events(event))
        return _remembered(key, b"{}", context)

    async def _observed(self, event: OutcomeObserved, context: Context) -> Effects:
        if not (event.action_id or event.request_id or event.external_ref):
            raise PermanentFailure("the outcome names no action: give action_id, request_id or external_ref")
        try:
            home = address(event, context.partitions)
        except ValueError as error:
            raise PermanentFailure(f"the outcome names an action that is not of this log: {error}") from error
        if home.partition != context.lease:
            return Effects(publish=(Publish(event),))
        key = f"observed/{event.tenant}/{event.outcome_id}"
        if context.table.get(key) is not None:
            return NOTHING
        await self._report_observed(event, context)
        self._metrics.reported("observed")
        return _remembered(key, b"{}", context)

    async def _mirrored(self, event: ApprovalResolved, context: Context) -> Effects:
        key = f"mirrored/{event.approval_id}"
        answer = mirroring.answer_of(event)
        if answer is None or event.request_id is None or context.table.get(key) is not None:
            return NOTHING
        if context.clock.now() - event.resolved_at > MIRROR_SECONDS:
            return NOTHING
        try:
            taken = await self._bighub.resolve_approval(event.request_id, answer, mirroring.comment_of(event))
        except PermanentFailure as failure:
            return _remembered(key, b"{}", context, DeadLettered(failure.reason))
        self._metrics.reported("approval" if taken else "approval_closed")
        return _remembered(key, b"{}", context)

    async def _report_observed(self, event: OutcomeObserved, context: Context) -> None:
        request_id = event.request_id
        reference = event.external_ref
        if event.action_id is not None:
            request_id, reference = _request_of(event, event.action_id, context), event.action_id
        if request_id:
            await self._bighub.report_outcome(life.observed_report(event, request_id))
        elif reference:
            await self._bighub.reconcile(external_ref=reference, outcome=life.observed_outcome(event))

    async def _ingest(self, entries: Sequence[dict[str, Any]]) -> None:
        await self._batcher.add(entries)
        self._metrics.reported("ingest", len(entries))


def _request_of(event: OutcomeObserved, action_id: str, context: Context) -> str | None:
    """The request id under which the action's end was reported. An observer may be quicker than that report."""
    kept = context.table.get(f"reported/{action_id}")
    if kept is None:
        if context.clock.now() - context.first_tried < ENDING_SECONDS:
            raise TemporaryFailure("the end of the action is not reported yet")
        return event.request_id
    note = msgspec.json.decode(kept, type=Note)
    if note.tenant != event.tenant:
        raise PermanentFailure("the outcome names an action of another tenant")
    return note.request_id or event.request_id


def _remembered(key: str, value: bytes, context: Context, dead: DeadLettered | None = None) -> Effects:
    due = context.clock.now() + KEPT_SECONDS
    return Effects(put={key: value}, timers=(Timer(key, key, due),), dead=dead)
