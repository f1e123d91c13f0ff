"""The notifier's handler: each notice to each channel, and a note of those that have it.

A notice goes out before the note is committed, so a crash repeats it rather than losing it; its id is the same then.
Channels do not wait for each other: what one has taken is noted, and only the others are tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from callgate.events import topics
from callgate.events.approvals import ApprovalEscalated, ApprovalReminded, ApprovalRequested, ApprovalResolved
from callgate.events.codec import Envelope
from callgate.events.event import Event
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.log.port import Record
from callgate.notifier.channels import Channel
from callgate.notifier.notice import Notice, notice_of
from callgate.telemetry.metrics import Metrics
from callgate.worker.effects import NOTHING, Context, DeadLettered, Effects, Timer

_TOLD = "told/"


class NotifyHandler:
    """See `worker.effects.Handler`."""

    def __init__(self, channels: Sequence[Channel], metrics: Metrics, *, patience_seconds: float) -> None:
        """What is older than `patience_seconds` is told no more, and so is what nobody took for so long."""
        self._channels = tuple(channels)
        self._metrics = metrics
        self._patience = patience_seconds

    def lane(self, event: Event, record: Record) -> str:  # noqa: ARG002 - the port's
        """The event: a repeat waits for the first, and no notice waits for another."""
        return event.identity()

    def tenant(self, event: Event) -> str:
        """The action's tenant."""
        match event:
            case ApprovalRequested():
                return event.action.ref.tenant
            case ApprovalReminded() | ApprovalEscalated() | ApprovalResolved():
                return event.action.tenant
            case _:
                return ""

    async def handle(self, envelope: Envelope, context: Context) -> Effects:
        """Tell one event to all channels that have not been told."""
        notice = notice_of(envelope.event)
        if notice is None:
            return NOTHING
        now = context.clock.now()
        key = f"{_TOLD}{notice.id}"
        kept = context.table.get(key)
        told = frozenset(msgspec.json.decode(kept, type=tuple[str, ...])) if kept is not None else frozenset()
        waiting = [channel for channel in self._channels if channel.id not in told]
        if not waiting or (notice.until is not None and now >= notice.until):
            return NOTHING
        if now - notice.at > self._patience:
            return Effects(dead=DeadLettered("nobody took the notice in time")) if context.attempt else NOTHING
        failures = await asyncio.gather(*(self._tell(channel, notice, now) for channel in waiting))
        new = {channel.id for channel, failure in zip(waiting, failures, strict=True) if failure is None}
        return _noted(key, told | new, failures, context, anew=bool(new))

    async def on_timer(self, key: str, context: Context) -> Effects:  # noqa: ARG002 - the port's
        """Forget who has been told; the timer's key is the table's."""
        return Effects(put={key: None})

    async def on_dead(self, envelope: Envelope, context: Context, reason: str) -> Effects:  # noqa: ARG002 - the port's
        """A notice that can't be given ends as a dead letter; no approval waits for it."""
        return NOTHING

    async def _tell(self, channel: Channel, notice: Notice, now: float) -> TemporaryFailure | PermanentFailure | None:
        try:
            await channel.send(notice, now)
        except TemporaryFailure as failure:
            self._metrics.notified(channel.kind, "failed")
            return failure
        except PermanentFailure as failure:
            self._metrics.notified(channel.kind, "refused")
            return failure
        self._metrics.notified(channel.kind, "sent")
        return None


def _noted(
    key: str,
    told: frozenset[str],
    failures: Sequence[TemporaryFailure | PermanentFailure | None],
    context: Context,
    *,
    anew: bool,
) -> Effects:
    """What one round leaves. Who was told is committed before a failure sends the record back to its lane."""
    later = [failure for failure in failures if isinstance(failure, TemporaryFailure)]
    refused = [failure.reason for failure in failures if isinstance(failure, PermanentFailure)]
    put = {key: msgspec.json.encode(sorted(told))} if anew else {}
    timers = (Timer(key, key, context.clock.now() + topics.IDENTITY_WINDOW),) if anew else ()
    if later:
        failure = TemporaryFailure(
            "; ".join(each.reason for each in later), delay=max((each.delay or 0.0 for each in later), default=0.0)
        )
        if not anew:
            raise failure
        return Effects(put=put, timers=timers, then=_raising(failure))
    dead = DeadLettered("; ".join(refused)) if refused else None
    return Effects(put=put, timers=timers, dead=dead)


def _raising(failure: TemporaryFailure) -> Callable[[], Awaitable[Effects]]:
    async def stage() -> Effects:
        raise failure

    return stage
