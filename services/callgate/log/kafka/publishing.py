"""What is published outside leases: all or none, in order.

One batch of one partition is all or none by itself, so an idempotent producer is enough for it; anything more is a
transaction. A producer that has failed is replaced: nothing is fenced by it, since nobody else has its id.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from callgate.log.kafka import clients
from callgate.log.kafka.names import Names
from callgate.log.kafka.transactions import Transactions, Write, built, named
from callgate.log.port import CommitUnknown, LeaseLost, LogUnavailable, Position
from callgate.settings import KafkaSettings

SEND_SECONDS = 15.0
"""How long the brokers may take to acknowledge what is published. Afterwards nobody can say whether it is there."""

_REFUSED = (
    InvalidTimestampError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
"""What the brokers say before they write anything."""


class Publisher:
    """Publishes for one process. Calls may run side by side."""

    def __init__(self, options: Mapping[str, Any], kafka: KafkaSettings, names: Names) -> None:
        """Nothing is connected before the first call."""
        self._options = options
        self._kafka = kafka
        self._names = names
        self._producer: Any = None
        self._starting = asyncio.Lock()
        self._transactions: Transactions | None = None
        self._one_by_one = asyncio.Lock()

    async def publish(self, writes: Sequence[Write]) -> list[Position]:
        """Write records. Raises `LogUnavailable`, `CommitUnknown`."""
        if not writes:
            return []
        producer = await self._started()
        batches, places = built(producer, writes)
        if len(batches) > 1:
            offsets = await self._together(writes)
        else:
            first = await self._alone(producer, *batches[0])
            offsets = [first + place for _, place in places]
        return [
            Position(self._names.bare(write.topic), write.partition, offset)
            for write, offset in zip(writes, offsets, strict=True)
        ]

    async def close(self) -> None:
        """Let go of the connections."""
        if self._producer is not None:
            await clients.stop(self._producer)
        if self._transactions is not None:
            await self._transactions.stop()

    async def _started(self) -> Any:
        async with self._starting:
            if self._producer is None:
                producer = clients.idempotent(self._options)
                try:
                    await clients.start(producer, SEND_SECONDS)
                except (KafkaError, TimeoutError, OSError) as error:
                    raise LogUnavailable(f"the brokers can't be reached ({type(error).__name__})") from error
                self._producer = producer
            return self._producer

    async def _alone(self, producer: Any, batch: Any, topic: str, partition: int) -> int:
        sent = False
        try:
            async with asyncio.timeout(SEND_SECONDS):
                future = await producer.send_batch(batch, topic, partition=partition)
                sent = True
                return int((await future).offset)
        except _REFUSED as error:
            # It has counted on past the batch: whatever it sent next to that partition would be out of order.
            self._replace(producer)
            clients.stop_behind(producer)
            raise LogUnavailable(f"the brokers refuse what is published to {topic} ({named(error)})") from error
        except (KafkaError, TimeoutError) as error:
            # It would go on trying, and what it has lost count of would stand in the way of all that follows.
            self._replace(producer)
            await clients.abandon(producer)
            reason = f"the brokers did not acknowledge what was published to {topic} ({type(error).__name__})"
            raise (CommitUnknown(reason) if sent else LogUnavailable(reason)) from error

    def _replace(self, producer: Any) -> None:
        if self._producer is producer:
            self._producer = None

    async def _together(self, writes: Sequence[Write]) -> list[int]:
        async with self._one_by_one:
            if self._transactions is None:
                name = self._names.group(f"publisher.{secrets.token_hex(8)}")
                transactions = Transactions(self._options, self._kafka, name)
                await transactions.start()
                self._transactions = transactions
            try:
                return await asyncio.shield(self._transactions.commit(writes))
            except (LeaseLost, CommitUnknown, asyncio.CancelledError) as failure:
                transactions, self._transactions = self._transactions, None
                await transactions.abandon()
                if isinstance(failure, LeaseLost):
                    raise LogUnavailable(str(failure)) from failure
                raise
