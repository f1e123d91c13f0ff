"""The living table of a lease: what was restored, with every accepted change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sortedcontainers import SortedList

RESERVED = "~"
"""Keys that begin with it are the worker's own (parked records, timers); handlers neither see nor write them."""


class LivingTable:
    """Sorted, so that reading a prefix costs what it yields and not what the table holds.

    The worker's own entries are not: they are read at the claim, once, and change with nearly every record.
    """

    def __init__(self, restored: Mapping[str, bytes]) -> None:
        """Take over what was restored: a second copy of many open approvals would cost as much as they do."""
        self._entries: dict[str, bytes] = restored if isinstance(restored, dict) else dict(restored)
        self._keys: SortedList[str] = SortedList(key for key in self._entries if not key.startswith(RESERVED))

    def get(self, key: str) -> bytes | None:
        """See `effects.Table.get`."""
        return self._entries.get(key)

    def items(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """See `effects.Table.items`. The worker's own entries are given only to who asks for their prefix."""
        if prefix.startswith(RESERVED):
            return iter(sorted(entry for entry in self._entries.items() if entry[0].startswith(prefix)))
        found: list[tuple[str, bytes]] = []
        for key in self._keys.irange(prefix):
            if not key.startswith(prefix):
                break
            found.append((key, self._entries[key]))
        return iter(found)

    def apply(self, puts: Mapping[str, bytes | None]) -> None:
        """Make accepted changes visible to later work."""
        for key, value in puts.items():
            if value is not None:
                if key not in self._entries and not key.startswith(RESERVED):
                    self._keys.add(key)
                self._entries[key] = value
            elif self._entries.pop(key, None) is not None and not key.startswith(RESERVED):
                self._keys.remove(key)
