"""One piece of work in a lane: a record that was fetched, a record that was parked, or a timer that has come due."""

from __future__ import annotations

import msgspec

from callgate.events import codec
from callgate.events.codec import Envelope
from callgate.events.topics import Topic
from callgate.log.port import Record
from callgate.worker.effects import Handler
from callgate.worker.timers import Armed


class Work(msgspec.Struct, eq=False, kw_only=True):
    """What waits or runs in a lane, with what is remembered of earlier attempts at it."""

    lane: str
    tenant: str
    ticket: int
    """Its place in the order of arrival at this lease, also over parking and restarts."""
    record: Record | None = None
    envelope: Envelope | None = None
    """None for a timer, and for a record that can't be read."""
    fault: Exception | None = None
    """Why the record can't be read: it is buried at its turn, without asking the handler."""
    timer: Armed | None = None
    parked: str | None = None
    """The key of its parked record in the table, if it has one."""
    attempt: int = 0
    first_tried: float | None = None
    """Wall time; None before the first attempt."""
    taken: float = 0.0
    """When it came into memory, monotonic."""


def read(record: Record, topic: Topic, handler: Handler, ticket: int) -> Work:
    """The work that a record is. One that can't be read is work too: its end is a dead letter."""
    try:
        envelope = codec.decode(record.value, record.headers)
        event = codec.expect(envelope, topic.events)
        return Work(
            lane=handler.lane(event, record),
            tenant=handler.tenant(event),
            ticket=ticket,
            record=record,
            envelope=envelope,
        )
    except Exception as failure:  # noqa: BLE001 - undecodable, or what its data makes of the handler's naming of lanes
        fault = failure
    # A lane of its own: nothing can follow what can't be read, and nothing need wait for it.
    lane = f"~unreadable/{record.topic}/{record.offset}"
    return Work(lane=lane, tenant="", ticket=ticket, record=record, fault=fault)
