"""Time as a port, so that a test of an hour takes no time.

Two clocks, because they fail differently: wall time is comparable between hosts and may jump; monotonic time
measures waits on one host and never goes back.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the rest of Callgate knows of time."""

    def now(self) -> float:
        """Wall time in seconds since the epoch. Compared across hosts only with a margin for skew."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary point on this host, never going back. For durations and back-off."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait. Cancellable; zero or less yields once."""
        ...


async def wait(*events: asyncio.Event, seconds: float, clock: Clock) -> None:
    """Wait until one of the events is set, or for so many seconds; which of them it was, the caller can see."""
    waits = [asyncio.ensure_future(clock.sleep(seconds)), *(asyncio.ensure_future(event.wait()) for event in events)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """See `Clock.now`."""
        return time.time()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(max(0.0, seconds))


class ManualClock:
    """A clock that moves only when it is told to; for tests. Both of its times move together."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        """Begin at `start`, in seconds since the epoch."""
        self._start = start
        self._now = start
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        """See `Clock.now`."""
        return self._now

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._now - self._start

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has moved the clock past the end of the sleep."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._now + seconds, woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Move on by `seconds`, waking sleepers in the order of their due times, and let what woke run."""
        target = self._now + seconds
        while True:
            due = [entry for entry in self._waiting if entry[0] <= target and not entry[1].done()]
            if not due:
                break
            at, woken = min(due, key=lambda entry: entry[0])
            self._waiting.remove((at, woken))
            self._now = max(self._now, at)
            woken.set_result(None)
            for _ in range(20):
                await asyncio.sleep(0)
        self._now = target
        for _ in range(20):
            await asyncio.sleep(0)
