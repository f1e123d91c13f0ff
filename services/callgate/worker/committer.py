"""Adaptive group commit: accepted effects become visible in the order in which they were accepted, many at a time.

At once when there is little to do; under load a unit waits so long that committing costs a set share of the time.
One commit runs at a time, in a task that nobody cancels: a commit that is cut off has an unknown end, and an unknown
end costs the lease.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

import msgspec
import structlog

from callgate.clock import Clock, wait
from callgate.log.port import CommitUnknown, Lease, LeaseLost, LogUnavailable, Outgoing, Progress, Unit
from callgate.settings import WorkerSettings
from callgate.telemetry.metrics import WorkerMetrics
from callgate.worker.tracker import Tracker

UNIT_ENTRIES = 500
"""Effects in one unit at the most: costs per record stop falling there, and a unit that is retried stays small."""

UNIT_BYTES = 8_000_000
"""Bytes of one unit at the most, beyond its first entry: a unit is held in memory twice, and a transaction is short."""

_log = structlog.get_logger(__name__)


class Entry(msgspec.Struct, eq=False):
    """What one handler, or one stage of it, wants to become visible."""

    outputs: tuple[Outgoing, ...]
    puts: Mapping[str, bytes | None]
    done: tuple[tuple[str, int], ...] = ()
    """Topic and offset of the records that are done with it."""
    committed: asyncio.Future[None] | None = None
    """Set by who waits for it; fails with `LeaseLost` when the lease has ended."""

    def size(self) -> int:
        """Bytes, about."""
        outputs = sum(len(each.value or b"") for each in self.outputs)
        return outputs + sum(len(value or b"") for value in self.puts.values())


def linger(last_started: float | None, cost: float, settings: WorkerSettings) -> float:
    """The moment (monotonic) before which no commit should start. Pure.

    Commits that cost `cost` seconds each take `commit_share` of the time when they start `cost / commit_share` apart.
    After a pause that moment has long passed, and the next commit starts at once.
    """
    if last_started is None:
        return float("-inf")
    apart = min(cost / settings.commit_share, cost + settings.linger_most_seconds)
    return last_started + apart


class Committer:
    """The only writer of one lease. `on_end` is called once when the lease has ended in a commit.

    `on_commit` is called after each unit with the number of records that are done with it. Because units hold what was
    accepted in the order of acceptance, an entry that is committed has everything before it committed too.
    """

    def __init__(
        self,
        lease: Lease,
        trackers: Mapping[str, Tracker],
        settings: WorkerSettings,
        clock: Clock,
        metrics: WorkerMetrics,
        *,
        on_commit: Callable[[int], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._lease = lease
        self._trackers = trackers
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._on_commit = on_commit
        self._on_end = on_end
        self._pending: deque[Entry] = deque()
        self._wake = asyncio.Event()
        self._clean = asyncio.Event()
        self._clean.set()
        self._ended = False
        self._over = asyncio.Event()
        self._started: float | None = None
        self._cost = 0.0
        self.unavailable = False
        """Whether the log refuses units just now."""

    @property
    def pending(self) -> bool:
        """Whether anything accepted is not visible yet."""
        return not self._clean.is_set()

    def submit(self, entry: Entry) -> None:
        """Take effects in; they are visible to others only after a commit."""
        if self._ended:
            _refuse(entry)
            return
        self._pending.append(entry)
        self._clean.clear()
        self._wake.set()

    async def flushed(self) -> None:
        """Wait until everything accepted is visible, or the lease has ended."""
        await self._clean.wait()

    def end(self) -> None:
        """The lease is over: what has not been committed is dropped, and nobody waits for it any longer."""
        self._ended = True
        self._over.set()
        for entry in self._pending:
            _refuse(entry)
        self._pending.clear()
        self._clean.set()
        self._wake.set()

    async def run(self) -> None:
        """Commit until `end`. Never cancel it: a commit must not be cut off."""
        while not self._ended:
            if not self._pending:
                self._clean.set()
                self._wake.clear()
                await self._wake.wait()
                continue
            # A full unit gains nothing by waiting.
            wait = linger(self._started, self._cost, self._settings) - self._clock.monotonic()
            if wait > 0 and len(self._pending) < UNIT_ENTRIES:
                await self._clock.sleep(wait)
                if self._ended:
                    return
            await self._commit_some()

    async def _commit_some(self) -> None:
        entries, unit = self._next_unit()
        self._started = self._clock.monotonic()
        failure = await self._commit(unit)
        if self._ended or failure is not None:
            for entry in entries:
                _refuse(entry)
            if failure is not None and not self._ended:
                self.end()
                self._on_end(failure)
            return
        self._metrics.committed(len(entries), self._clock.monotonic() - self._started)
        for entry in entries:
            if entry.committed is not None and not entry.committed.done():
                entry.committed.set_result(None)
        self._on_commit(sum(len(entry.done) for entry in entries))

    def _next_unit(self) -> tuple[list[Entry], Unit]:
        entries: list[Entry] = []
        outputs: list[Outgoing] = []
        puts: dict[str, bytes | None] = {}
        touched: set[str] = set()
        size = 0
        while self._pending and len(entries) < UNIT_ENTRIES:
            size += self._pending[0].size()
            if entries and size > UNIT_BYTES:
                break
            entry = self._pending.popleft()
            entries.append(entry)
            outputs.extend(entry.outputs)
            puts.update(entry.puts)
            for topic, offset in entry.done:
                # Only here, so that no unit says of a record that it is done before its effects are in it.
                self._trackers[topic].complete(offset)
                touched.add(topic)
        progress: dict[str, Progress] = {topic: self._trackers[topic].progress() for topic in touched}
        return entries, Unit(outputs=tuple(outputs), puts=puts, progress=progress)

    async def _commit(self, unit: Unit) -> str | None:
        """None when it is visible; else how the lease ended. The same unit is tried while the log is away."""
        wait = self._settings.retry_first_seconds
        while True:
            began = self._clock.monotonic()
            try:
                await self._lease.commit(unit)
            except LogUnavailable as failure:
                self._metrics.failed("LogUnavailable")
                if not self.unavailable:
                    _log.warning("the log takes no units now", lease=self._lease.number, reason=failure.reason)
                self.unavailable = True
                # Nothing of it is visible, so the same unit may be tried until the lease itself ends.
                if self._ended:
                    return None
                await self._pause(max(wait, failure.delay or 0.0))
                if self._ended:
                    return None
                wait = min(wait * 2, self._settings.retry_most_seconds)
            except LeaseLost:
                return "lost"
            except CommitUnknown:
                return "unknown"
            else:
                self.unavailable = False
                # Smoothed, so that one slow flush of the disk does not make the next second's effects wait.
                self._cost = 0.8 * self._cost + 0.2 * (self._clock.monotonic() - began)
                return None

    async def _pause(self, seconds: float) -> None:
        await wait(self._over, seconds=seconds, clock=self._clock)


def _refuse(entry: Entry) -> None:
    if entry.committed is not None and not entry.committed.done():
        entry.committed.set_exception(LeaseLost("the lease ended before the effects were visible"))
        entry.committed.exception()  # whoever waited may be gone: that nobody looks is no defect
