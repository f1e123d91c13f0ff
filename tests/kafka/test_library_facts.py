"""What the brokers' client does that one would not expect, by number (F1 to F11): each is handled, each here by name.

F8 and the fencing of zombies (F1, F2) are also in test_membership; F6 is in test_broken_records.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IllegalOperation, UnknownError, for_code
from aiokafka.structs import OffsetAndMetadata
from tests.support.log_engines import (
    ALSO_IN,
    GROUP,
    IN,
    OUT,
    SESSION_SECONDS,
    Engine,
    all_leases,
    lease_of,
    publish,
    sent,
    table,
    take,
    values,
)

from callgate.clock import SystemClock
from callgate.log.kafka.connection import client_options
from callgate.log.kafka.membership import KafkaGroup
from callgate.log.kafka.transactions import Transactions, Write
from callgate.log.port import CommitUnknown, Lease, LeaseLost, LogUnavailable, Progress, Unit
from callgate.settings import KafkaSettings

TOPICS = (IN, ALSO_IN)


def producer_of(lease: Lease) -> Any:
    """The library's producer of a lease."""
    return lease._claimed.transactions._producer  # type: ignore[attr-defined]


def bootstrap(engine: Engine) -> str:
    """Host and port."""
    return engine.address.removeprefix("kafka://")


async def test_f1_a_unit_needs_no_group_in_its_transaction(engine: Engine) -> None:
    """F1: the library can't fence offsets by generation in a transaction, so progress is a record of ours in it."""
    log = await engine.open()
    lease = await lease_of(log, 0)
    manager = producer_of(lease)._txn_manager
    await lease.commit(Unit((sent(b"o", topic=OUT),), progress={IN: Progress(1)}))
    assert manager._txn_consumer_group is None
    assert await log.progress(GROUP) == {(IN, 0): Progress(1)}


async def test_f2_what_the_group_says_of_offsets_is_never_believed(engine: Engine) -> None:
    """F2: offsets fetched from a group may be stale, so a claim restores from the state, whatever the group says."""
    log = await engine.open()
    await publish(log, [b"0", b"1", b"2"])
    lease = await lease_of(log, 0)
    await lease.commit(Unit(progress={IN: Progress(1)}))
    await log.close()
    liar = AIOKafkaConsumer(bootstrap_servers=bootstrap(engine), group_id=f"{engine.prefix}{GROUP}")
    await liar.start()
    place = TopicPartition(f"{engine.prefix}{IN}", 0)
    liar.assign([place])
    await liar.commit({place: OffsetAndMetadata(3, "")})
    await liar.stop()
    again = await lease_of(await engine.open(), 0)
    assert again.progress[IN] == Progress(1)
    assert [record.value for record in await take(again, 2)] == [b"1", b"2"]


async def test_f3_only_plain_commits_are_fenced_and_nothing_depends_on_them(engine: Engine) -> None:
    """F3: a group commit that fails because the group has moved on costs nothing: the lease goes on."""
    log = await engine.open()
    group = await log.join(GROUP, TOPICS)
    assert isinstance(group, KafkaGroup)
    lease = next(each for each in await all_leases(group, 4) if each.number == 0)
    coordinator = group._consumer._coordinator
    generation, coordinator.generation = coordinator.generation, coordinator.generation + 7
    await group._report()
    coordinator.generation = generation
    await lease.commit(Unit(puts={"k": b"v"}))
    assert await table(log) == {(0, "k"): b"v"}


async def take_little(engine: Engine) -> None:
    """Let the brokers refuse larger records on one topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap(engine))
    await admin.start()
    small = ConfigResource(ConfigResourceType.TOPIC, f"{engine.prefix}{OUT}", {"max.message.bytes": "1000"})
    await admin.alter_configs([small])
    await admin.close()
    await asyncio.sleep(0.5)


async def test_f4_a_failed_send_fails_the_unit(engine: Engine) -> None:
    """F4: the library would commit although a send failed; a unit of which one record is refused is not there."""
    log = await engine.open()
    group = await log.join(GROUP, TOPICS)
    lease = next(each for each in await all_leases(group, 4) if each.number == 0)
    await take_little(engine)
    too_large = Unit((sent(b"fine", 0, ALSO_IN), sent(b"x" * 5000, topic=OUT)), {"k": b"v"}, {IN: Progress(1)})
    with pytest.raises(LeaseLost, match="TooLarge"):
        await lease.commit(too_large)
    assert (await values(log, ALSO_IN), await values(log, OUT), await table(log)) == ([], [], {})
    # The library has counted on past what was refused: only a producer of a new claim can go on.
    (again,) = await all_leases(group, 1)
    await again.commit(Unit((sent(b"small", topic=OUT),)))
    assert await values(log, OUT) == [b"small"]


async def test_f4_what_is_refused_outside_leases_stands_in_the_way_of_nothing(engine: Engine) -> None:
    """F4: a batch that is refused has used up its number; what is published afterwards is taken, once and in order."""
    log = await engine.open()
    await take_little(engine)
    await publish(log, [b"first"], topic=OUT)
    with pytest.raises(LogUnavailable, match="refuse"):
        await publish(log, [b"x" * 5000], topic=OUT)
    places = [(await publish(log, [value], topic=OUT))[0].offset for value in (b"second", b"third")]
    assert (await values(log, OUT), places) == ([b"first", b"second", b"third"], [1, 2])


async def test_f5_reading_goes_on_through_a_rebalance(engine: Engine) -> None:
    """F5: a group consumer's reads stand still while a rebalance waits for a silent member; those of a lease do not."""
    log, other = await engine.open(), await engine.open()
    group = await log.join(GROUP, TOPICS)
    assert isinstance(group, KafkaGroup)
    lease = next(each for each in await all_leases(group, 4) if each.number == 0)
    silent = await other.join(GROUP, TOPICS)
    assert isinstance(silent, KafkaGroup)
    coordinator = silent._consumer._coordinator
    async with asyncio.timeout(10):
        while not silent._assigned:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    for task in (coordinator._heartbeat_task, coordinator._coordination_task):
        task.cancel()
        await asyncio.wait((task,))
    coordinator._coordination_task = asyncio.ensure_future(asyncio.sleep(0))
    group._consumer._coordinator.request_rejoin()  # a rebalance that waits for the silent one
    until = time.monotonic() + SESSION_SECONDS
    while time.monotonic() < until:
        started = time.monotonic()
        (position,) = await publish(log, [b"x"])
        (record,) = await take(lease, 1)
        assert record.offset == position.offset
        await lease.commit(Unit(progress={IN: Progress(record.offset + 1)}))
        assert time.monotonic() - started < SESSION_SECONDS / 2
        await asyncio.sleep(0.1)


