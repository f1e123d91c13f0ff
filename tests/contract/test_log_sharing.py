"""The log's contract for groups: who gets which lease, handing over, and taking over from the dead."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.log_engines import (
    ALSO_IN,
    GROUP,
    IN,
    OUT,
    Engine,
    all_leases,
    embedded,
    publish,
    sent,
    silence,
    table,
    take,
    values,
)

from callgate.clock import ManualClock
from callgate.log.port import Group, Lease, LeaseLost, Log, Progress, Unit

TOPICS = (IN, ALSO_IN)


async def pass_time(clock: ManualClock, seconds: float) -> None:
    """Let time pass in small steps, with room for the engine's thread after each."""
    for _ in range(round(seconds / 0.25)):
        await clock.advance(0.25)
        await asyncio.sleep(0.005)


async def claims(group: Group, into: list[Lease]) -> None:
    """Claim for ever, as a worker does."""
    while True:
        lease = await group.claim(0.2)
        if lease is not None:
            into.append(lease)


async def claims_politely(group: Group, into: list[Lease]) -> None:
    """Claim for ever, and give back what is asked for."""
    while True:
        lease = await group.claim(0.2)
        if lease is not None:
            into.append(lease)
        for each in list(into):
            if not open_(each):
                into.remove(each)
                await each.release()


async def until(condition: object, seconds: float = 10.0) -> None:
    """Wait until a condition without arguments holds."""
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - conditions have no event
            await asyncio.sleep(0.01)


def open_(lease: Lease) -> bool:
    """Whether a lease is neither over nor asked for."""
    try:
        return lease.closing_within() is None
    except LeaseLost:
        return False


async def test_one_member_gets_everything_at_once(engine: Engine) -> None:
    """A member that joins alone soon holds all leases."""
    log = await engine.open()
    started = engine.clock.monotonic()
    leases = await all_leases(await log.join(GROUP, TOPICS), 4)
    assert sorted(lease.number for lease in leases) == [0, 1, 2, 3]
    assert engine.clock.monotonic() - started < engine.unhurried_seconds
    assert all([await lease.held() for lease in leases])


async def test_groups_do_not_share_leases_with_each_other(engine: Engine) -> None:
    """Each group has all numbers, and progress and tables of its own."""
    log = await engine.open()
    one = await all_leases(await log.join("one", TOPICS), 4)
    two = await all_leases(await log.join("two", TOPICS), 4)
    await next(lease for lease in one if lease.number == 0).commit(Unit(puts={"k": b"one"}))
    await next(lease for lease in two if lease.number == 0).commit(Unit(puts={"k": b"two"}))
    assert (await table(log, "one"), await table(log, "two")) == ({(0, "k"): b"one"}, {(0, "k"): b"two"})


async def test_a_newcomer_is_given_its_share_in_peace(engine: Engine) -> None:
    """A holder of more than its share is asked for the rest, finishes, and the newcomer sees what it committed."""
    log, other = await engine.open(), await engine.open()
    old = await all_leases(await log.join(GROUP, TOPICS), 4)
    newcomer = await other.join(GROUP, TOPICS)
    new: list[Lease] = []
    claiming = asyncio.ensure_future(claims(newcomer, new))
    await until(lambda: sum(not open_(lease) for lease in old) == 2)
    closing = [lease for lease in old if not open_(lease)]
    assert new == []
    for lease in closing:
        within = lease.closing_within()
        assert within is not None
        assert 5 < within <= 20
        await lease.commit(Unit((sent(b"last", lease.number, OUT),), {"last": b"unit"}))
        await lease.release()
    await until(lambda: len(new) == 2)
    assert {lease.number for lease in new} == {lease.number for lease in closing}
    assert all(lease.table == {"last": b"unit"} for lease in new)
    assert all([await lease.held() for lease in old if lease not in closing])
    claiming.cancel()


async def test_who_leaves_leaves_everything(engine: Engine) -> None:
    """After a clean leave the others hold all leases at once, and the one that left holds and claims nothing."""
    log, other = await engine.open(), await engine.open()
    leaver = await log.join(GROUP, TOPICS)
    held = await all_leases(leaver, 4)
    stayer = await other.join(GROUP, TOPICS)
    new: list[Lease] = []
    claiming = asyncio.ensure_future(claims(stayer, new))
    await asyncio.sleep(0.05)
    await leaver.leave()
    await leaver.leave()
    await until(lambda: len(new) == 4, seconds=2 * engine.unhurried_seconds)
    assert await leaver.claim(0.05) is None
    with pytest.raises(LeaseLost):
        await held[0].commit(Unit((sent(b"late", topic=OUT),)))
    assert await values(log, OUT) == []
    claiming.cancel()


