"""Durable timers: entries of the lease's table under a reserved prefix, with an index by time in memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import msgspec

from callgate.worker.effects import Timer
from callgate.worker.table import RESERVED

PREFIX = f"{RESERVED}timer/"
"""Where timers are kept; the rest of the key is the timer's."""


class _Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    lane: str
    due: float
    attempt: int = 0
    first_tried: float | None = None
    tenant: str = ""


class Armed(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One setting of a timer. Setting its key again makes another one, which is how the first is known to be past.

    There is one for every open approval and more, so it holds no text of its own, stands in the index by itself, and is
    not looked at for garbage: it can be in no cycle.
    """

    entry: str
    """Its key in the table."""
    lane: str
    due: float
    place: int
    """In the order of setting, which breaks ties."""
    attempt: int = 0
    """How often it has failed so far."""
    first_tried: float | None = None
    tenant: str = ""

    @property
    def key(self) -> str:
        """As its handler knows it."""
        return self.entry.removeprefix(PREFIX)

    def __lt__(self, other: Armed) -> bool:
        """Whether it comes first."""
        return (self.due, self.place) < (other.due, other.place)


class Timers:
    """The timers of one lease. Methods that change it return what must be put into the table."""

    def __init__(self, stored: Iterable[tuple[str, bytes]] = ()) -> None:
        """Restore from the table's entries under `PREFIX`."""
        self._armed: dict[str, Armed] = {}
        """By key in the table."""
        self._heap: list[Armed] = []
        self._count = 0
        lanes: dict[str, str] = {}  # one text for all timers of a lane
        for key, value in stored:
            kept = msgspec.json.decode(value, type=_Stored)
            lane = lanes.setdefault(kept.lane, kept.lane)
            self._put(Armed(key, lane, kept.due, self._next(), kept.attempt, kept.first_tried, kept.tenant))

    def set(self, timer: Timer) -> tuple[str, bytes]:
        """Arm a timer, in place of the one that has its key."""
        return self._arm(Armed(PREFIX + timer.key, timer.lane, timer.due, self._next(), tenant=timer.tenant))

    def postpone(self, armed: Armed, due: float, attempt: int, first_tried: float | None) -> tuple[str, bytes] | None:
        """Arm again one that has failed; None where it was set anew or cancelled meanwhile."""
        if not self.current(armed):
            return None
        return self._arm(Armed(armed.entry, armed.lane, due, self._next(), attempt, first_tried, armed.tenant))

    def cancel(self, key: str) -> tuple[str, None] | None:
        """Disarm; None where there is no such timer."""
        return (PREFIX + key, None) if self._armed.pop(PREFIX + key, None) is not None else None

    def settle(self, armed: Armed) -> tuple[str, None] | None:
        """Disarm one that was served, unless it was set anew meanwhile."""
        return self.cancel(armed.key) if self.current(armed) else None

    def current(self, armed: Armed) -> bool:
        """Whether it is still set as it was."""
        return self._armed.get(armed.entry) is armed

    def next_due(self) -> float | None:
        """Wall time of the next one to come due."""
        while self._heap and not self.current(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0].due if self._heap else None

    def due(self, now: float) -> list[Armed]:
        """Those that have come due, by time. Each setting is given once; it stays armed until it is settled."""
        found: list[Armed] = []
        while (first := self.next_due()) is not None and first <= now:
            found.append(heapq.heappop(self._heap))
        return found

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _put(self, armed: Armed) -> None:
        self._armed[armed.entry] = armed
        heapq.heappush(self._heap, armed)

    def _arm(self, armed: Armed) -> tuple[str, bytes]:
        self._put(armed)
        value = _Stored(armed.lane, armed.due, armed.attempt, armed.first_tried, armed.tenant)
        return armed.entry, msgspec.json.encode(value)
