"""Whatever clients create beside decisions: bodies under a kind and an id, bounded in number.

Beside the tables that the hot path needs. A kind that is full refuses the next one, so that what was promised is kept;
a journal forgets its oldest entry instead.
"""

from __future__ import annotations

import sqlite3

import orjson

from callgate.sandbox.answers import Refused

SCHEMA = """
CREATE TABLE IF NOT EXISTS things (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (kind, id));
CREATE TABLE IF NOT EXISTS numbers (kind TEXT PRIMARY KEY, last INTEGER NOT NULL);
"""
MOST = 10_000
"""How many things of one kind are kept."""

Body = dict[str, object]
"""A decoded JSON object."""


class Things:
    """Bodies by kind and id, in the order of their creation. Every call belongs into a unit of the store's."""

    def __init__(self, database: sqlite3.Connection, most: int = MOST) -> None:
        """Over a database that has the schema."""
        self._database = database
        self._most = most

    def number(self, kind: str) -> int:
        """The next number of a kind, from 1. It is never given again, also not after a deletion."""
        row = self._database.execute(
            "INSERT INTO numbers (kind, last) VALUES (?, 1) ON CONFLICT (kind) DO UPDATE SET last = last + 1"
            " RETURNING last",
            (kind,),
        ).fetchone()
        return int(row[0])

    def put(self, kind: str, name: str, body: Body) -> Body:
        """Create or replace. Raises `Refused` where it is new and the kind is full."""
        if self.get(kind, name) is None and self.count(kind) >= self._most:
            raise Refused(422, "store_full", f"the sandbox keeps {self._most} things of the kind {kind}: delete some")
        self._database.execute(
            "INSERT INTO things (kind, id, body) VALUES (?, ?, ?)"
            " ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
            (kind, name, orjson.dumps(body).decode()),
        )
        return body

    def note(self, kind: str, body: Body) -> int:
        """Append to a journal, which forgets its oldest entry where it is full. Gives the entry's number."""
        number = self.number(kind)
        self._database.execute(
            "INSERT INTO things (kind, id, body) VALUES (?, ?, ?)", (kind, str(number), orjson.dumps(body).decode())
        )
        self._database.execute("DELETE FROM things WHERE kind = ? AND id = ?", (kind, str(number - self._most)))
        return number

    def get(self, kind: str, name: str) -> Body | None:
        """The body of that id."""
        row = self._database.execute("SELECT body FROM things WHERE kind = ? AND id = ?", (kind, name)).fetchone()
        return None if row is None else orjson.loads(row[0])

    def all(self, kind: str) -> list[Body]:
        """Every body of a kind, oldest first."""
        rows = self._database.execute("SELECT body FROM things WHERE kind = ? ORDER BY seq", (kind,))
        return [orjson.loads(row[0]) for row in rows]

    def drop(self, kind: str, name: str) -> bool:
        """Delete; says whether there was one."""
        cursor = self._database.execute("DELETE FROM things WHERE kind = ? AND id = ?", (kind, name))
        return cursor.rowcount == 1

    def count(self, kind: str) -> int:
        """How many there are."""
        row = self._database.execute("SELECT count(*) FROM things WHERE kind = ?", (kind,)).fetchone()
        return int(row[0])
