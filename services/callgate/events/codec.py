"""Events to and from records: CloudEvents in Kafka's binary mode.

The value is the event's JSON; type, id, source, time and trace are headers. A reader that meets a type or version that
it does not know refuses the record (it becomes a dead letter), and ignores fields that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from callgate.events import topics
from callgate.events.event import Event

MAX_RECORD_BYTES = 1_000_000
"""A record over this is refused before it enters a unit: below the brokers' own default limit of 1 MiB."""

Headers = tuple[tuple[str, bytes], ...]

REGISTRY: dict[str, type[Event]] = {kind.TYPE: kind for topic in topics.CATALOGUE for kind in topic.events}
"""Every event type that can be read, by its versioned name."""

_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in REGISTRY.items()}
_ENCODER = msgspec.json.Encoder()


class Undecodable(ValueError):  # noqa: N818 - it is said of the record
    """A record is not an event that this version can read. The message says why, without quoting its content."""


class TooLarge(ValueError):  # noqa: N818 - it is said of the event
    """An event is over the size limit and must not enter a unit."""


class Envelope(msgspec.Struct, frozen=True):
    """An event as it was read, with what the headers say of it."""

    event: Event
    id: str
    source: str
    time: float
    """When it was written, in seconds since the epoch, by the writer's clock; 0.0 where it did not say."""
    traceparent: str | None


def encode(event: Event, *, source: str, time: float, traceparent: str | None = None) -> tuple[bytes, Headers]:
    """The value and headers of an event. Raises `TooLarge` over `MAX_RECORD_BYTES`."""
    value = _ENCODER.encode(event)
    if len(value) > MAX_RECORD_BYTES:
        message = f"{event.TYPE} of {len(value)} bytes is over the limit of {MAX_RECORD_BYTES}"
        raise TooLarge(message)
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.identity().encode()),
        ("ce_type", event.TYPE.encode()),
        ("ce_source", source.encode()),
        ("ce_time", datetime.fromtimestamp(time, UTC).isoformat().encode()),
        ("content-type", b"application/json"),
    ]
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode()))
    return value, tuple(headers)


def decode(value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Envelope:
    """The event in a record. Raises `Undecodable`, whatever the bytes are."""
    named = dict(headers)
    kind = _text(named.get("ce_type"))
    if kind is None:
        message = "the header ce_type is missing"
        raise Undecodable(message)
    decoder = _DECODERS.get(kind)
    if decoder is None:
        message = f"unknown event type or version {kind[:100]!r}"
        raise Undecodable(message)
    if value is None:
        message = f"{kind} without a value"
        raise Undecodable(message)
    try:
        event = decoder.decode(value)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        message = f"{kind}: {str(error)[:300]}"
        raise Undecodable(message) from error
    return Envelope(
        event=event,
        id=_text(named.get("ce_id")) or event.identity(),
        source=_text(named.get("ce_source")) or "",
        time=_seconds(_text(named.get("ce_time"))),
        traceparent=_text(named.get("traceparent")),
    )


def expect(envelope: Envelope, kinds: Sequence[type[Event]]) -> Event:
    """The event, if its topic may carry it; else `Undecodable`: a forged or misplaced record changes nothing."""
    if isinstance(envelope.event, tuple(kinds)):
        return envelope.event
    message = f"{envelope.event.TYPE} does not belong here"
    raise Undecodable(message)


def _text(raw: bytes | None) -> str | None:
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _seconds(text: str | None) -> float:
    if text is None:
        return 0.0
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0
