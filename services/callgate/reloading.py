"""A file of the operator's that is read again when it changes.

One that can't be used any more changes nothing: the last good version stays in force, and the log says so once per
change. At a start there is no last good version, so it is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from callgate.failures import BadInput

T = TypeVar("T")

_logger = structlog.get_logger(__name__)


def content(path: Path, *, most: int, kind: str) -> bytes:
    """What stands in a file of at most so many bytes. Raises BadInput that says what `kind` of file is wanted."""
    try:
        with path.open("rb") as file:
            found = file.read(most + 1)
    except OSError as error:
        raise BadInput(str(path), f"can't be read ({error.strerror})", f"Name a readable {kind} file") from error
    if len(found) > most:
        raise BadInput(str(path), f"is larger than {most} bytes", f"Name a {kind} file")
    return found


class Reloaded(Generic[T]):
    """What a file holds by now. A look costs one stat; the file is read only where that shows another one."""

    def __init__(self, path: Path, read: Callable[[Path], T], *, name: str, version: Callable[[T], object]) -> None:
        """Read it now. Raises BadInput, as `read` does. In the log it has a `name`, and its content a `version`."""
        self._path = path
        self._read = read
        self._name = name
        self._version = version
        self._seen = self._mark()
        self.held = read(path)
        """As it was at the last look."""

    def current(self) -> T:
        """The last good version."""
        mark = self._mark()
        if mark == self._seen:
            return self.held
        self._seen = mark
        before = self._version(self.held)
        try:
            self.held = self._read(self._path)
        except BadInput as fault:
            said = "a file was not read again: its last good version stays"
            _logger.warning(said, file=self._name, version=before, fault=str(fault))
        else:
            _logger.info("a file was read again", file=self._name, before=before, version=self._version(self.held))
        return self.held

    def _mark(self) -> tuple[int, int, int] | None:
        """What another content of the file would change: when written, how large, which file."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
