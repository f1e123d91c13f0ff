"""Members and leases in the file: who lives, who holds what, and with which epoch."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from callgate.log.sqlite.sharing import share


@dataclass(frozen=True, slots=True)
class Survey:
    """A group as the file shows it: its members, and epoch and holder by number."""

    members: tuple[str, ...]
    leases: Mapping[int, tuple[int, str | None]]

    def holders(self) -> dict[int, str | None]:
        """Holder by number."""
        return {number: holder for number, (_, holder) in self.leases.items()}

    def next_for(self, member: str, partitions: int) -> int | None:
        """The number that the member should claim now; None where it has its share, or nothing is free."""
        if self.hunger(member, partitions) <= 0:
            return None
        holders = self.holders()
        return next((number for number in range(partitions) if holders.get(number) is None), None)

    def hunger(self, member: str, partitions: int) -> int:
        """How many leases the member lacks; negative for what it has beyond its share."""
        holders = self.holders()
        held = sum(holder == member for holder in holders.values())
        return share(member, self.members, holders, partitions) - held


class Roster:
    """The members and leases of one file. Everything that writes is called in a transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def beat(self, members: Iterable[tuple[str, str]], now: float) -> None:
        """Say that some members, given as group and member, live."""
        self._db.executemany(
            "INSERT OR REPLACE INTO members VALUES (?, ?, ?)", [(group, member, now) for group, member in members]
        )

    def expel_silent(self, now: float, limit: float) -> None:
        """Drop members not heard of for `limit` seconds; what they held is free.

        A time from the future is of another boot of the host, so its owner is gone too.
        """
        gone = self._db.execute(
            "SELECT grp, member FROM members WHERE seen < ? OR seen > ?", (now - limit, now + limit)
        ).fetchall()
        for group, member in gone:
            self.expel(group, member)

    def expel(self, group: str, member: str) -> None:
        """Drop one member; what it held is free."""
        self._db.execute("DELETE FROM members WHERE grp = ? AND member = ?", (group, member))
        self._db.execute("UPDATE leases SET holder = NULL WHERE grp = ? AND holder = ?", (group, member))

    def survey(self, group: str) -> Survey:
        """The group as it is now."""
        members = self._db.execute("SELECT member FROM members WHERE grp = ?", (group,)).fetchall()
        leases = self._db.execute("SELECT number, epoch, holder FROM leases WHERE grp = ?", (group,))
        return Survey(tuple(name for (name,) in members), {number: (epoch, holder) for number, epoch, holder in leases})

    def take(self, group: str, number: int, member: str) -> int:
        """Make a free lease the member's; its new epoch."""
        self._db.execute(
            "INSERT INTO leases VALUES (?, ?, 1, ?)"
            " ON CONFLICT (grp, number) DO UPDATE SET epoch = epoch + 1, holder = excluded.holder",
            (group, number, member),
        )
        row = self._db.execute("SELECT epoch FROM leases WHERE grp = ? AND number = ?", (group, number)).fetchone()
        return int(row[0])

    def holds(self, group: str, number: int, epoch: int, member: str) -> bool:
        """Whether the lease is the member's, in this epoch."""
        row = self._db.execute(
            "SELECT epoch, holder FROM leases WHERE grp = ? AND number = ?", (group, number)
        ).fetchone()
        return row is not None and (row[0], row[1]) == (epoch, member)

    def release(self, group: str, number: int, epoch: int, member: str) -> None:
        """Give a lease back, if it is still the member's."""
        self._db.execute(
            "UPDATE leases SET holder = NULL WHERE grp = ? AND number = ? AND epoch = ? AND holder = ?",
            (group, number, epoch, member),
        )
