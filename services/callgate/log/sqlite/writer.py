"""Group commit: what several writers of this process want written at the same time shares one transaction and one sync.

A sync costs milliseconds on a plain disk. The leases of a process commit independently of each other, so while one
transaction is being synced the next ones gather, and go together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor

from callgate.log.port import Position
from callgate.log.sqlite.store import Store, Write

TOGETHER = 64
"""Parts in one transaction at the most, so that other processes come to write too."""


class Writer:
    """Runs writes in the store's thread, in the order in which they were asked for."""

    def __init__(self, store: Store, executor: Executor, appended: Callable[[Iterable[Position]], None]) -> None:
        """`appended` is told of all that was written, also where nobody waits any more for having written it."""
        self._store = store
        self._executor = executor
        self._appended = appended
        self._waiting: list[tuple[Write, asyncio.Future[list[Position]]]] = []
        self._running = False
        self._idle = asyncio.Event()
        self._idle.set()

    def write(self, part: Write) -> Awaitable[list[Position]]:
        """Write a part. The result raises what the part, or the transaction, raised. It goes on if it is cancelled."""
        written: asyncio.Future[list[Position]] = asyncio.get_running_loop().create_future()
        self._waiting.append((part, written))
        self._idle.clear()
        self._next()
        return written

    async def drained(self) -> None:
        """Wait until all that was asked for has been written or has failed."""
        await self._idle.wait()

    def _next(self) -> None:
        if self._running:
            return
        if not self._waiting:
            self._idle.set()
            return
        self._running = True
        batch, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
        parts = [part for part, _ in batch]
        running = asyncio.get_running_loop().run_in_executor(self._executor, self._store.write, parts)
        running.add_done_callback(lambda done: self._deliver(done, [written for _, written in batch]))

    def _deliver(
        self, done: asyncio.Future[list[list[Position] | Exception]], waiting: list[asyncio.Future[list[Position]]]
    ) -> None:
        self._running = False
        self._next()
        defect = done.exception()
        if defect is not None:
            for written in waiting:
                if not written.done():
                    written.set_exception(defect)
            return
        for written, result in zip(waiting, done.result(), strict=True):
            if isinstance(result, list):
                self._appended(result)
                if not written.done():
                    written.set_result(result)
            elif not written.done():
                written.set_exception(result)
