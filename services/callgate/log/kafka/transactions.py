"""A producer whose writes become visible together or not at all, and the three ends that they can have.

The library commits a transaction although a send in it failed (F4), so every send's future is looked at first. It never
gives up by itself while the brokers are away, so each phase has a deadline. And once it has met a fatal error it is of
no more use: whoever owns it starts a new one in the right place, never here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from aiokafka.errors import InvalidTimestampError, KafkaError

from callgate.log.kafka import clients
from callgate.log.port import CommitUnknown, Headers, LeaseLost, LogUnavailable
from callgate.settings import KafkaSettings

START_SECONDS = 30.0
"""How long a producer may take to start: it waits for the end of what its predecessor has begun to commit."""

ABORT_SECONDS = 3.0
"""How long an abort may take. If it does not come through, the brokers abort by themselves."""


class Write(msgspec.Struct, frozen=True):
    """One record to be written."""

    topic: str
    """As the brokers know it."""
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class Transactions:
    """One transactional producer. Not to be used by two at once."""

    def __init__(self, options: Mapping[str, Any], kafka: KafkaSettings, transactional_id: str) -> None:
        """Nothing is started yet."""
        self._id = transactional_id
        self._send_seconds = kafka.transaction_seconds
        # A commit that has been sent is decided: more time finds out how.
        self._commit_seconds = 2 * kafka.transaction_seconds
        self._producer = clients.transactional(options, kafka, transactional_id)
        self._deadline: asyncio.Timeout | None = None
        """Of what is under way."""
        self._abandoned = False

    async def start(self) -> None:
        """Fence every earlier producer of the same id, and abort what it had begun. Raises `LogUnavailable`."""
        try:
            await clients.start(self._producer, START_SECONDS)
        except (KafkaError, TimeoutError, OSError) as error:
            raise LogUnavailable(f"the producer {self._id} could not be started ({named(error)})") from error

    async def commit(self, writes: Sequence[Write]) -> list[int]:
        """Make the records visible; the offset of each. Raises `LeaseLost`, `CommitUnknown`.

        Must not be cancelled. After either the producer is of no more use.
        """
        if not writes:
            return []
        futures, offsets = await self._sent(writes)
        try:
            async with self._within(self._commit_seconds):
                await self._producer.commit_transaction()
        except Exception as error:
            # Also where we hear that we are fenced: an earlier attempt of the same request may have come through.
            raise CommitUnknown(f"how the transaction of {self._id} ended is not known ({named(error)})") from error
        return [futures[batch].result().offset + place for batch, place in offsets]

    async def stop(self) -> None:
        """Give back its connections. What was not committed is aborted by the brokers, or by a successor."""
        await clients.stop(self._producer)

    async def abandon(self) -> None:
        """The same where it is known to be of no use: nothing is waited for, and a commit under way ends at once."""
        self._abandoned = True
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time())
        await clients.abandon(self._producer)

    @asynccontextmanager
    async def _within(self, seconds: float) -> AsyncIterator[None]:
        async with asyncio.timeout(seconds) as deadline:
            self._deadline = deadline
            try:
                yield
            finally:
                self._deadline = None

    async def _sent(self, writes: Sequence[Write]) -> tuple[list[asyncio.Future[Any]], list[tuple[int, int]]]:
        futures: list[asyncio.Future[Any]] = []
        try:
            async with self._within(self._send_seconds):
                await self._producer.begin_transaction()
                batches, offsets = built(self._producer, writes)
                for batch, topic, partition in batches:
                    futures.append(await self._producer.send_batch(batch, topic, partition=partition))
                await asyncio.wait(futures)
        except Exception as error:  # noqa: BLE001 - beside its errors the library raises others, in states it did not expect
            failure: BaseException = error
        else:
            failures = [future.exception() for future in futures if future.exception() is not None]
            if not failures:
                return futures, offsets
            failure = failures[0] or KafkaError()
        for future in futures:
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
        await self._give_up(failure)
        raise AssertionError("not reached") from failure

    async def _give_up(self, failure: BaseException) -> None:
        """Abort, and say how it ended: nothing was committed, so nothing of it can ever be seen.

        Nothing is tried again with this producer, however harmless the failure: the library has counted on past the
        batches that failed, and the brokers would refuse whatever comes next as out of order.
        """
        if not self._abandoned:
            with suppress(Exception):
                # For the readers: they would wait for the brokers to do it.
                async with self._within(ABORT_SECONDS):
                    await self._producer.abort_transaction()
        raise LeaseLost(f"the producer {self._id} has come to its end ({named(failure)})") from failure


def built(producer: Any, writes: Sequence[Write]) -> tuple[list[tuple[Any, str, int]], list[tuple[int, int]]]:
    """Batches to send, in order, and for each record its batch and its place in it.

    Building them ourselves costs a third of sending record by record, because the library looks at each only once.
    """
    batches: list[tuple[Any, str, int]] = []
    current: dict[tuple[str, int], int] = {}
    places: list[tuple[int, int]] = []
    for write in writes:
        place = (write.topic, write.partition)
        number = current.get(place)
        if number is None or not _appended(batches[number][0], write):
            number = current[place] = len(batches)
            batches.append((producer.create_batch(), write.topic, write.partition))
            if not _appended(batches[number][0], write):
                raise AssertionError("an empty batch takes any record")
        places.append((number, batches[number][0].record_count() - 1))
    return batches, places


def _appended(batch: Any, write: Write) -> bool:
    return (
        batch.append(key=write.key, value=write.value, timestamp=write.timestamp_ms, headers=list(write.headers))
        is not None
    )


def named(error: BaseException) -> str:
    """What the library calls an error, and what it means where the name leads nobody to the cause."""
    name = type(error).__name__
    if isinstance(error, InvalidTimestampError):
        return f"{name}: this machine's clock is far ahead of the brokers'"
    return name
