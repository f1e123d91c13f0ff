"""Groups on a real broker: the dead are taken over, zombies can do nothing, and what moves is waited for."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.group import LeaveGroupRequest
from tests.support.log_engines import ALSO_IN, GROUP, IN, OUT, SESSION_SECONDS, Engine, all_leases, sent, table, values

from callgate.log.kafka import membership
from callgate.log.kafka.engine import KafkaLog
from callgate.log.kafka.membership import KafkaGroup
from callgate.log.kafka.transactions import Transactions
from callgate.log.port import Group, Lease, LeaseLost, Log, Progress, Record, Unit

TOPICS = (IN, ALSO_IN)


def inner(group: Group) -> KafkaGroup:
    """The member itself."""
    assert isinstance(group, KafkaGroup)
    return group


def engine_of(log: Log) -> KafkaLog:
    """The engine itself."""
    assert isinstance(log, KafkaLog)
    return log


async def silence(group: Group) -> None:
    """Let a member fall silent, as if its process stood still: no heartbeat, no join, no good-bye."""
    coordinator = inner(group)._consumer._coordinator
    keeping = inner(group)._keeping
    assert keeping is not None
    for task in (keeping, coordinator._heartbeat_task, coordinator._coordination_task):
        task.cancel()
        await asyncio.wait((task,))
    coordinator._coordination_task = asyncio.ensure_future(asyncio.sleep(0))


async def number(group: Group, wanted: int) -> Lease:
    """One of a lone member's leases."""
    return next(lease for lease in await all_leases(group, 4) if lease.number == wanted)


async def test_a_silent_holder_is_taken_over_after_its_session_and_is_fenced(engine: Engine) -> None:
    """What a dead member held belongs to another within session + 3 s; the zombie commits nothing, and knows."""
    log, other = await engine.open(), await engine.open()
    dead = await log.join(GROUP, TOPICS)
    zombies = sorted(await all_leases(dead, 4), key=lambda lease: lease.number)
    await silence(dead)
    died = time.monotonic()
    new = sorted(await all_leases(await other.join(GROUP, TOPICS), 4, seconds=20), key=lambda lease: lease.number)
    assert time.monotonic() - died < SESSION_SECONDS + 3.0
    for zombie, rightful in zip(zombies, new, strict=True):
        assert rightful.epoch > zombie.epoch
        assert not await zombie.held()
        with pytest.raises(LeaseLost):
            await zombie.commit(Unit((sent(b"ghost", topic=OUT),), {"k": b"ghost"}))
        await rightful.commit(Unit(puts={"k": b"real"}))
    assert await values(log, OUT) == []
    assert set((await table(other)).values()) == {b"real"}


async def test_a_zombie_in_the_middle_of_a_unit_leaves_nothing_visible(engine: Engine) -> None:
    """Records that were sent before the take-over, and not committed, are aborted by the new holder's claim."""
    log, other = await engine.open(), await engine.open()
    dead = await log.join(GROUP, TOPICS)
    zombie = await number(dead, 0)
    producer = zombie._claimed.transactions._producer  # type: ignore[attr-defined]
    await producer.begin_transaction()
    ghost = sent(b"ghost", topic=OUT)
    await producer.send_and_wait(f"{engine.prefix}{OUT}", ghost.value, partition=0)
    await silence(dead)
    await all_leases(await other.join(GROUP, TOPICS), 4, seconds=20)
    with suppress(Exception):
        await asyncio.wait_for(producer.commit_transaction(), 5)
    assert await values(other, OUT) == []


