"""The policy as a file that is read again when it changes."""

from __future__ import annotations

from pathlib import Path

from callgate.failures import BadInput
from callgate.policy.document import BUILT_IN, Policy, parse
from callgate.reloading import Reloaded, content

BYTES_MOST = 1_000_000
"""A larger file is not a policy."""


def read(path: Path) -> Policy:
    """The policy in a file. Raises BadInput."""
    try:
        text = content(path, most=BYTES_MOST, kind="TOML").decode()
    except UnicodeDecodeError as error:
        raise BadInput(str(path), "is not UTF-8", "Save it as UTF-8") from error
    return parse(text, source=str(path))


class PolicyFile:
    """What is in force."""

    def __init__(self, path: Path | None) -> None:
        """Read it now. Raises BadInput. None is no file: the built-in policy, for good."""
        self._file = None if path is None else Reloaded(path, read, name="approval policy", version=Policy.digest)

    def current(self) -> Policy:
        """The policy by now: the last good one."""
        return BUILT_IN if self._file is None else self._file.current()
