"""The file: tables, pragmas, and opening it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from callgate.failures import BadInput

FORMAT = 1
"""Rises with every incompatible change of the tables; a file of another format is refused."""

BUSY_SECONDS = 5.0
"""How long a transaction waits for another process' before it says that the file is locked."""

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ends (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    key BLOB, value BLOB, headers BLOB NOT NULL, timestamp REAL NOT NULL,
    PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
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


def connect(path: str, partitions: int) -> tuple[sqlite3.Connection, int]:
    """An open file and its number of partitions, which is fixed when the file is made. Raises BadInput, sqlite3.Error.

    `path` may be ":memory:". The connection is for one thread at a time.
    """
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        # FULL: a unit that was said to be committed survives a power cut, not only a crash of the process.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-32000")
        connection.execute("PRAGMA wal_autocheckpoint=4000")
        return connection, _prepare(connection, path, partitions)
    except BaseException:
        connection.close()
        raise


def watch(path: str) -> sqlite3.Connection:
    """A second connection that only asks whether somebody has committed."""
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection, path: str, partitions: int) -> int:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _TABLES.split(";"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?), ('partitions', ?)", (FORMAT, partitions))
        known = dict(connection.execute("SELECT name, value FROM meta"))
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    if known["format"] != FORMAT:
        raise BadInput(
            "CALLGATE_LOG",
            f"{Path(path).name} has format {known['format']}, this version reads format {FORMAT}",
            "Use the version of Callgate that wrote it, or another file",
        )
    return int(known["partitions"])
