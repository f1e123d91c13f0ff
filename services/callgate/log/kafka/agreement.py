"""N, the one number of partitions, as it is recorded in `control`: written once, when the layout is complete."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from callgate.clock import Clock
from callgate.events.codec import Undecodable, decode, encode
from callgate.events.control import ControlChanged
from callgate.events.topics import CONTROL
from callgate.log.kafka import clients
from callgate.log.kafka.names import Names
from callgate.log.port import LogUnavailable

READ_SECONDS = 15.0
"""How long the brokers may take to give us `control`, which is compacted and small."""

_SOURCE = "callgate-topics"


async def recorded(options: Mapping[str, Any], names: Names) -> int | None:
    """N as `control` has it; None where it says nothing. Raises `LogUnavailable`.

    Records that can't be understood are passed over here: that they stop everything is said by the view of control.
    """
    place = TopicPartition(names.topic(CONTROL.name), 0)
    consumer = clients.reader(options, committed=False)
    found: int | None = None
    try:
        async with asyncio.timeout(READ_SECONDS):
            await consumer.start()
            consumer.assign([place])
            position = (await consumer.beginning_offsets([place]))[place]
            end = (await consumer.end_offsets([place]))[place]
            consumer.seek(place, position)
            while position < end:
                for record in (await consumer.getmany(place, timeout_ms=100)).get(place, []):
                    found = _partitions(record) or found
                position = await consumer.position(place)
    except (KafkaError, OSError, TimeoutError) as error:
        raise LogUnavailable(f"`control` can't be read ({type(error).__name__})") from error
    finally:
        await clients.stop(consumer)
    return found


async def record(options: Mapping[str, Any], names: Names, partitions: int, clock: Clock) -> None:
    """Write N into `control`. Raises `LogUnavailable`; afterwards it may be there or not, and may be written again."""
    change = ControlChanged(
        kind="partitions", partitions=partitions, changed_by=_SOURCE, changed_at=clock.now(), reason="topics apply"
    )
    value, headers = encode(change, source=_SOURCE, time=clock.now())
    producer = clients.idempotent(options)
    try:
        async with asyncio.timeout(READ_SECONDS):
            await producer.start()
            await producer.send_and_wait(
                names.topic(CONTROL.name), value, key=change.scope().encode(), partition=0, headers=list(headers)
            )
    except (KafkaError, OSError, TimeoutError) as error:
        raise LogUnavailable(f"`control` can't be written ({type(error).__name__})") from error
    finally:
        await clients.stop(producer)


def _partitions(record: Any) -> int | None:
    try:
        event = decode(record.value, tuple(record.headers)).event
    except Undecodable:
        return None
    if isinstance(event, ControlChanged) and event.kind == "partitions" and event.active:
        return event.partitions
    return None
