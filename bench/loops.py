"""What Callgate is compared with on Kafka: a careful copy loop, the same with transactions, and a naive worker."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.worlds import PARTITIONS, Usage
from callgate.events import topics

BATCH = 500


def _consumer(bootstrap: str, group: str, **options: Any) -> Any:
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        **options,
    )


async def copy(bootstrap: str, prefix: str, count: int) -> dict[str, float]:
    """Consume, send, commit: five hundred at a time, the partition named, 5 ms of linger. As a careful person would."""
    consumer = _consumer(bootstrap, f"{prefix}copy")
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, acks="all", linger_ms=5, max_batch_size=262_144
    )
    await consumer.start()
    await producer.start()
    consumer.subscribe([prefix + topics.PROPOSED.name])
    usage, done = None, 0
    while done < count:
        for place, records in (await consumer.getmany(timeout_ms=1000, max_records=BATCH)).items():
            usage = usage or Usage.begin()
            sent = [
                await producer.send(
                    prefix + topics.DECIDED.name,
                    each.value,
                    key=each.key,
                    partition=place.partition,
                    headers=list(each.headers),
                )
                for each in records
            ]
            await asyncio.gather(*sent)
            await consumer.commit({place: records[-1].offset + 1})
            done += len(records)
    assert usage is not None
    result = {"count": done, **usage.so_far()}
    await consumer.stop()
    await producer.stop()
    return result


async def copy_exactly_once(bootstrap: str, prefix: str, count: int) -> dict[str, float]:
    """The same in transactions of built batches, offsets included: the cheapest that the library can be."""
    consumer = _consumer(bootstrap, f"{prefix}copytx")
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=f"{prefix}copytx", max_batch_size=1_000_000
    )
    await consumer.start()
    await producer.start()
    consumer.assign([TopicPartition(prefix + topics.PROPOSED.name, number) for number in range(PARTITIONS)])
    await consumer.seek_to_beginning()
    usage, done = None, 0
    while done < count:
        for place, records in (await consumer.getmany(timeout_ms=1000, max_records=BATCH)).items():
            usage = usage or Usage.begin()
            await producer.begin_transaction()
            batch = producer.create_batch()
            for each in records:
                batch.append(key=each.key, value=each.value, timestamp=None, headers=list(each.headers))
            await (await producer.send_batch(batch, prefix + topics.DECIDED.name, partition=place.partition))
            await producer.send_offsets_to_transaction({place: records[-1].offset + 1}, f"{prefix}copytx")
            await producer.commit_transaction()
            done += len(records)
    assert usage is not None
    result = {"count": done, **usage.so_far()}
    await consumer.stop()
    await producer.stop()
    return result


async def naive(bootstrap: str, prefix: str, count: int, url: str) -> dict[str, float]:
    """One event at a time: ask BIGHUB, send and wait, commit."""
    consumer = _consumer(bootstrap, f"{prefix}naive{count}")
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await consumer.start()
    await producer.start()
    consumer.subscribe([prefix + topics.PROPOSED.name])
    usage: Usage | None = None
    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            record = await consumer.getone()
            usage = usage or Usage.begin()
            async with session.post(f"{url}/actions/evaluate", data=record.value) as answer:
                decision = await answer.read()
            await producer.send_and_wait(prefix + topics.DECIDED.name, decision, partition=record.partition)
            await consumer.commit()
    assert usage is not None
    result = {"count": count, **usage.so_far()}
    await consumer.stop()
    await producer.stop()
    return result
