"""Where partitions begin and end.

Asked over connections of their own: a broker answers the requests of a connection in turn, and behind a fetch that
waits for records every question would wait as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from callgate.clock import Clock
from callgate.log.kafka import clients
from callgate.log.port import LogClosed, LogUnavailable

ASK_SECONDS = 10.0
"""How long the brokers may take to answer, while leaders change."""

SETTLE_SECONDS = 15.0
"""How long open transactions are waited for: longer than the brokers leave one of a dead member open by default."""

_LOOK_SECONDS = 0.005


class Offsets:
    """Asks for one process. Calls may run side by side."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Nothing is connected before the first question."""
        self._options = options
        self._consumers: dict[bool, Any] = {}
        self._starting = asyncio.Lock()
        self._asking: set[asyncio.Task[dict[TopicPartition, int]]] = set()

    async def begins(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Where partitions begin, after what retention has dropped. Raises `LogUnavailable`."""
        consumer = await self._consumer(committed=True)
        return await self._asked(consumer.beginning_offsets(places))

    async def ends(self, places: Sequence[TopicPartition], *, committed: bool = True) -> dict[TopicPartition, int]:
        """Where they end: `committed`, before the first transaction that is open. Raises `LogUnavailable`."""
        consumer = await self._consumer(committed=committed)
        return await self._asked(consumer.end_offsets(places))

    async def settled(self, places: Sequence[TopicPartition], clock: Clock) -> dict[TopicPartition, int]:
        """Where they end once the transactions that are open now have ended: all that was committed lies before.

        A commit returns before its markers are written everywhere, so the committed end alone could miss it. One of a
        dead member ends with its time-out; if even that does not come, the committed end is what is known.
        """
        wanted = await self.ends(places, committed=False)
        until = clock.monotonic() + SETTLE_SECONDS
        while True:
            ends = await self.ends(places)
            if all(ends[place] >= wanted[place] for place in places) or clock.monotonic() >= until:
                return {place: min(ends[place], wanted[place]) for place in places}
            await clock.sleep(_LOOK_SECONDS)

    async def close(self) -> None:
        """Let go of the connections. Whoever still asks gets `LogUnavailable`."""
        for asking in self._asking:
            asking.cancel()
        for consumer in self._consumers.values():
            await clients.stop(consumer)
        self._consumers.clear()

    async def _consumer(self, *, committed: bool) -> Any:
        async with self._starting:
            if committed not in self._consumers:
                self._consumers[committed] = await started(clients.reader(self._options, committed=committed))
            return self._consumers[committed]

    async def _asked(self, question: Coroutine[Any, Any, dict[TopicPartition, int]]) -> dict[TopicPartition, int]:
        # In a task of its own: the library never answers who still asks when its consumer is stopped.
        asking = asyncio.create_task(question)
        self._asking.add(asking)
        try:
            await asyncio.wait((asking,), timeout=ASK_SECONDS)
            if asking.cancelled():
                raise LogClosed("the log is closed")
            if not asking.done():
                raise LogUnavailable("the brokers do not say where a partition ends")
            return asking.result()
        except KafkaError as error:
            raise LogUnavailable(f"the brokers do not say where a partition ends ({type(error).__name__})") from error
        finally:
            self._asking.discard(asking)
            asking.cancel()


async def started(consumer: Any) -> Any:
    """A consumer, started. Raises `LogUnavailable`."""
    try:
        await clients.start(consumer, ASK_SECONDS)
    except (KafkaError, TimeoutError, OSError) as error:
        raise LogUnavailable(f"the brokers can't be reached ({type(error).__name__})") from error
    return consumer
