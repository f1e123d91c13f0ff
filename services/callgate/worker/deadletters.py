"""Dead letters: the raw record untouched, and headers of ours that say why it is here and whence it came."""

from __future__ import annotations

from dataclasses import dataclass

from callgate.events import topics
from callgate.events.event import Event
from callgate.log.port import Headers, Outgoing, Record

_PREFIX = "callgate_"
_NAMES = (
    "reason",
    "topic",
    "partition",
    "offset",
    "timestamp",
    "attempts",
    "service",
    "subject",
    "died_at",
)
REASON_LENGTH = 500
"""Characters of a reason that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A dead letter as it is read back."""

    reason: str
    topic: str
    partition: int
    offset: int
    timestamp: float
    attempts: int
    service: str
    subject: str
    """The id of the action, approval or turn that it was about, where it could be read; else empty."""
    died_at: float
    key: bytes | None
    value: bytes | None
    headers: Headers
    """The record's own, without ours: key, value and these are what is sent again."""


def letter(record: Record, *, reason: str, attempts: int, service: str, subject: str, died_at: float) -> Outgoing:
    """The dead letter for a record. Ours come last, so that no header of the record can pass for one of them."""
    values = (
        reason[:REASON_LENGTH],
        record.topic,
        str(record.partition),
        str(record.offset),
        repr(record.timestamp),
        str(attempts),
        service,
        subject,
        repr(died_at),
    )
    ours = tuple(
        (_PREFIX + name, text.encode("utf-8", "backslashreplace")) for name, text in zip(_NAMES, values, strict=True)
    )
    return Outgoing(
        topic=topics.DEADLETTERS.name,
        partition=record.partition,
        key=record.key,
        value=record.value,
        headers=(*record.headers, *ours),
    )


def read(record: Record) -> DeadLetter | None:
    """A dead letter from its record on the log; None for a record that is none.

    Only the last headers are looked at, and all of ours must be there in their order: a record that was given up twice
    has two sets, and the inner one belongs to what is sent again.
    """
    ours = record.headers[-len(_NAMES) :]
    if tuple(name for name, _ in ours) != tuple(_PREFIX + name for name in _NAMES):
        return None
    try:
        reason, topic, partition, offset, timestamp, attempts, service, subject, died_at = (
            value.decode() for _, value in ours
        )
        return DeadLetter(
            reason=reason,
            topic=topic,
            partition=int(partition),
            offset=int(offset),
            timestamp=float(timestamp),
            attempts=int(attempts),
            service=service,
            subject=subject,
            died_at=float(died_at),
            key=record.key,
            value=record.value,
            headers=record.headers[: -len(_NAMES)],
        )
    except ValueError:
        return None


def subject(event: Event | None) -> str:
    """The id that an event is about, for people who look for what became of it; empty for what can't be read.

    The events have no field in common, so the places are tried in turn, the most telling first.
    """
    if event is None:
        return ""
    for path in ("ref.id", "action.ref.id", "approval_id", "action_id", "turn_key", "origin.turn"):
        found: object = event
        for name in path.split("."):
            found = getattr(found, name, None)
        if isinstance(found, str):
            return found
    return ""
