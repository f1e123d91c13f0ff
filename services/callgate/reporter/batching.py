"""Micro-batches: what many lanes report at once goes out in one request, and each lane learns how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from callgate.clock import Clock

Entry = dict[str, Any]
Send = Callable[[Sequence[Entry]], Awaitable[None]]


class Batcher:
    """Collects entries for `linger` seconds, or until there are `most`, and sends them together.

    A request that fails fails for every lane in it: each of them is retried by the worker, perhaps in other company.
    """

    def __init__(self, send: Send, clock: Clock, *, linger: float = 0.02, most: int = 500) -> None:
        """`linger` is in seconds: short beside a round trip, long beside the arrival of work under load."""
        self._send = send
        self._clock = clock
        self._linger = linger
        self._most = most
        self._waiting: list[tuple[Sequence[Entry], asyncio.Future[None]]] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None

    async def add(self, entries: Sequence[Entry]) -> None:
        """Send entries with others'; returns when they are accepted. Raises what the request raised."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, done))
        if sum(len(each) for each, _ in self._waiting) >= self._most:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.create_task(self._flush_later())
        await done

    async def aclose(self) -> None:
        """Stop; what is still waiting is cancelled, and will be reported by whoever gets the work next."""
        tasks = [*self._sending, *([self._timer] if self._timer else [])]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        for _, done in self._waiting:
            done.cancel()

    async def _flush_later(self) -> None:
        await self._clock.sleep(self._linger)
        self._timer = None
        self._flush()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._waiting = self._waiting, []
        if batch:
            task = asyncio.create_task(self._deliver(batch))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _deliver(self, batch: list[tuple[Sequence[Entry], asyncio.Future[None]]]) -> None:
        try:
            await self._send([entry for entries, _ in batch for entry in entries])
        except asyncio.CancelledError:
            for _, done in batch:
                done.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - passed on to every lane, which knows what to do with it
            for _, done in batch:
                if not done.done():
                    done.set_exception(error)
        else:
            for _, done in batch:
                if not done.done():
                    done.set_result(None)