async def test_f7_a_member_never_fetches(engine: Engine) -> None:
    """F7: records would come during the assignment itself; a member's partitions are paused before anything else."""
    log = await engine.open()
    await publish(log, [b"0"])
    group = await log.join(GROUP, TOPICS)
    assert isinstance(group, KafkaGroup)
    await all_leases(group, 4)
    assert group._consumer.paused() == group._consumer.assignment() != set()
    await asyncio.sleep(0.6)
    assert group._consumer._fetcher._records == {}


async def test_f8_leaving_gives_everything_back_although_nobody_is_told_to(engine: Engine) -> None:
    """F8: the library's stop tells nobody of revoked partitions; a leave commits, releases, and then stops."""
    log, other = await engine.open(), await engine.open()
    group = await log.join(GROUP, TOPICS)
    first = next(each for each in await all_leases(group, 4) if each.number == 0)
    await first.commit(Unit(puts={"last": b"unit"}))
    started = time.monotonic()
    await group.leave()
    taken = await all_leases(await other.join(GROUP, TOPICS), 4, seconds=10)
    assert time.monotonic() - started < SESSION_SECONDS + 3.0
    assert next(each for each in taken if each.number == 0).table == {"last": b"unit"}


async def test_f9_a_handler_longer_than_any_poll_interval_keeps_its_lease(engine: Engine) -> None:
    """F9: the poll interval is no watch to rely on; a member that polls nothing for long keeps what it holds."""
    log = await engine.open()
    lease = await lease_of(log, 0)
    await asyncio.sleep(2.5 * SESSION_SECONDS)
    assert await lease.held()
    await lease.commit(Unit(puts={"k": b"v"}))


async def test_f10_an_error_that_the_library_does_not_know_ends_the_lease(kafka: str) -> None:
    """F10: codes that are newer than the library are unknown errors: nothing is tried again after one."""
    assert [for_code(code) for code in (82, 88, 90, 120)] == [UnknownError] * 4
    transactions = Transactions(client_options(kafka, KafkaSettings()), KafkaSettings(), "f10")
    await transactions.start()

    async def unknown(*_: object, **__: object) -> None:
        raise UnknownError

    transactions._producer.send_batch = unknown
    with pytest.raises(LeaseLost):
        await transactions.commit([Write("any", 0, b"k", b"v", (), 0)])
    await transactions.abandon()


async def test_a_producer_that_fails_between_two_sends_ends_its_lease(kafka: str) -> None:
    """What the library raises when its sender has died is none of its own errors, and ends the lease all the same."""
    transactions = Transactions(client_options(kafka, KafkaSettings()), KafkaSettings(), "between")
    await transactions.start()

    async def dead(*_: object, **__: object) -> None:
        raise IllegalOperation

    transactions._producer.send_batch = dead
    with pytest.raises(LeaseLost):
        await transactions.commit([Write("any", 0, b"k", b"v", (), 0)])
    await transactions.abandon()


async def test_f11_how_a_commit_ended_is_unknown_whatever_is_said_of_it(engine: Engine) -> None:
    """F11: a commit that was begun goes on by itself; whatever is heard of it, its lease ends, and the log is asked."""
    log = await engine.open()
    lease = await lease_of(log, 0)
    producer = producer_of(lease)
    commit = producer.commit_transaction

    async def lost() -> None:
        await commit()
        raise TimeoutError

    producer.commit_transaction = lost
    with pytest.raises(CommitUnknown):
        await lease.commit(Unit(puts={"k": b"v"}))
    with pytest.raises(LeaseLost):
        await lease.commit(Unit(puts={"k": b"w"}))
    assert await table(log) == {(0, "k"): b"v"}


def test_the_clock_of_a_proof_counts_while_the_process_stands_still() -> None:
    """A heartbeat's proof is measured by a clock that goes on while the process does not."""
    assert time.get_clock_info("monotonic").implementation.startswith("clock_gettime(CLOCK_MONOTONIC")
    assert SystemClock().monotonic() == pytest.approx(time.monotonic(), abs=0.5)