async def test_a_released_lease_comes_back_to_the_only_member(engine: Engine) -> None:
    """A lease that ended, for whatever reason, is claimed again by who should have it, with a higher epoch."""
    log = await engine.open()
    group = await log.join(GROUP, TOPICS)
    lease = (await all_leases(group, 4))[2]
    await lease.release()
    (after,) = await all_leases(group, 1)
    assert (after.number, after.epoch) == (lease.number, lease.epoch + 1)


async def test_a_cancelled_claim_loses_no_lease(engine: Engine) -> None:
    """Whoever gives up a claim at any moment gets every lease from the later ones."""
    log = await engine.open()
    group = await log.join(GROUP, TOPICS)
    leases: list[Lease] = []
    async with asyncio.timeout(10):
        for steps in range(1000):
            claim = asyncio.ensure_future(group.claim(0.05))
            for _ in range(steps % 9):
                await asyncio.sleep(0)
            if steps % 4 and not claim.done():
                claim.cancel()
            await asyncio.wait((claim,))
            lease = None if claim.cancelled() else claim.result()
            leases += [lease] if lease is not None else []
            if len(leases) == 4:
                break
    assert sorted(lease.number for lease in leases) == [0, 1, 2, 3]


async def test_claims_at_the_same_time_get_different_leases(engine: Engine) -> None:
    """However many callers claim for one member at once, no two of them are given the same lease, and none is lost."""
    if engine.hostile:
        pytest.skip("the hostile mode keeps one claim at a time")
    log = await engine.open()
    group = await log.join(GROUP, TOPICS)
    got = await asyncio.gather(*(group.claim(0.3 * engine.unhurried_seconds) for _ in range(6)))
    assert sorted(lease.number for lease in got if lease is not None) == [0, 1, 2, 3]


async def test_a_cancelled_leave_goes_on(engine: Engine) -> None:
    """A member whose leaving was given up at any moment has left: it does not beat on for leases that nobody works."""
    log, other = await engine.open(), await engine.open()
    for steps in range(6):
        leaver = await log.join(GROUP, TOPICS)
        await all_leases(leaver, 4)
        leaving = asyncio.ensure_future(leaver.leave())
        for _ in range(steps):
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait((leaving,))
        if steps:
            follower = await other.join(GROUP, TOPICS)
            await all_leases(follower, 4, seconds=2 * engine.unhurried_seconds)
            await follower.leave()
        else:
            await leaver.leave()  # it had not begun


async def _silenced(engine: Engine) -> tuple[ManualClock, Log, list[Lease], Group]:
    """A member that holds everything and has fallen silent, and another that waits."""
    engine.clock = clock = ManualClock()
    log = await engine.open()
    dead = await log.join(GROUP, TOPICS)
    held: list[Lease] = []
    for _ in range(4):
        claim = asyncio.ensure_future(dead.claim(1))
        while not claim.done():
            await pass_time(clock, 0.25)
        lease = claim.result()
        assert lease is not None
        held.append(lease)
    alive = await log.join(GROUP, TOPICS)
    silence(log, dead)
    return clock, log, held, alive


async def test_a_silent_holder_is_taken_over_within_five_seconds_and_fenced(embedded_engine: Engine) -> None:
    """What a dead member held belongs to another within 5 s; the zombie commits nothing and knows that it has lost."""
    clock, log, zombies, alive = await _silenced(embedded_engine)
    new: list[Lease] = []
    claiming = asyncio.ensure_future(claims(alive, new))
    await pass_time(clock, 2.0)
    assert new == []
    await pass_time(clock, 3.0)
    assert sorted(lease.number for lease in new) == [0, 1, 2, 3]
    for zombie, rightful in zip(sorted(zombies, key=_number), sorted(new, key=_number), strict=True):
        assert rightful.epoch > zombie.epoch
        with pytest.raises(LeaseLost):
            await zombie.commit(Unit((sent(b"ghost", topic=OUT),), {"k": b"ghost"}))
        assert not await zombie.held()
        await rightful.commit(Unit(puts={"k": b"real"}))
    assert await values(log, OUT) == []
    assert set((await table(log)).values()) == {b"real"}
    claiming.cancel()


