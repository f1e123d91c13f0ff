"""What every engine refuses before it writes anything: places that are not there, and records that are too large."""

from __future__ import annotations

from collections.abc import Iterable

from callgate.events import topics as catalogue
from callgate.events.codec import MAX_RECORD_BYTES, TooLarge
from callgate.log.port import Outgoing

RECORD_BYTES = MAX_RECORD_BYTES + MAX_RECORD_BYTES // 10
"""The largest record that is taken from outside: the codec's limit, with a tenth for key and headers."""

UNIT_RECORD_BYTES = 2 * MAX_RECORD_BYTES
"""The largest record in a unit. Twice the limit, so that a dead letter can always carry a record and its reason."""


def partitions_of(topic: str, partitions: int) -> int:
    """How many partitions a topic has on a log with N `partitions`. Raises ValueError for a topic nobody knows."""
    known = catalogue.BY_NAME.get(topic)
    if known is None:
        raise ValueError(f"there is no topic {topic!r}")
    return 1 if known.spread == "single" else partitions


def check(records: Iterable[Outgoing], partitions: int, most_bytes: int) -> None:
    """Refuse what no unit may hold, before one is begun. Raises ValueError, `TooLarge`."""
    for record in records:
        if not 0 <= record.partition < partitions_of(record.topic, partitions):
            raise ValueError(f"{record.topic} has no partition {record.partition}")
        size = len(record.key or b"") + len(record.value or b"")
        size += sum(len(name) + len(value) for name, value in record.headers)
        if size > most_bytes:
            raise TooLarge(f"a record of {size} bytes for {record.topic} is over the limit of {most_bytes}")
