"""Everything that is read from and written to the file, as plain blocking calls for one thread.

Each method is one transaction. What they raise is the port's: `LogUnavailable`, `LeaseLost`, `CommitUnknown`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from callgate.log.bounds import RECORD_BYTES, UNIT_RECORD_BYTES, check
from callgate.log.port import CommitUnknown, LeaseLost, LogUnavailable, Outgoing, Position, Progress, Record, Unit
from callgate.log.sqlite.connection import Connection
from callgate.log.sqlite.records import Page, Records
from callgate.log.sqlite.roster import Roster, Survey
from callgate.log.sqlite.states import States


@dataclass(frozen=True, slots=True)
class Claimed:
    """A lease as it was restored, in the transaction that claimed it."""

    number: int
    epoch: int
    table: Mapping[str, bytes]
    progress: Mapping[str, Progress]
    ends: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Fence:
    """Whose lease it is that a unit is committed under."""

    group: str
    number: int
    epoch: int
    member: str


Write = Callable[[], list[Position]]
"""A part of a transaction: it writes and says where, or it raises and has written nothing that stays."""


class Store:
    """One connection to one file."""

    def __init__(self, path: str, partitions: int, gap: Callable[[], int] | None = None) -> None:
        """`gap` gives how many offsets to leave out before a record; only the hostile mode has one."""
        self.path = path
        self._connection = Connection(path, partitions)
        self.partitions = self._connection.partitions
        self._records = Records(self._connection.db, gap)
        self._roster = Roster(self._connection.db)
        self._states = States(self._connection.db)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def version(self) -> int:
        """See `Connection.version`: the one call made from any thread."""
        return self._connection.version()

    def write(self, parts: Sequence[Write]) -> list[list[Position] | Exception]:
        """Run all parts in one transaction with one sync; a part that raises is undone alone, and its error returned.

        Where the whole does not fit on the disk, each part is tried alone: one that is too big fails alone.
        """
        begun = False
        try:
            with self._connection.transaction():
                begun = True
                return [self._part(part) for part in parts]
        except LogUnavailable as failure:
            if begun and len(parts) > 1:
                return [self.write([part])[0] for part in parts]
            return [failure for _ in parts]  # locked out: each would only wait as long again
        except CommitUnknown as failure:
            return [failure for _ in parts]

    def publishing(self, records: Sequence[Outgoing], now: float) -> Write:
        """Append from outside any group. Raises ValueError and `TooLarge` at once."""
        check(records, self.partitions, RECORD_BYTES)
        return lambda: self._records.append(records, now)

    def committing(self, fence: Fence, unit: Unit, now: float) -> Write:
        """Write a unit if the lease is still the member's. Raises ValueError and `TooLarge` at once."""
        check(unit.outputs, self.partitions, UNIT_RECORD_BYTES)

        def part() -> list[Position]:
            if not self._holds(fence):
                raise LeaseLost(f"lease {fence.number} of {fence.group} is no longer {fence.member}'s")
            positions = self._records.append(unit.outputs, now)
            self._states.put(fence.group, fence.number, unit)
            return positions

        return part

    def ends(self) -> dict[tuple[str, int], int]:
        """The next offset of every partition that was ever written."""
        with self._connection.reading():
            return self._records.ends()

    def read(self, topic: str, partition: int, start: int, end: int, limit: int) -> Page:
        """Up to `limit` records from `start` to before `end`."""
        with self._connection.reading():
            return self._records.read(topic, partition, start, end, limit)

    def latest(self, topic: str, partition: int, start: int) -> list[Record]:
        """The latest record of each key from `start`."""
        with self._connection.reading():
            return self._records.latest(topic, partition, start)

    def forget(self, topic: str, partition: int, before: float, limit: int) -> int:
        """Drop up to `limit` records that are older than `before`; how many."""
        with self._connection.transaction():
            return self._records.forget(topic, partition, before, limit)

    def compact(self, topic: str, partition: int, tombstones_before: float) -> int:
        """Keep the latest record of each key, and young tombstones; how many were dropped."""
        with self._connection.transaction():
            return self._records.compact(topic, partition, tombstones_before)

    def checkpoint(self) -> None:
        """Write the write-ahead log back as far as readers allow, so that it can shrink."""
        with self._connection.reading():
            self._connection.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def beat(self, members: Iterable[tuple[str, str]], now: float, limit: float | None) -> None:
        """Say that members live; expel those not heard of for `limit` seconds, if there is a limit."""
        # Not durable: after a power cut nobody is alive anyway.
        with self._connection.transaction(durable=False):
            self._roster.beat(members, now)
            if limit is not None:
                self._roster.expel_silent(now, limit)

    def leave(self, group: str, member: str) -> None:
        """Stop being a member; what it held is free."""
        with self._connection.transaction():
            self._roster.expel(group, member)

    def survey(self, group: str) -> Survey:
        """Members and leases of a group."""
        with self._connection.reading():
            return self._roster.survey(group)

    def claim(self, group: str, member: str, topics: Sequence[str]) -> Claimed | None:
        """Take the next lease that the member should have, and restore it; None if there is none now."""
        with self._connection.transaction():
            number = self._roster.survey(group).next_for(member, self.partitions)
            if number is None:
                return None
            epoch = self._roster.take(group, number, member)
            ends, progress = self._records.ends(), self._states.progress(group)
            return Claimed(
                number,
                epoch,
                self._states.table(group, number),
                {topic: progress.get((topic, number), Progress()) for topic in topics},
                {topic: ends.get((topic, number), 0) for topic in topics},
            )

    def holds(self, fence: Fence) -> bool:
        """Whether the lease is the member's, as the file says now."""
        with self._connection.reading():
            return self._holds(fence)

    def release(self, fence: Fence) -> None:
        """Give a lease back, if it is still the member's."""
        with self._connection.transaction():
            self._roster.release(fence.group, fence.number, fence.epoch, fence.member)

    def tables(self, group: str, after: tuple[int, str], limit: int) -> list[tuple[int, str, bytes]]:
        """Entries of a group's tables, beyond `after`."""
        with self._connection.reading():
            return self._states.tables(group, after, limit)

    def progress(self, group: str) -> dict[tuple[str, int], Progress]:
        """A group's progress by topic and lease number."""
        with self._connection.reading():
            return self._states.progress(group)

    def _part(self, part: Write) -> list[Position] | Exception:
        db = self._connection.db
        db.execute("SAVEPOINT part")
        try:
            positions = part()
        except sqlite3.Error:
            raise  # the file's trouble, and so everybody's
        except Exception as error:  # noqa: BLE001 - it is handed to whose part it is
            db.execute("ROLLBACK TO part")
            db.execute("RELEASE part")
            return error
        db.execute("RELEASE part")
        return positions

    def _holds(self, fence: Fence) -> bool:
        return self._roster.holds(fence.group, fence.number, fence.epoch, fence.member)
