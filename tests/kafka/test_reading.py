"""Readers on a real broker: silent ones are replaced, and positions that are out of range are never guessed."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from structlog.testing import capture_logs
from tests.support.log_engines import ALSO_IN, GROUP, IN, Engine, all_leases, lease_of, publish, take

from callgate.log.kafka import reading
from callgate.log.kafka.reading import Reader
from callgate.log.port import Lease, LogUnavailable, Progress, Unit

TOPICS = (IN, ALSO_IN)


def reader_of(lease: Lease) -> Reader:
    """The reader of a lease."""
    reader = lease._claimed.reader  # type: ignore[attr-defined]
    assert isinstance(reader, Reader)
    return reader


async def test_a_reader_that_hears_nothing_of_what_is_there_is_replaced(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer that has silently stopped is noticed because the partition grows, and another one reads on."""
    monkeypatch.setattr(reading, "STALL_SECONDS", 0.5)
    log = await engine.open()
    await publish(log, [b"0"])
    lease = await lease_of(log, 0)
    assert [record.value for record in await take(lease, 1)] == [b"0"]
    consumer = reader_of(lease)._consumer
    consumer._fetcher._fetch_task.cancel()
    await asyncio.wait((consumer._fetcher._fetch_task,))
    await publish(log, [b"1", b"2"])
    with capture_logs() as said:
        assert [record.value for record in await take(lease, 2, seconds=20)] == [b"1", b"2"]
    assert any("it is replaced" in each["event"] for each in said)
    assert reader_of(lease)._consumer is not consumer


async def test_an_idle_reader_is_left_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is nothing to hear, silence is no stall."""
    monkeypatch.setattr(reading, "STALL_SECONDS", 0.2)
    log = await engine.open()
    lease = await lease_of(log, 0)
    consumer = reader_of(lease)._consumer
    for _ in range(4):
        assert await lease.fetch(10, 0.3) == []
    assert reader_of(lease)._consumer is consumer


async def delete_before(engine: Engine, offset: int) -> None:
    """What retention does, at once."""
    admin = AIOKafkaAdminClient(bootstrap_servers=engine.address.removeprefix("kafka://"))
    await admin.start()
    await admin.delete_records({TopicPartition(f"{engine.prefix}{IN}", 0): RecordsToDelete(offset)})
    await admin.close()


async def test_what_retention_dropped_unread_is_said_and_the_rest_is_read(engine: Engine) -> None:
    """A position before the beginning goes on at the beginning, and how much was lost is said."""
    log = await engine.open()
    await publish(log, [str(number).encode() for number in range(6)])
    lease = await lease_of(log, 0)
    await lease.commit(Unit(progress={IN: Progress(1)}))
    await log.close()
    await delete_before(engine, 4)
    again = await lease_of(await engine.open(), 0)
    with capture_logs() as said:
        assert [record.value for record in await take(again, 2)] == [b"4", b"5"]
    (loss,) = [each for each in said if "retention" in each["event"]]
    assert (loss["first"], loss["lost"]) == (1, 3)


async def test_a_topic_that_ends_before_what_was_done_is_not_read(engine: Engine) -> None:
    """A position beyond the end means that the topic was made anew or cut: nothing is guessed; the way out is said."""
    log = await engine.open()
    await publish(log, [b"0", b"1"])
    group = await log.join(GROUP, TOPICS)
    lease = next(each for each in await all_leases(group, 4) if each.number == 0)
    await lease.commit(Unit(progress={IN: Progress(500)}))
    await lease.release()
    (again,) = await all_leases(group, 1)
    with pytest.raises(LogUnavailable, match="CALLGATE_TOPIC_PREFIX"):
        await take(again, 1, seconds=20)
