"""One sleeper per lease for everything that has a time: retries, parked records and timers. Idle, it does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from callgate.clock import Clock, wait

LONGEST = 60.0
"""Seconds of sleep at the most: wall time may be set while it sleeps."""


class Alarm:
    """Calls `ring` when its moment has come. `ring` does what is due and gives the seconds to the next, or None."""

    def __init__(self, clock: Clock, ring: Callable[[], float | None]) -> None:
        self._clock = clock
        self._ring = ring
        self._changed = asyncio.Event()
        self._at = float("inf")

    def within(self, seconds: float) -> None:
        """Something new will be due in so many seconds: sleep no longer than that."""
        if self._clock.monotonic() + seconds < self._at:
            self._changed.set()

    def now(self) -> None:
        """Look again at once: something that was held back may be due."""
        self._changed.set()

    async def run(self) -> None:
        """Ring for ever; end it by cancelling."""
        while True:
            self._changed.clear()
            self._at = float("inf")  # whatever is set while it rings wakes it once more
            seconds = self._ring()
            self._at = float("inf") if seconds is None else self._clock.monotonic() + min(seconds, LONGEST)
            if seconds is None:
                await self._changed.wait()
            else:
                await wait(self._changed, seconds=min(seconds, LONGEST), clock=self._clock)
