"""What the sandbox remembers: decisions with their exact answers, approvals, outcomes, the ingest journal, switches.

SQLite in WAL mode with `synchronous=NORMAL`: a row is in the file before its answer is sent, so a killed process loses
nothing that it has said; only a power cut could. Calls are synchronous and short, on the event loop: a row takes some
tens of microseconds, less than handing it to a thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from callgate.failures import BadInput
from callgate.sandbox.reported import Decision
from callgate.sandbox.things import SCHEMA as _THINGS
from callgate.sandbox.things import Things

_SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (
    seq INTEGER PRIMARY KEY, request_id TEXT NOT NULL UNIQUE, scope TEXT NOT NULL, idempotency_key TEXT,
    content TEXT NOT NULL, request TEXT NOT NULL, answer BLOB NOT NULL, at REAL NOT NULL,
    lost INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX IF NOT EXISTS decisions_by_key ON decisions (scope, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS decisions_by_content ON decisions (content);
CREATE TABLE IF NOT EXISTS approvals (
    seq INTEGER PRIMARY KEY, request_id TEXT NOT NULL UNIQUE, body TEXT NOT NULL, status TEXT NOT NULL,
    created REAL NOT NULL, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS outcomes (
    seq INTEGER PRIMARY KEY, subject TEXT NOT NULL, status TEXT NOT NULL, quality TEXT NOT NULL, body TEXT NOT NULL,
    UNIQUE (subject, status, quality));
CREATE TABLE IF NOT EXISTS ingested (
    seq INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE, body TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS switches (
    seq INTEGER PRIMARY KEY, switch_id TEXT NOT NULL UNIQUE, active INTEGER NOT NULL, body TEXT NOT NULL);
"""
_VERSION = 1

MOST_IN_MEMORY = 100_000
"""How many decisions, approvals, outcomes and ingested events are kept of each where there is no file: some 200 MB."""

Body = dict[str, object]
"""A decoded JSON object."""


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision as it was given."""

    request_id: str
    content: str
    """Digest of the request, without its transport."""
    answer: bytes
    """The exact body that was sent."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One question to a person. `status` is pending, approved or denied; expiry is a matter of the clock."""

    request_id: str
    body: Body
    status: str
    created: float
    expires: float


