"""The groups' own state in the file: tables by key, and progress by topic. Nothing of its history is kept."""

from __future__ import annotations

import sqlite3

import msgspec

from callgate.log.port import Progress, Unit

_RUNS = msgspec.msgpack.Decoder(tuple[tuple[int, int], ...])


class States:
    """The state of one file's groups. `put` is called in a transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def put(self, group: str, number: int, unit: Unit) -> None:
        """Write a unit's changes."""
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

    def table(self, group: str, number: int) -> dict[str, bytes]:
        """A lease's whole table."""
        return dict(self._db.execute("SELECT key, value FROM tables WHERE grp = ? AND number = ?", (group, number)))

    def tables(self, group: str, after: tuple[int, str], limit: int) -> list[tuple[int, str, bytes]]:
        """Up to `limit` entries of all of a group's tables, beyond `after`."""
        return self._db.execute(
            "SELECT number, key, value FROM tables WHERE grp = ? AND (number, key) > (?, ?)"
            " ORDER BY number, key LIMIT ?",
            (group, *after, limit),
        ).fetchall()

    def progress(self, group: str) -> dict[tuple[str, int], Progress]:
        """A group's progress by topic and lease number."""
        rows = self._db.execute("SELECT topic, number, next_offset, done FROM progress WHERE grp = ?", (group,))
        return {(topic, number): Progress(at, _RUNS.decode(done)) for topic, number, at, done in rows}
