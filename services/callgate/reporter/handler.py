"""The reporter's handler: one record, its reports, and a note that they were made.

Reports go out before the note is committed, so that a crash repeats a report rather than losing it; repeats carry the same
references. A report that BIGHUB will never take is a dead letter: it holds up nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from callgate.bighub.requests import OutcomeReport
from callgate.events import topics
from callgate.events.actions import ActionFinished, ActionInDoubt
from callgate.events.codec import Envelope
from callgate.events.event import Event
from callgate.events.outcomes import OutcomeObserved
from callgate.events.routing import address
from callgate.failures import PermanentFailure
from callgate.log.port import Record
from callgate.reporter import life
from callgate.reporter.batching import Batcher
from callgate.telemetry.metrics import Metrics
from callgate.worker.effects import NOTHING, Context, Effects, Publish, Timer

KEPT_SECONDS = topics.IDENTITY_WINDOW
"""How long it is remembered what was reported, and under which request id an action's outcomes go."""


class Reports(Protocol):
    """What the reporter needs of BIGHUB."""

    async def report_outcome(self, report: OutcomeReport) -> None:
        """Report what became of a decision."""
        ...

    async def reconcile(self, *, external_ref: str, outcome: dict[str, Any]) -> None:
        """Report an outcome that is known only under an outside reference."""
        ...


class ReportHandler:
    """See `worker.effects.Handler`."""

    def __init__(self, bighub: Reports, batcher: Batcher, metrics: Metrics) -> None:
        """`batcher` sends ingestion events of many lanes together."""
        self._bighub = bighub
        self._batcher = batcher
        self._metrics = metrics

    def lane(self, event: Event, record: Record) -> str:
        """The action: what happened to it is told in order."""
        match event:
            case ActionFinished() | ActionInDoubt():
                return event.action.ref.id
            case OutcomeObserved():
                return event.action_id or event.request_id or event.external_ref or event.outcome_id
            case _:
                return f"{record.topic}/{record.offset}"

    def tenant(self, event: Event) -> str:
        """The action's or the observer's tenant."""
        match event:
            case ActionFinished() | ActionInDoubt():
                return event.action.ref.tenant
            case OutcomeObserved():
                return event.tenant
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
            case _:
                return NOTHING

    async def on_timer(self, key: str, context: Context) -> Effects:  # noqa: ARG002 - part of the port
        """Forget what is older than the identity window; the timer's key is the table's."""
        return Effects(put={key: None})

    async def on_dead(self, envelope: Envelope, context: Context, reason: str) -> Effects:  # noqa: ARG002 - part of the port
        """A report that can't be made ends as a dead letter; no action waits for it."""
        return NOTHING

    async def _finished(self, event: ActionFinished, context: Context) -> Effects:
        key = f"reported/{event.action.ref.id}"
        if context.table.get(key) is not None:
            return NOTHING
        entries = life.finished_events(event)
        await self._ingest(entries)
        report = life.outcome_of(event)
        if report is not None:
            await self._bighub.report_outcome(report)
            self._metrics.reported("outcome", 1)
        request_id = event.decision.request_id or ""
        return _remember(key, request_id.encode(), context)

    async def _doubted(self, event: ActionInDoubt, context: Context) -> Effects:
        key = f"doubted/{event.action.ref.id}"
        if context.table.get(key) is not None:
            return NOTHING
        await self._ingest(life.doubt_events(event))
        return _remember(key, b"", context)

    async def _observed(self, event: OutcomeObserved, context: Context) -> Effects:
        if event.action_id is None and event.request_id is None and event.external_ref is None:
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
        request_id = event.request_id or self._request_of(event, context)
        if request_id is not None:
            await self._bighub.report_outcome(life.observed_report(event, request_id))
        else:
            reference = event.external_ref or f"{event.action_id}.action_executed"
            await self._bighub.reconcile(external_ref=reference, outcome=life.observed_outcome(event))
        self._metrics.reported("observed", 1)
        return _remember(key, b"", context)

    def _request_of(self, event: OutcomeObserved, context: Context) -> str | None:
        """The request id under which the action's end was reported; an outcome may come before it, or after years."""
        if event.action_id is None:
            return None
        noted = context.table.get(f"reported/{event.action_id}")
        return noted.decode() if noted else None

    async def _ingest(self, entries: Sequence[dict[str, Any]]) -> None:
        await self._batcher.add(entries)
        self._metrics.reported("ingest", len(entries))


def _remember(key: str, value: bytes, context: Context) -> Effects:
    due = context.clock.now() + KEPT_SECONDS
    return Effects(put={key: value}, timers=(Timer(key, key, due),))
