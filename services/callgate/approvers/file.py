"""The approvers' keys as a file that is read again when it changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from callgate.approvers.keys import BYTES_MOST, ApproverKey, parse_keys
from callgate.failures import BadInput
from callgate.reloading import Reloaded, content


def read(path: Path) -> bytes:
    """What stands in the file. Raises BadInput."""
    if not path.exists():
        way_out = f"`callgate approvers keygen NAME --out NAME.key --keys {path}` makes it; else name one that is there"
        raise BadInput(str(path), "can't be read: there is no such file", way_out)
    return content(path, most=BYTES_MOST, kind="JWKS")


class KeyFile:
    """See `entrance.Keys`. The last good keys stay in force."""

    def __init__(self, path: Path) -> None:
        """Read it now. Raises BadInput."""

        def keys(named: Path) -> Mapping[str, ApproverKey]:
            return parse_keys(read(named), str(named))

        self._file = Reloaded(path, keys, name="approvers' keys", version=len)

    def known(self, kid: str) -> bool:
        """See `entrance.Keys.known`."""
        return kid in self._file.held

    async def find(self, kid: str) -> ApproverKey | None:
        """See `entrance.Keys.find`."""
        return self._file.current().get(kid)

    def unready(self) -> str | None:
        """See `entrance.Keys.unready`: the last good keys can always be used."""
        return None
