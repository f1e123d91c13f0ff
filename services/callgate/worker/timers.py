"""Durable timers: entries of the lease's table under a reserved prefix, with an index by time in memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, eq=False)
class Armed:
    """One setting of a timer. Setting its key again makes another one, which is how the first is known to be past."""

    key: str
    lane: str
    due: float
    attempt: int = 0
    """How often it has failed so far."""
    first_tried: float | None = None
    tenant: str = ""


class Timers:
    """The timers of one lease. Methods that change it return what must be put into the table."""

    def __init__(self, stored: Iterable[tuple[str, bytes]] = ()) -> None:
        """Restore from the table's entries under `PREFIX`."""
        self._armed: dict[str, Armed] = {}
        self._heap: list[tuple[float, int, Armed]] = []
        self._count = 0
        for key, value in stored:
            entry = msgspec.json.decode(value, type=_Stored)
            name = key.removeprefix(PREFIX)
            self._arm(Armed(name, entry.lane, entry.due, entry.attempt, entry.first_tried, entry.tenant))

    def set(self, timer: Timer) -> tuple[str, bytes]:
        """Arm a timer, in place of the one that has its key."""
        return self._arm(Armed(timer.key, timer.lane, timer.due, tenant=timer.tenant))

    def postpone(self, armed: Armed, due: float, attempt: int, first_tried: float | None) -> tuple[str, bytes] | None:
        """Arm again one that has failed; None where it was set anew or cancelled meanwhile."""
        if self._armed.get(armed.key) is not armed:
            return None
        return self._arm(Armed(armed.key, armed.lane, due, attempt, first_tried, armed.tenant))

    def cancel(self, key: str) -> tuple[str, None] | None:
        """Disarm; None where there is no such timer."""
        return (PREFIX + key, None) if self._armed.pop(key, None) is not None else None

    def settle(self, armed: Armed) -> tuple[str, None] | None:
        """Disarm one that was served, unless it was set anew meanwhile."""
        return self.cancel(armed.key) if self.current(armed) else None

    def current(self, armed: Armed) -> bool:
        """Whether it is still set as it was."""
        return self._armed.get(armed.key) is armed

    def next_due(self) -> float | None:
        """Wall time of the next one to come due."""
        while self._heap and not self.current(self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[Armed]:
        """Those that have come due, by time. Each setting is given once; it stays armed until it is settled."""
        found: list[Armed] = []
        while (first := self.next_due()) is not None and first <= now:
            found.append(heapq.heappop(self._heap)[2])
        return found

    def _arm(self, armed: Armed) -> tuple[str, bytes]:
        self._armed[armed.key] = armed
        self._count += 1  # breaks ties in the order of setting
        heapq.heappush(self._heap, (armed.due, self._count, armed))
        value = _Stored(armed.lane, armed.due, armed.attempt, armed.first_tried, armed.tenant)
        return PREFIX + armed.key, msgspec.json.encode(value)
