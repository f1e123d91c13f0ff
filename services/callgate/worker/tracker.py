"""Which records of one input topic are done, when they are done in any order. Pure.

Gaps in offsets are normal (a log may leave them out for markers, aborted units or compaction), so nothing is concluded
from numbers alone: records are delivered in order, hence whatever lies below the last one delivered and is not in
flight is either done or does not exist.
"""

from __future__ import annotations

from callgate.log.port import Progress


class Tracker:
    """Progress of one topic of one claim, from `restored` on."""

    def __init__(self, restored: Progress) -> None:
        self._frontier = restored.next_offset  # everything below is known: done, absent, or in flight
        self._beyond = list(restored.done)  # what an earlier claim did beyond the frontier
        self._in_flight: dict[int, None] = {}  # ascending: nothing is begun below the frontier
        self._absorb()

    def __len__(self) -> int:
        """How many records are in flight."""
        return len(self._in_flight)

    def begin(self, offset: int) -> bool:
        """A record was delivered. False means that it is known already, done or in flight: leave it alone."""
        if offset < self._frontier or (self._beyond and any(start <= offset < end for start, end in self._beyond)):
            return False
        self._in_flight[offset] = None
        self._frontier = offset + 1
        self._absorb()
        return True

    def complete(self, offset: int) -> None:
        """A record in flight is done. Raises KeyError for one that is not in flight."""
        del self._in_flight[offset]

    def progress(self) -> Progress:
        """What may be committed now."""
        if not self._in_flight:
            return Progress(self._frontier, tuple(self._beyond))
        runs: list[tuple[int, int]] = []
        offsets = iter(self._in_flight)
        previous = first = next(offsets)
        for offset in offsets:
            if offset > previous + 1:
                runs.append((previous + 1, offset))
            previous = offset
        if self._frontier > previous + 1:
            runs.append((previous + 1, self._frontier))
        return Progress(first, (*runs, *self._beyond))

    def _absorb(self) -> None:
        while self._beyond and self._beyond[0][0] <= self._frontier:
            self._frontier = max(self._frontier, self._beyond.pop(0)[1])
