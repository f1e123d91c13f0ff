"""Micro-batches: what many lanes report at once goes out in one request, and each lane learns how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from callgate.clock import Clock
from callgate.failures import PermanentFailure

Entry = dict[str, Any]
Send = Callable[[Sequence[Entry]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One lane's entries, and the future that tells it how they went."""

    entries: Sequence[Entry]
    size: int
    done: asyncio.Future[None]


class Batcher:
    """Collects entries for `linger` seconds, or until there are `most`, and sends them together.

    A request that fails for now fails for every lane in it: each of them is retried by the worker, perhaps in other
    company. One that BIGHUB will never take is taken apart, so that a bad entry harms its own lane only.
    """

    def __init__(
        self, send: Send, clock: Clock, *, linger: float = 0.02, most: int = 500, most_bytes: int = 2_000_000
    ) -> None:
        """`linger` is in seconds: short beside a round trip, long beside the arrival of work under load."""
        self._send = send
        self._clock = clock
        self._linger = linger
        self._most = most
        self._most_bytes = most_bytes
        self._waiting: list[_Waiting] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None

    async def add(self, entries: Sequence[Entry]) -> None:
        """Send entries with others'; returns when they are accepted. Raises what the request raised."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(entries, len(orjson.dumps(entries)), done))
        if self._full():
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.create_task(self._flush_later())
        await done

    def _full(self) -> bool:
        count = sum(len(each.entries) for each in self._waiting)
        return count >= self._most or sum(each.size for each in self._waiting) >= self._most_bytes

    async def _flush_later(self) -> None:
        await self._clock.sleep(self._linger)
        self._timer = None
        self._flush()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # A lane that was cancelled, as its lease was lost, no longer asks for its report.
        batch, self._waiting = [each for each in self._waiting if not each.done.done()], []
        if batch:
            task = asyncio.create_task(self._deliver(batch))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _deliver(self, batch: Sequence[_Waiting]) -> None:
        try:
            await self._send([entry for each in batch for entry in each.entries])
        except PermanentFailure as failure:
            if len(batch) == 1:
                _tell(batch, failure)
                return
            for each in batch:
                await self._deliver([each])
        except asyncio.CancelledError:
            for each in batch:
                each.done.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - passed on to every lane, which knows what to do with it
            _tell(batch, error)
        else:
            _tell(batch, None)


def _tell(batch: Sequence[_Waiting], error: Exception | None) -> None:
    for each in batch:
        if each.done.done():
            continue
        if error is None:
            each.done.set_result(None)
        else:
            each.done.set_exception(error)
