"""A handler under test, with a table that applies its effects at once: no log, no worker, no waiting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from callgate.clock import ManualClock
from callgate.events.codec import Envelope, encode
from callgate.events.event import Event
from callgate.events.routing import Address, address
from callgate.failures import PermanentFailure
from callgate.log.port import Record
from callgate.worker.effects import Context, Effects, Handler, Timer


class DictTable:
    """A lease's living table in a dict."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        """See `Table.get`."""
        return self.entries.get(key)

    def items(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """See `Table.items`."""
        return iter([(key, self.entries[key]) for key in sorted(self.entries) if key.startswith(prefix)])

    def apply(self, effects: Effects) -> None:
        """Take over what a handler puts."""
        for key, value in effects.put.items():
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value


@dataclass
class HandlerBench:
    """One lease with one handler."""

    handler: Handler
    lease: int = 0
    partitions: int = 1
    clock: ManualClock = field(default_factory=ManualClock)
    table: DictTable = field(default_factory=DictTable)
    timers: dict[str, Timer] = field(default_factory=dict)
    dead: list[str] = field(default_factory=list)
    offset: int = -1
    """Of the last record delivered: each delivery is a record of its own."""
    places: list[Address] = field(default_factory=list)
    """Where the last effects' events went."""

    async def deliver(
        self,
        event: Event,
        *,
        timestamp: float | None = None,
        first_tried: float | None = None,
        partition: int | None = None,
        attempt: int = 0,
    ) -> list[Event]:
        """What the handler publishes for a record of `event`; a permanent failure goes through `on_dead`."""
        value, headers = encode(event, source="test", time=self.clock.now())
        self.offset += 1
        record = Record(
            "any",
            self.lease if partition is None else partition,
            self.offset,
            None,
            value,
            headers,
            self.clock.now() if timestamp is None else timestamp,
        )
        envelope = Envelope(event=event, id=event.identity(), source="test", time=0.0, traceparent=None)
        context = self._context(record, first_tried, attempt)
        try:
            effects = await self.handler.handle(envelope, context)
        except PermanentFailure as failure:
            self.dead.append(failure.reason)
            effects = await self.handler.on_dead(envelope, context, failure.reason)
        return await self._staged(effects)

    async def give_up(self, event: Event, reason: str) -> list[Event]:
        """What the handler publishes when the worker gives the record up."""
        envelope = Envelope(event=event, id=event.identity(), source="test", time=0.0, traceparent=None)
        return self._apply(await self.handler.on_dead(envelope, self._context(None), reason))

    async def fire(self, key: str) -> list[Event]:
        """What the handler publishes when a timer that it set comes due."""
        del self.timers[key]
        return self._apply(await self.handler.on_timer(key, self._context(None)))

    async def _staged(self, effects: Effects) -> list[Event]:
        """Each stage's effects are there before the next begins."""
        published = self._apply(effects)
        while effects.then is not None:
            effects = await effects.then()
            published += self._apply(effects)
        return published

    def _context(self, record: Record | None, first_tried: float | None = None, attempt: int = 0) -> Context:
        async def held() -> bool:
            return True

        return Context(
            table=self.table,
            clock=self.clock,
            partitions=self.partitions,
            lease=self.lease,
            epoch=1,
            attempt=attempt,
            first_tried=self.clock.now() if first_tried is None else first_tried,
            delivered=record,
            held=held,
            remaining=lambda: None,
        )

    def _apply(self, effects: Effects) -> list[Event]:
        self.table.apply(effects)
        if effects.dead is not None:
            self.dead.append(effects.dead.reason)
        for key in effects.cancel:
            self.timers.pop(key, None)
        self.timers.update({timer.key: timer for timer in effects.timers})
        self.places = []
        for each in effects.publish:
            # Whatever is published must fit into a record and have an address.
            encode(each.event, source="test", time=self.clock.now())
            self.places.append(each.address or address(each.event, self.partitions))
        return [each.event for each in effects.publish]