async def test_a_member_that_was_only_slow_is_a_member_again(embedded_engine: Engine) -> None:
    """One that was taken for dead has lost its leases, and gets its share back like a newcomer."""
    clock, log, held, alive = await _silenced(embedded_engine)
    new: list[Lease] = []
    claiming = asyncio.ensure_future(claims(alive, new))
    await pass_time(clock, 5.0)
    assert len(new) == 4
    back = embedded(log)
    slow = held[0]._inner._group if hasattr(held[0], "_inner") else held[0]._group  # type: ignore[attr-defined]
    back._groups.append(slow)
    await pass_time(clock, 1.0)
    assert not any(open_(lease) for lease in held)
    assert sum(open_(lease) for lease in new) == 2
    claiming.cancel()


async def test_a_lease_that_is_not_given_back_in_time_is_lost(embedded_engine: Engine) -> None:
    """A holder that ignores that its lease is wanted loses it at the end of its time, and the other one gets it."""
    embedded_engine.clock = clock = ManualClock()
    log = await embedded_engine.open()
    stubborn = await log.join(GROUP, TOPICS)
    held: list[Lease] = []
    keeping = asyncio.ensure_future(claims(stubborn, held))
    await pass_time(clock, 2)
    keeping.cancel()
    new: list[Lease] = []
    claiming = asyncio.ensure_future(claims(await log.join(GROUP, TOPICS), new))
    await pass_time(clock, 15)
    assert (len(held), new) == (4, [])
    await pass_time(clock, 8)
    assert len(new) == 2
    assert sum(open_(lease) for lease in held) == 2
    for lease in held:
        if not open_(lease):
            with pytest.raises(LeaseLost):
                await lease.commit(Unit())
    claiming.cancel()


async def test_members_come_and_go_and_each_record_has_one_holder(engine: Engine) -> None:
    """While members join and leave, each record's effect is committed exactly once."""
    log = await engine.open()
    for number in range(4):
        await publish(log, [f"{number}:{index}".encode() for index in range(120)], partition=number)
    for _ in range(4):
        group = await (await engine.open()).join(GROUP, TOPICS)
        working = asyncio.ensure_future(_copy(group))
        await asyncio.sleep(0.06)
        await group.leave()
        working.cancel()
        await asyncio.wait((working,))
    group = await log.join(GROUP, TOPICS)
    working = asyncio.ensure_future(_copy(group))
    async with asyncio.timeout(20):
        while sum([len(await values(log, OUT, number)) for number in range(4)]) < 480:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    working.cancel()
    for number in range(4):
        assert await values(log, OUT, number) == [f"{number}:{index}".encode() for index in range(120)]


async def _copy(group: Group) -> None:
    async with asyncio.TaskGroup() as tasks:
        while True:
            lease = await group.claim(0.1)
            if lease is not None:
                tasks.create_task(_copy_lease(lease))


async def _copy_lease(lease: Lease) -> None:
    """Copy record by record; what was copied before, or comes twice, is known by its offset."""
    at = lease.progress.get(IN, Progress()).next_offset
    try:
        while lease.closing_within() is None:
            for record in await lease.fetch(3, 0.05, [IN]):
                if record.offset >= at:
                    at = record.offset + 1
                    output = sent(record.value or b"", lease.number, OUT)
                    await lease.commit(Unit((output,), progress={IN: Progress(at)}))
        await lease.release()
    except LeaseLost:
        return


def _number(lease: Lease) -> int:
    return lease.number


async def test_a_member_that_is_given_nothing_is_not_forgotten(engine: Engine) -> None:
    """With more members than leases, the ones left over take over when a holder leaves."""
    log = await engine.open()
    groups = [await log.join(GROUP, TOPICS) for _ in range(6)]
    held: list[list[Lease]] = [[] for _ in groups]
    claiming = [asyncio.ensure_future(claims_politely(group, into)) for group, into in zip(groups, held, strict=True)]
    await until(lambda: sorted(len(each) for each in held) == [0, 0, 1, 1, 1, 1])
    leaver = next(index for index, each in enumerate(held) if each)
    left = list(held[leaver])
    await groups[leaver].leave()
    await until(lambda: sum(len(each) for index, each in enumerate(held) if index != leaver) == 4)
    for task in claiming:
        task.cancel()
    await take_nothing(left)


async def take_nothing(lost: list[Lease]) -> None:
    """What a member held before it left gives nothing more."""
    for lease in lost:
        with pytest.raises(LeaseLost):
            await take(lease, 1)
