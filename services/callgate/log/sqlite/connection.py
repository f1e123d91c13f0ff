"""The connection to the file: transactions, and SQLite's errors in the words of the port, here and nowhere else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from callgate.failures import BadInput
from callgate.log.port import CommitUnknown, LogUnavailable
from callgate.log.sqlite import schema

_HINTS = {
    "SQLITE_BUSY": ("another program holds it locked", "it goes on when the lock is gone"),
    "SQLITE_LOCKED": ("another program holds it locked", "it goes on when the lock is gone"),
    "SQLITE_FULL": ("the disk is full", "nothing was lost, make room and it goes on"),
    "SQLITE_READONLY": ("it may not be written", "mend its permissions"),
    "SQLITE_CANTOPEN": ("it can't be opened", "mend its permissions"),
    "SQLITE_PERM": ("it may not be opened", "mend its permissions"),
    "SQLITE_NOTADB": ("it is not an SQLite file", "name another"),
    "SQLITE_CORRUPT": ("it is damaged", "restore it from a copy"),
}
"""Why a file can't be used, and the way out, by the name of SQLite's code."""
_PERSONS = {"SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_NOTADB", "SQLITE_CORRUPT"}
"""What waiting does not mend when a file is opened: a person named the wrong one."""


class Connection:
    """One open file. All but `version` is for one thread at a time."""

    def __init__(self, path: str, partitions: int) -> None:
        """Open `path`, or make it with so many partitions. Raises BadInput, `LogUnavailable`."""
        self.path = path
        try:
            self.db, self.partitions = schema.connect(path, partitions)
            self._watch = None if path == ":memory:" else schema.watch(path)
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            if _kind(error) in _PERSONS:
                why, way_out = _HINTS[_kind(error)]
                raise BadInput("CALLGATE_LOG", f"{path} can't be used: {why}", way_out.capitalize()) from error
            raise self._unavailable("open", error) from error

    def close(self) -> None:
        """Close the file."""
        self.db.close()
        if self._watch is not None:
            self._watch.close()

    def version(self) -> int:
        """Changes when anybody has committed. A few microseconds, never waits: the one call made from any thread."""
        if self._watch is None:
            return 0
        with self.reading():
            return int(self._watch.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Around statements that read."""
        with self._mapped("read"):
            yield

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Around statements that write: all or none. Not `durable`: may be forgotten by a power cut, but costs no sync.

        Raises `LogUnavailable` where nothing was written, `CommitUnknown` where only reading can tell.
        """
        with self.reading():
            self._rollback()  # where the last one could not be: it would be in the way of this one for ever
            if not durable:
                self.db.execute("PRAGMA synchronous=NORMAL")
        try:
            with self._mapped("write to"):
                self.db.execute("BEGIN IMMEDIATE")
            try:
                with self._mapped("write to"):
                    yield
            except BaseException:
                self._undo()
                raise
            self._commit()
        finally:
            if not durable:
                self.db.execute("PRAGMA synchronous=FULL")

    def _commit(self) -> None:
        try:
            self.db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._undo()
            if _kind(error) == "SQLITE_IOERR":
                # The last page may or may not be on the disk. The next transaction settles it either way.
                raise CommitUnknown(f"the end of a write to the log {self.path} is unknown: {error}") from error
            raise self._unavailable("write to", error) from error

    def _undo(self) -> None:
        # After trouble, whose own error is the one to be told. What can't be undone now is by the next transaction.
        with suppress(sqlite3.OperationalError):
            self._rollback()

    def _rollback(self) -> None:
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")

    @contextmanager
    def _mapped(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError | sqlite3.DataError):
                raise  # a defect of this engine: trying again would not help, and hide it
            raise self._unavailable(doing, error) from error

    def _unavailable(self, doing: str, error: sqlite3.Error) -> LogUnavailable:
        kind = _kind(error)
        return LogUnavailable(
            f"can't {doing} the log {self.path}: {'; '.join(_HINTS.get(kind, (str(error),)))} ({kind})"
        )


def _kind(error: sqlite3.Error) -> str:
    """The primary result code's name: `SQLITE_BUSY_SNAPSHOT` is a SQLITE_BUSY."""
    name = str(getattr(error, "sqlite_errorname", "SQLITE_ERROR"))
    return "_".join(name.split("_")[:2])
