"""Everything that is read from and written to the file, as plain blocking calls for one thread.

Each method is one transaction. What SQLite raises becomes a failure of the port here and nowhere else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from callgate.events.codec import MAX_RECORD_BYTES
from callgate.log.port import CommitUnknown, LeaseLost, LogUnavailable, Outgoing, Position, Progress, Record, Unit
from callgate.log.sqlite import schema

_HEADERS = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...])
_RUNS = msgspec.msgpack.Decoder(tuple[tuple[int, int], ...])
_MOST_BYTES = MAX_RECORD_BYTES * 2
"""Twice the codec's limit: dead letters carry a record and its reason; beyond it no unit is begun."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A lease as it was restored, in the transaction that claimed it."""

    number: int
    epoch: int
    table: Mapping[str, bytes]
    progress: Mapping[str, Progress]
    ends: Mapping[str, int]


class Store:
    """One connection to one file."""

    def __init__(self, path: str, partitions: int, gap: Callable[[], int] | None = None) -> None:
        """`gap` gives how many offsets to leave out before a record; only the hostile mode has one."""
        self.path = path
        self._gap = gap
        with self._mapped("open"):
            self._db, self.partitions = schema.connect(path, partitions)
            self._watch = None if path == ":memory:" else schema.watch(path)

    def close(self) -> None:
        """Close the connections."""
        self._db.close()
        if self._watch is not None:
            self._watch.close()

    def version(self) -> int:
        """Changes when anybody has committed. A few microseconds, never blocks: the one call made from any thread."""
        if self._watch is None:
            return 0
        with self._mapped("read"):
            return int(self._watch.execute("PRAGMA data_version").fetchone()[0])

    def ends(self) -> dict[tuple[str, int], int]:
        """The next offset of every partition that was ever written."""
        with self._mapped("read"):
            rows = self._db.execute("SELECT topic, partition, next_offset FROM ends")
            return {(topic, partition): end for topic, partition, end in rows}

    def publish(self, records: Sequence[Outgoing], now: float) -> list[Position]:
        """Append from outside any group."""
        self._check(records)
        with self._transaction():
            return self._append(records, now)

    def read(self, topic: str, partition: int, start: int, end: int, limit: int) -> list[Record]:
        """Up to `limit` records from `start` to before `end`."""
        with self._mapped("read"):
            rows = self._db.execute(
                "SELECT offset, key, value, headers, timestamp FROM records"
                " WHERE topic = ? AND partition = ? AND offset >= ? AND offset < ? ORDER BY offset LIMIT ?",
                (topic, partition, start, end, limit),
            )
            return [
                Record(topic, partition, offset, key, value, _HEADERS.decode(headers), timestamp)
                for offset, key, value, headers, timestamp in rows
            ]

    def commit(self, group: str, number: int, epoch: int, member: str, unit: Unit, now: float) -> list[Position]:
        """Make a unit visible if the lease is still the member's."""
        self._check(unit.outputs)
        with self._transaction():
            if not self._holds(group, number, epoch, member):
                raise LeaseLost(f"lease {number} of {group} is no longer {member}'s")
            positions = self._append(unit.outputs, now)
            self._put(group, number, unit)
            return positions

    def holds(self, group: str, number: int, epoch: int, member: str) -> bool:
        """Whether the lease is the member's, as the file says now."""
        with self._mapped("read"):
            return self._holds(group, number, epoch, member)

    def beat(self, members: Mapping[str, str], now: float, limit: float) -> dict[str, int]:
        """Say that our members live, drop those not heard of for `limit` seconds; how many each group has.

        `members` is group → member. A time from the future is of another boot of the host, so its owner is gone.
        """
        with self._transaction():
            for group, member in members.items():
                self._db.execute("INSERT OR REPLACE INTO members VALUES (?, ?, ?)", (group, member, now))
            gone = self._db.execute(
                "SELECT grp, member FROM members WHERE seen < ? OR seen > ?", (now - limit, now + limit)
            ).fetchall()
            for group, member in gone:
                self._expel(group, member)
            return dict(self._db.execute("SELECT grp, COUNT(*) FROM members GROUP BY grp"))

    def leave(self, group: str, member: str) -> None:
        """Stop being a member; what it held is free."""
        with self._transaction():
            self._expel(group, member)

    def leases(self, group: str) -> dict[int, tuple[int, str | None]]:
        """Epoch and holder by number."""
        with self._mapped("read"):
            rows = self._db.execute("SELECT number, epoch, holder FROM leases WHERE grp = ?", (group,))
            return {number: (epoch, holder) for number, epoch, holder in rows}

    def member_rank(self, group: str, member: str) -> tuple[int, int]:
        """The member's place among the group's members, and how many there are; the place is -1 for an expelled one."""
        with self._mapped("read"):
            rows = self._db.execute("SELECT member FROM members WHERE grp = ? ORDER BY member", (group,))
            names = [name for (name,) in rows]
            return (names.index(member) if member in names else -1), len(names)

    def claim(self, group: str, member: str, number: int, topics: Sequence[str]) -> Claimed | None:
        """Take a free lease and restore it; None if it is not free any more."""
        with self._transaction():
            row = self._db.execute(
                "SELECT epoch, holder FROM leases WHERE grp = ? AND number = ?", (group, number)
            ).fetchone()
            if row is not None and row[1] is not None:
                return None
            if (
                self._db.execute("SELECT 1 FROM members WHERE grp = ? AND member = ?", (group, member)).fetchone()
                is None
            ):
                return None
            epoch = (row[0] if row is not None else 0) + 1
            self._db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", (group, number, epoch, member))
            return Claimed(
                number,
                epoch,
                self._table(group, number),
                self._progress(group, number),
                self._claim_ends(topics, number),
            )

    def release(self, group: str, number: int, epoch: int, member: str) -> None:
        """Give a lease back, if it is still the member's."""
        with self._transaction():
            self._db.execute(
                "UPDATE leases SET holder = NULL WHERE grp = ? AND number = ? AND epoch = ? AND holder = ?",
                (group, number, epoch, member),
            )

    def tables(self, group: str, after: tuple[int, str], limit: int) -> list[tuple[int, str, bytes]]:
        """Entries of a group's tables, beyond `after`."""
        with self._mapped("read"):
            return self._db.execute(
                "SELECT number, key, value FROM tables WHERE grp = ? AND (number, key) > (?, ?)"
                " ORDER BY number, key LIMIT ?",
                (group, *after, limit),
            ).fetchall()

    def progress(self, group: str) -> dict[tuple[str, int], Progress]:
        """A group's progress by topic and partition."""
        with self._mapped("read"):
            rows = self._db.execute("SELECT topic, number, next_offset, done FROM progress WHERE grp = ?", (group,))
            return {(topic, number): Progress(at, _RUNS.decode(done)) for topic, number, at, done in rows}

    def forget(self, topic: str, before: float) -> int:
        """Drop records older than `before`; how many."""
        with self._transaction():
            return self._db.execute("DELETE FROM records WHERE topic = ? AND timestamp < ?", (topic, before)).rowcount

    def compact(self, topic: str, tombstones_before: float) -> int:
        """Keep the latest record of each key; drop tombstones older than `tombstones_before`. How many were dropped."""
        with self._transaction():
            old = self._db.execute(
                "DELETE FROM records WHERE topic = ? AND key IS NOT NULL AND EXISTS (SELECT 1 FROM records AS later"
                " WHERE later.topic = records.topic AND later.partition = records.partition"
                " AND later.key = records.key AND later.offset > records.offset)",
                (topic,),
            ).rowcount
            dead = self._db.execute(
                "DELETE FROM records WHERE topic = ? AND value IS NULL AND timestamp < ?", (topic, tombstones_before)
            ).rowcount
            return old + dead

    def _append(self, records: Sequence[Outgoing], now: float) -> list[Position]:
        ends: dict[tuple[str, int], int] = {}
        rows = []
        positions = []
        for record in records:
            place = (record.topic, record.partition)
            if place not in ends:
                found = self._db.execute(
                    "SELECT next_offset FROM ends WHERE topic = ? AND partition = ?", place
                ).fetchone()
                ends[place] = found[0] if found is not None else 0
            offset = ends[place] + (self._gap() if self._gap is not None else 0)
            ends[place] = offset + 1
            positions.append(Position(*place, offset))
            headers = msgspec.msgpack.encode(record.headers)
            rows.append((*place, offset, record.key, record.value, headers, now))
        self._db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self._db.executemany(
            "INSERT OR REPLACE INTO ends VALUES (?, ?, ?)", [(*place, end) for place, end in ends.items()]
        )
        return positions

    def _put(self, group: str, number: int, unit: Unit) -> None:
        kept = [(group, number, key, value) for key, value in unit.puts.items() if value is not None]
        gone = [(group, number, key) for key, value in unit.puts.items() if value is None]
        self._db.executemany("INSERT OR REPLACE INTO tables VALUES (?, ?, ?, ?)", kept)
        self._db.executemany("DELETE FROM tables WHERE grp = ? AND number = ? AND key = ?", gone)
        self._db.executemany(
            "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?)",
            [
                (group, number, topic, at.next_offset, msgspec.msgpack.encode(at.done))
                for topic, at in unit.progress.items()
            ],
        )

    def _holds(self, group: str, number: int, epoch: int, member: str) -> bool:
        row = self._db.execute(
            "SELECT epoch, holder FROM leases WHERE grp = ? AND number = ?", (group, number)
        ).fetchone()
        return row is not None and (row[0], row[1]) == (epoch, member)

    def _expel(self, group: str, member: str) -> None:
        self._db.execute("DELETE FROM members WHERE grp = ? AND member = ?", (group, member))
        self._db.execute("UPDATE leases SET holder = NULL WHERE grp = ? AND holder = ?", (group, member))

    def _table(self, group: str, number: int) -> dict[str, bytes]:
        return dict(self._db.execute("SELECT key, value FROM tables WHERE grp = ? AND number = ?", (group, number)))

    def _progress(self, group: str, number: int) -> dict[str, Progress]:
        rows = self._db.execute(
            "SELECT topic, next_offset, done FROM progress WHERE grp = ? AND number = ?", (group, number)
        )
        return {topic: Progress(at, _RUNS.decode(done)) for topic, at, done in rows}

    def _claim_ends(self, topics: Sequence[str], number: int) -> dict[str, int]:
        found = dict(self._db.execute("SELECT topic, next_offset FROM ends WHERE partition = ?", (number,)))
        return {topic: found.get(topic, 0) for topic in topics}

    def _check(self, records: Sequence[Outgoing]) -> None:
        for record in records:
            if not 0 <= record.partition < self.partitions:
                message = f"{record.topic} has no partition {record.partition}: this log has {self.partitions}"
                raise ValueError(message)
            if len(record.value or b"") > _MOST_BYTES:
                message = f"a record of {len(record.value or b'')} bytes for {record.topic} is over {_MOST_BYTES}"
                raise ValueError(message)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._mapped("write to"):
            self._db.execute("BEGIN IMMEDIATE")
        try:
            with self._mapped("write to"):
                yield
        except BaseException:
            self._rollback()
            raise
        try:
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._rollback()
            if _kind(error) == "SQLITE_IOERR":
                # The last page may or may not be on the disk: only reading the file again can tell.
                raise CommitUnknown(f"the end of a commit to {self.path} is unknown: {error}") from error
            raise self._unavailable("write to", error) from error

    def _rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    @contextmanager
    def _mapped(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            raise self._unavailable(doing, error) from error

    def _unavailable(self, doing: str, error: sqlite3.Error) -> LogUnavailable:
        kind = _kind(error)
        hint = {
            "SQLITE_BUSY": "another program holds it locked",
            "SQLITE_FULL": "the disk is full; nothing was lost, make room and it goes on",
            "SQLITE_READONLY": "it may not be written",
            "SQLITE_CANTOPEN": "it can't be opened; does its folder exist?",
            "SQLITE_NOTADB": "it is not an SQLite file",
            "SQLITE_CORRUPT": "it is damaged",
        }.get(kind, str(error))
        return LogUnavailable(f"can't {doing} the log {self.path}: {hint} ({kind})")


def _kind(error: sqlite3.Error) -> str:
    """The primary result code's name: `SQLITE_BUSY_SNAPSHOT` is a SQLITE_BUSY."""
    name = str(getattr(error, "sqlite_errorname", "SQLITE_ERROR"))
    return "_".join(name.split("_")[:2])
