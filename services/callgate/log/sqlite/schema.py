"""The file: its tables and pragmas, opening it, and refusing what is not a log."""

from __future__ import annotations

import sqlite3
import time

from callgate.failures import BadInput

FORMAT = 1
"""Rises with every incompatible change of the tables; a file of another format is refused."""

APPLICATION = 0x43474C47
"""SQLite's mark of whose file it is ("CGLG"), so that nobody's address book is made into a log."""

BUSY_SECONDS = 5.0
"""How long a transaction waits for another process' before it says that the file is locked."""

CACHE_KIB = 12_000
"""Memory for pages. Some more than the largest unit, which would else be written twice; what is read once, such as
100,000 open approvals, gains nothing from more."""

WAL_PAGES = 4000
"""Pages of 4 KiB in the write-ahead log before it is written back to the file."""

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS places (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    UNIQUE (topic, partition));
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY, key BLOB, value BLOB, headers BLOB NOT NULL, timestamp REAL NOT NULL);
CREATE TABLE IF NOT EXISTS members (
    grp TEXT NOT NULL, member TEXT NOT NULL, seen REAL NOT NULL, PRIMARY KEY (grp, member)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (
    grp TEXT NOT NULL, number INTEGER NOT NULL, epoch INTEGER NOT NULL, holder TEXT,
    PRIMARY KEY (grp, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tables (
    grp TEXT NOT NULL, number INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (grp, number, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS progress (
    grp TEXT NOT NULL, number INTEGER NOT NULL, topic TEXT NOT NULL, next_offset INTEGER NOT NULL, done BLOB NOT NULL,
    PRIMARY KEY (grp, number, topic)) WITHOUT ROWID;
"""

_FIELD = "CALLGATE_LOG"


def connect(path: str, partitions: int) -> tuple[sqlite3.Connection, int]:
    """An open file and its number of partitions, which is fixed when the file is made. Raises BadInput, sqlite3.Error.

    `path` may be ":memory:". The connection is for one thread at a time.
    """
    if partitions < 1:
        raise BadInput("partitions", f"{partitions} is too few", "Use 1 or more")
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        known = _known(connection, path)
        _journal(connection, path)
        # FULL: a unit that was said to be committed survives a power cut, not only a crash of the process.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA fullfsync=ON")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit={WAL_PAGES * 4096}")
        return connection, known or _make(connection, path, partitions)
    except BaseException:
        connection.close()
        raise


def watch(path: str) -> sqlite3.Connection:
    """A second connection that only asks whether somebody has committed. It waits for nobody: the loop calls it."""
    return sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)


def _known(connection: sqlite3.Connection, path: str) -> int | None:
    """The number of partitions of a finished file, found without a lock; None for a new one."""
    # Both of one snapshot: another process may be making the file between the two questions.
    connection.execute("BEGIN")
    try:
        (things,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if application == APPLICATION:
        return _partitions(connection, path)
    if application != 0 or things != 0:
        raise BadInput(_FIELD, f"{path} is a database of something else", "Name another file")
    return None


def _journal(connection: sqlite3.Connection, path: str) -> None:
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            # Two processes that make the file at once: SQLite does not wait here by itself, lest they wait for ever.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)
            continue
        if mode not in {"wal", "memory"}:
            raise BadInput(_FIELD, f"{path} lies where SQLite can't share a file", "Use a folder on a local disk")
        return


def _make(connection: sqlite3.Connection, path: str, partitions: int) -> int:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _TABLES.split(";"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?), ('partitions', ?)", (FORMAT, partitions))
        connection.execute(f"PRAGMA application_id={APPLICATION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return _partitions(connection, path)


def _partitions(connection: sqlite3.Connection, path: str) -> int:
    known = dict(connection.execute("SELECT name, value FROM meta"))
    if known["format"] != FORMAT:
        raise BadInput(
            _FIELD,
            f"{path} has format {known['format']}, and this version reads format {FORMAT}",
            "Use the version of Callgate that wrote it, or another file",
        )
    return int(known["partitions"])
