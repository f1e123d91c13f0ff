"""The policy as a file that is read again when it changes.

A file that can't be used any more changes nothing: the last good version stays in force, and the log says so once per
change. At a start there is no last good version, so it is refused.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from callgate.failures import BadInput
from callgate.policy.document import BUILT_IN, Policy, parse

BYTES_MOST = 1_000_000
"""A larger file is not a policy."""

_logger = structlog.get_logger(__name__)


def read(path: Path) -> Policy:
    """The policy in a file. Raises BadInput."""
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MOST + 1)
    except OSError as error:
        raise BadInput(str(path), f"can't be read ({type(error).__name__})", "Name a readable TOML file") from error
    if len(content) > BYTES_MOST:
        raise BadInput(str(path), f"is larger than {BYTES_MOST} bytes", "Name a policy file")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BadInput(str(path), "is not UTF-8", "Save it as UTF-8") from error
    return parse(text, source=str(path))


class PolicyFile:
    """What is in force. A look costs one stat; the file is read only where that shows another one."""

    def __init__(self, path: Path | None) -> None:
        """Read it now. Raises BadInput. None is no file: the built-in policy, for good."""
        self._path = path
        self._seen = self._mark()
        self._policy = BUILT_IN if path is None else read(path)

    def current(self) -> Policy:
        """The policy by now."""
        mark = self._mark()
        if self._path is None or mark == self._seen:
            return self._policy
        self._seen = mark
        before = self._policy.digest()
        try:
            self._policy = read(self._path)
        except BadInput as fault:
            _logger.warning("approval policy not reloaded: the last good one stays", digest=before, fault=str(fault))
        else:
            _logger.info("approval policy reloaded", before=before, digest=self._policy.digest())
        return self._policy

    def _mark(self) -> tuple[int, int, int] | None:
        """What another content of the file would change: when written, how large, which file."""
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