async def test_a_zombie_can_not_claim(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stood still inside a claim, before its producer was up, does not fence the rightful holder."""
    log, other = await engine.open(), await engine.open()
    reached, go = asyncio.Semaphore(0), asyncio.Event()
    start = Transactions.start
    stuck = True

    async def slow(self: Transactions) -> None:
        if stuck:
            reached.release()
            await go.wait()
        await start(self)

    monkeypatch.setattr(Transactions, "start", slow)
    zombie = await log.join(GROUP, TOPICS)
    claiming = asyncio.ensure_future(zombie.claim(60))
    async with asyncio.timeout(10):
        for _ in range(4):
            await reached.acquire()
    await silence(zombie)
    stuck = False
    rightful = await all_leases(await other.join(GROUP, TOPICS), 4, seconds=20)
    go.set()
    await asyncio.sleep(1.0)
    claiming.cancel()
    await asyncio.wait((claiming,))
    assert claiming.cancelled(), claiming
    # The zombie may have fenced a holder by starting, and gave up then: whoever is fenced claims anew, by the rules.
    again = [lease for lease in rightful if not await _works(lease)]
    assert len(again) <= len(rightful)
    holders = await _reclaimed(other, [lease for lease in rightful if lease not in again], len(again))
    for lease in holders:
        await lease.commit(Unit(puts={"k": b"real"}))
    assert set((await table(other)).values()) == {b"real"}


async def _works(lease: Lease) -> bool:
    try:
        await lease.commit(Unit(puts={"k": b"real"}))
    except LeaseLost:
        return False
    return True


async def _reclaimed(log: Log, kept: list[Lease], missing: int) -> list[Lease]:
    (group,) = engine_of(log)._groups
    return [*kept, *await all_leases(group, missing, seconds=20)]


async def test_a_member_that_was_only_slow_is_a_member_again(engine: Engine) -> None:
    """One that was taken for dead has lost its leases, and gets its share back like a newcomer."""
    log, other = await engine.open(), await engine.open()
    slow = inner(await log.join(GROUP, TOPICS))
    held = await all_leases(slow, 4)
    coordinator = slow._consumer._coordinator
    beat = coordinator._do_heartbeat
    gone = asyncio.Event()

    async def silent() -> bool:
        if gone.is_set():
            return bool(await beat())
        return True

    # Its process lives, its heartbeats do not arrive.
    coordinator._do_heartbeat = silent
    newcomer = await other.join(GROUP, TOPICS)
    new: list[Lease] = []
    working = [asyncio.ensure_future(_work(newcomer, new)), asyncio.ensure_future(_work(slow, held))]
    async with asyncio.timeout(30):
        while len(new) < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    gone.set()
    async with asyncio.timeout(30):
        while not (len(new) == 2 and len(held) == 2):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    for task in working:
        task.cancel()


async def _work(group: Group, into: list[Lease]) -> None:
    """Claim for ever, give back what is asked for, and forget what is lost."""
    while True:
        lease = await group.claim(0.2)
        if lease is not None:
            into.append(lease)
        for each in list(into):
            try:
                if each.closing_within() is None:
                    await each.commit(Unit(puts={"worked": b"yes"}))
                    continue
            except LeaseLost:
                into.remove(each)
                continue
            into.remove(each)
            await each.release()


async def test_who_was_put_out_and_is_back_holds_nothing_of_before(engine: Engine) -> None:
    """A member that the group has put out must know it at once, and its new membership must prove no old lease."""
    log, other = await engine.open(), await engine.open()
    group = await log.join(GROUP, TOPICS)
    old = await all_leases(group, 4)
    coordinator = inner(group)._consumer._coordinator
    before = coordinator.member_id
    reading = [asyncio.create_task(lease.fetch(1, 30.0)) for lease in old]
    await asyncio.sleep(0.1)
    await coordinator._send_req(LeaveGroupRequest(coordinator.group_id, before))
    newcomer = await other.join(GROUP, TOPICS)
    async with asyncio.timeout(20):
        while coordinator.member_id == before or coordinator.generation <= 0:
            held = [await lease.held() for lease in old]
            assert coordinator.member_id == before or not any(held)
            await asyncio.sleep(0.01)
    assert await inner(group)._heartbeats.confirmed()
    assert not any([await lease.held() for lease in old])
    ends = await asyncio.gather(*reading, return_exceptions=True)
    assert [type(end) for end in ends] == [LeaseLost] * 4
    await newcomer.leave()


async def test_a_lease_that_is_not_given_back_in_time_is_lost(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that ignores that its lease is wanted loses it at the end of its time, and the other one gets it."""
    monkeypatch.setattr(membership, "CLOSING_SECONDS", 3.0)
    monkeypatch.setattr(membership, "PATIENCE_SECONDS", 1.0)
    log, other = await engine.open(), await engine.open()
    held = await all_leases(await log.join(GROUP, TOPICS), 4)
    started = time.monotonic()
    new = await all_leases(await other.join(GROUP, TOPICS), 2, seconds=20)
    assert time.monotonic() - started > 2.5
    lost = [lease for lease in held if lease.number in {each.number for each in new}]
    assert len(lost) == 2
    for lease in lost:
        with pytest.raises(LeaseLost):
            await lease.commit(Unit((sent(b"late", topic=OUT),)))
    assert await values(log, OUT) == []


async def test_what_stays_is_not_disturbed_by_members_that_come_and_go(engine: Engine) -> None:
    """Leases that stay with their holder are neither claimed nor restored again, and read and commit all the while."""
    log, other = await engine.open(), await engine.open()
    group = await log.join(GROUP, TOPICS)
    held = await all_leases(group, 4)
    kept: list[Lease] = list(held)
    working = asyncio.ensure_future(_work(group, kept))
    for _ in range(3):
        guest = await other.join(GROUP, TOPICS)
        await all_leases(guest, 2, seconds=20)
        await guest.leave()
    working.cancel()
    await asyncio.wait((working,))
    stayed = [lease for lease in held if lease in kept]
    assert len(stayed) == 2
    for lease in stayed:
        assert await lease.held()
        await lease.commit(Unit(puts={"k": b"v"}))


async def test_offsets_for_lag_tools_come_to_the_end(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """When all is done the group's offsets stand at the end, past the markers, so that lag tools show none."""
    monkeypatch.setattr(membership, "LAG_SECONDS", 0.2)
    log = await engine.open()
    writer = await number(await log.join("one", (ALSO_IN,)), 0)
    for index in range(3):
        await writer.commit(Unit((sent(b"%d" % index, topic=IN),)))
    lease = await number(await log.join(GROUP, TOPICS), 0)
    records: list[Record] = []
    while len(records) < 3:
        records += await lease.fetch(10, 1.0)
    await lease.commit(Unit(progress={IN: Progress(records[-1].offset + 1)}))
    await lease.fetch(1, 0.6)
    admin = AIOKafkaAdminClient(bootstrap_servers=engine.address.removeprefix("kafka://"))
    await admin.start()
    try:
        async with asyncio.timeout(10):
            while True:
                offsets = await admin.list_consumer_group_offsets(f"{engine.prefix}{GROUP}")
                at = {place.partition: each.offset for place, each in offsets.items() if place.topic.endswith(IN)}
                if at.get(0) == (await log.ends(IN))[0]:
                    break
                await asyncio.sleep(0.1)
    finally:
        await admin.close()
    assert at[0] > records[-1].offset + 1
