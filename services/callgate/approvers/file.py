"""The approvers' keys as a file that is read again when it changes.

A file that can't be used any more changes nothing: the last good keys stay in force, and the log says so once per
change. At a start there are none, so it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import structlog

from callgate.approvers.keys import BYTES_MOST, ApproverKey, parse_keys
from callgate.failures import BadInput

_logger = structlog.get_logger(__name__)


def read(path: Path) -> bytes:
    """What stands in the file. Raises BadInput."""
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MOST + 1)
    except OSError as error:
        raise BadInput(str(path), f"can't be read ({type(error).__name__})", "Name a readable JWKS file") from error
    if len(content) > BYTES_MOST:
        raise BadInput(str(path), f"is larger than {BYTES_MOST} bytes", "Name a JWKS file")
    return content


class KeyFile:
    """See `entrance.Keys`. A look costs one stat; the file is read only where that shows another one."""

    def __init__(self, path: Path) -> None:
        """Read it now. Raises BadInput."""
        self._path = path
        self._seen = self._mark()
        self._keys = parse_keys(read(path), str(path))

    def known(self, kid: str) -> bool:
        """See `entrance.Keys.known`."""
        return kid in self._keys

    async def find(self, kid: str) -> ApproverKey | None:
        """See `entrance.Keys.find`."""
        return self._current().get(kid)

    def unready(self) -> str | None:
        """See `entrance.Keys.unready`: the last good keys can always be used."""
        return None

    def _current(self) -> Mapping[str, ApproverKey]:
        mark = self._mark()
        if mark == self._seen:
            return self._keys
        self._seen = mark
        try:
            self._keys = parse_keys(read(self._path), str(self._path))
        except BadInput as fault:
            _logger.warning("approvers' keys not reloaded: the last good ones stay", fault=str(fault))
        else:
            _logger.info("approvers' keys reloaded", keys=len(self._keys))
        return self._keys

    def _mark(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
