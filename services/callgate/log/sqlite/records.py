"""Records in the file: appended, read, dropped.

A record's row id holds its place (topic and partition, by number) above its offset. So the rows of a partition lie
beside each other in their order, and no index is needed beside the table.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from callgate.log.port import Outgoing, Position, Record

PAGE_BYTES = 8_000_000
"""How much one read returns at the most, beyond its first record: a limit in records alone could fill the memory."""

_OFFSET_BITS = 40
_HEADERS = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...])


@dataclass(frozen=True, slots=True)
class Page:
    """Some records in order, and the offset at which to read on."""

    records: list[Record]
    after: int


class Records:
    """The records of one file. Everything that writes is called in a transaction."""

    def __init__(self, db: sqlite3.Connection, gap: Callable[[], int] | None) -> None:
        """`gap` gives how many offsets to leave out before a record; only the hostile mode has one."""
        self._db = db
        self._gap = gap

    def ends(self) -> dict[tuple[str, int], int]:
        """The next offset of every partition that was ever written."""
        rows = self._db.execute("SELECT topic, partition, next_offset FROM places")
        return {(topic, partition): end for topic, partition, end in rows}

    def append(self, records: Sequence[Outgoing], now: float) -> list[Position]:
        """Write at the ends of their partitions."""
        places: dict[tuple[str, int], list[int]] = {}
        rows, positions = [], []
        for record in records:
            place = (record.topic, record.partition)
            if place not in places:
                places[place] = self._place(*place)
            number, end = places[place]
            offset = end + (self._gap() if self._gap is not None else 0)
            places[place][1] = offset + 1
            positions.append(Position(*place, offset))
            headers = msgspec.msgpack.encode(record.headers)
            rows.append(((number << _OFFSET_BITS) + offset, record.key, record.value, headers, now))
        self._db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", rows)
        self._db.executemany(
            "UPDATE places SET next_offset = ? WHERE id = ?", [(end, number) for number, end in places.values()]
        )
        return positions

    def read(self, topic: str, partition: int, start: int, end: int, limit: int) -> Page:
        """Up to `limit` records from `start` to before `end`."""
        first = self._first(topic, partition)
        if first is None:
            return Page([], end)
        rows = self._db.execute(
            "SELECT id, key, value, headers, timestamp FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
            (first + start, first + end, limit),
        )
        found: list[Record] = []
        size = 0
        for row, key, value, headers, timestamp in rows:
            found.append(Record(topic, partition, row - first, key, value, _HEADERS.decode(headers), timestamp))
            size += len(value or b"")
            if len(found) == limit or size > PAGE_BYTES:
                return Page(found, found[-1].offset + 1)
        return Page(found, end)

    def latest(self, topic: str, partition: int, start: int) -> list[Record]:
        """The latest record of each key, in order, from `start`: what compaction would leave."""
        first = self._first(topic, partition)
        if first is None:
            return []
        rows = self._db.execute(
            "SELECT id, key, value, headers, timestamp FROM records WHERE id >= ? AND id < ? AND (key IS NULL OR id IN"
            " (SELECT MAX(id) FROM records WHERE id >= ? AND id < ? GROUP BY key)) ORDER BY id",
            (first + start, _beyond(first), first, _beyond(first)),
        )
        return [
            Record(topic, partition, row - first, key, value, _HEADERS.decode(headers), at)
            for row, key, value, headers, at in rows
        ]

    def forget(self, topic: str, partition: int, before: float, limit: int) -> int:
        """Drop the oldest records as far as they are older than `before`, up to `limit`; how many.

        Only from the beginning, as in any log: a record that is younger than its follower keeps the follower.
        """
        first = self._first(topic, partition)
        if first is None:
            return 0
        oldest = self._db.execute(
            "SELECT id, timestamp FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
            (first, _beyond(first), limit),
        ).fetchall()
        kept = next((row for row, timestamp in oldest if timestamp >= before), oldest[-1][0] + 1 if oldest else first)
        return self._db.execute("DELETE FROM records WHERE id >= ? AND id < ?", (first, kept)).rowcount

    def compact(self, topic: str, partition: int, tombstones_before: float) -> int:
        """Keep the latest record of each key; drop tombstones older than `tombstones_before`. How many were dropped."""
        first = self._first(topic, partition)
        if first is None:
            return 0
        span = (first, _beyond(first))
        old = self._db.execute(
            "DELETE FROM records WHERE id >= ? AND id < ? AND key IS NOT NULL AND id NOT IN"
            " (SELECT MAX(id) FROM records WHERE id >= ? AND id < ? GROUP BY key)",
            (*span, *span),
        ).rowcount
        dead = self._db.execute(
            "DELETE FROM records WHERE id >= ? AND id < ? AND value IS NULL AND timestamp < ?",
            (*span, tombstones_before),
        ).rowcount
        return old + dead

    def _place(self, topic: str, partition: int) -> list[int]:
        self._db.execute("INSERT OR IGNORE INTO places VALUES (NULL, ?, ?, 0)", (topic, partition))
        return list(
            self._db.execute(
                "SELECT id, next_offset FROM places WHERE topic = ? AND partition = ?", (topic, partition)
            ).fetchone()
        )

    def _first(self, topic: str, partition: int) -> int | None:
        """The row id that offset 0 of a partition has; None where nothing was ever written."""
        row = self._db.execute("SELECT id FROM places WHERE topic = ? AND partition = ?", (topic, partition)).fetchone()
        return None if row is None else row[0] << _OFFSET_BITS


def _beyond(first: int) -> int:
    return first + (1 << _OFFSET_BITS)