class Store:
    """All state of a sandbox. With no file it lives as long as the object, and forgets the oldest of very many."""

    def __init__(self, path: Path | None = None, *, most: int = MOST_IN_MEMORY) -> None:
        """Open or create the file. Raises `BadInput` where it can't be used."""
        self._most = most if path is None else None
        try:
            self._database = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=5.0)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            version = self._database.execute("PRAGMA user_version").fetchone()[0]
            if version not in {0, _VERSION}:
                raise BadInput("--state", f"{path} is of version {version}", "Name another file, or remove this one")
            self._database.executescript(_SCHEMA + _THINGS)
            self._database.execute(f"PRAGMA user_version={_VERSION}")
        except sqlite3.Error as error:
            way_out = "Name a file of a sandbox, or a new one"
            raise BadInput("--state", f"{path} can't be used ({error})", way_out) from error
        self.things = Things(self._database)
        """What clients create beside decisions."""

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def unit(self) -> Iterator[None]:
        """Everything that is written inside becomes durable together, or not at all."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def decided_under(self, scope: str, key: str) -> Decided | None:
        """The decision that was given under an idempotency key of one credential."""
        return self._decision("scope = ? AND idempotency_key = ?", (scope, key))

    def lost_answer(self, content: str, since: float) -> Decided | None:
        """The latest decision on the same request whose answer never arrived, as far as the sandbox knows."""
        return self._decision("content = ? AND lost = 1 AND at >= ? ORDER BY seq DESC", (content, since))

    def decision(self, request_id: str) -> Decided | None:
        """The decision of that id."""
        return self._decision("request_id = ?", (request_id,))

    def times_decided(self, content: str) -> int:
        """How many decisions there are on exactly this request: what makes the next one's id new."""
        row = self._database.execute("SELECT count(*) FROM decisions WHERE content = ?", (content,)).fetchone()
        return int(row[0])

    def add_decision(self, decided: Decided, *, scope: str, key: str | None, request: Body, at: float) -> None:
        """Remember a decision. Its id and its key in this scope must be new."""
        self._added(
            "decisions",
            "INSERT INTO decisions (request_id, scope, idempotency_key, content, request, answer, at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (decided.request_id, scope, key, decided.content, _text(request), decided.answer, at),
        )

    def mark_lost(self, request_id: str, *, lost: bool) -> None:
        """Remember whether the answer failed to arrive."""
        self._database.execute("UPDATE decisions SET lost = ? WHERE request_id = ?", (int(lost), request_id))

    def requests(self) -> list[tuple[str, Body, float]]:
        """Id, request body and time of every decision, oldest first."""
        rows = self._database.execute("SELECT request_id, request, at FROM decisions ORDER BY seq")
        return [(request_id, orjson.loads(request), at) for request_id, request, at in rows]

    def looked_back(self, request_id: str) -> Decision | None:
        """The decision of that id with what was asked for, for its outcomes."""
        row = self._database.execute(
            "SELECT request, answer, at FROM decisions WHERE request_id = ?", (request_id,)
        ).fetchone()
        return None if row is None else Decision(orjson.loads(row[0]), orjson.loads(row[1]), row[2])

    def decisions(self) -> int:
        """How many there are."""
        return int(self._database.execute("SELECT count(*) FROM decisions").fetchone()[0])

    def history(self, most: int) -> list[tuple[str, Body, Body, float]]:
        """Id, request, answer and time of the latest decisions, oldest first."""
        rows = self._database.execute(
            "SELECT request_id, request, answer, at FROM decisions ORDER BY seq DESC LIMIT ?", (most,)
        ).fetchall()
        return [(name, orjson.loads(request), orjson.loads(given), at) for name, request, given, at in reversed(rows)]

    def add_approval(self, approval: Approval) -> None:
        """Remember a question; a second one for the same request changes nothing."""
        self._added(
            "approvals",
            "INSERT OR IGNORE INTO approvals (request_id, body, status, created, expires) VALUES (?, ?, ?, ?, ?)",
            (approval.request_id, _text(approval.body), approval.status, approval.created, approval.expires),
        )

    def approval(self, request_id: str) -> Approval | None:
        """The question of that request."""
        return next(self._approvals("WHERE request_id = ?", (request_id,)), None)

    def approvals(self) -> list[Approval]:
        """Every question, oldest first."""
        return list(self._approvals("ORDER BY seq", ()))

    def resolve_approval(self, request_id: str, status: str, body: Body) -> None:
        """Record the answer to a question."""
        self._database.execute(
            "UPDATE approvals SET status = ?, body = ? WHERE request_id = ?", (status, _text(body), request_id)
        )

    def add_outcome(self, subject: str, status: str, quality: str, body: Body) -> Body:
        """Remember an outcome under its subject's id; the first of equal subject, status and quality is kept."""
        self._added(
            "outcomes",
            "INSERT OR IGNORE INTO outcomes (subject, status, quality, body) VALUES (?, ?, ?, ?)",
            (subject, status, quality, _text(body)),
        )
        kept = self._database.execute(
            "SELECT body FROM outcomes WHERE subject = ? AND status = ? AND quality = ?", (subject, status, quality)
        ).fetchone()
        return _object(kept[0])

    def outcomes(self, subject: str | None = None) -> list[Body]:
        """Every outcome, oldest first; only those of one subject where it is given."""
        where, values = ("WHERE subject = ?", (subject,)) if subject is not None else ("", ())
        sql = f"SELECT body FROM outcomes {where} ORDER BY seq"  # noqa: S608 - our own constants
        return [_object(row[0]) for row in self._database.execute(sql, values)]

    def ingest(self, content: str, body: Body, at: float) -> bool:
        """Append to the journal, unless the same content is in it. Says whether it was new."""
        return self._added(
            "ingested",
            "INSERT OR IGNORE INTO ingested (content, body, at) VALUES (?, ?, ?)",
            (content, _text(body), at),
        )

    def ingested(self) -> list[tuple[Body, float]]:
        """The journal with the times of arrival, oldest first."""
        rows = self._database.execute("SELECT body, at FROM ingested ORDER BY seq")
        return [(_object(body), at) for body, at in rows]

    def add_switch(self, body: Body) -> str:
        """Activate a kill switch, and give its id."""
        row = self._database.execute("SELECT count(*) FROM switches").fetchone()
        switch_id = f"ks_{int(row[0]) + 1}"
        self._database.execute(
            "INSERT INTO switches (switch_id, active, body) VALUES (?, 1, ?)",
            (switch_id, _text({"switch_id": switch_id, **body})),
        )
        return switch_id

    def lift_switch(self, switch_id: str) -> bool:
        """Deactivate a switch; says whether there is one of that id. Lifting it twice is lifting it."""
        return self._database.execute("UPDATE switches SET active = 0 WHERE switch_id = ?", (switch_id,)).rowcount == 1

    def active_switches(self) -> list[Body]:
        """The switches that are active, oldest first."""
        rows = self._database.execute("SELECT body FROM switches WHERE active ORDER BY seq")
        return [_object(row[0]) for row in rows]

    def stopped(self, domain: object) -> bool:
        """Whether a kill switch is active for everything, or for this domain."""
        return any(each.get("scope") == "global" or each.get("domain") == domain for each in self.active_switches())

    def _added(self, table: str, sql: str, values: tuple[object, ...]) -> bool:
        """Insert into a table, which forgets its oldest row where it is full. Says whether there is a new row."""
        cursor = self._database.execute(sql, values)
        new = cursor.rowcount == 1
        if new and self._most is not None and cursor.lastrowid is not None:
            oldest = cursor.lastrowid - self._most
            self._database.execute(f"DELETE FROM {table} WHERE seq <= ?", (oldest,))  # noqa: S608 - our own names
        return new

    def _decision(self, where: str, values: tuple[object, ...]) -> Decided | None:
        row = self._database.execute(
            f"SELECT request_id, content, answer FROM decisions WHERE {where} LIMIT 1",  # noqa: S608 - our own constants
            values,
        ).fetchone()
        return None if row is None else Decided(*row)

    def _approvals(self, where: str, values: tuple[object, ...]) -> Iterator[Approval]:
        rows = self._database.execute(
            f"SELECT request_id, body, status, created, expires FROM approvals {where}",  # noqa: S608 - our own constants
            values,
        )
        for request_id, body, status, created, expires in rows:
            yield Approval(request_id, _object(body), status, created, expires)


def _text(body: Body) -> str:
    return orjson.dumps(body).decode()


def _object(text: str) -> Body:
    loaded: Body = orjson.loads(text)
    return loaded
