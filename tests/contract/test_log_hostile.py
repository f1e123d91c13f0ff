"""The hostile mode is unkind in every way it declares, by its seed, and loses nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.log_engines import GROUP, IN, OUT, lease_of, publish, sent, table, values

from callgate.clock import SystemClock
from callgate.log.address import open_log
from callgate.log.port import CommitUnknown, Group, Lease, LeaseLost, Log, Progress, Unit
from callgate.log.sqlite.hostile import Hostility

KIND = Hostility(seed=1, gaps=0, unknown=0, lost=0, slow=0, late=0, twice=False)


async def opened(folder: Path, **unkind: Any) -> Log:
    """A log that is unkind in some ways only."""
    return await open_log(f"sqlite:///{folder}/log.db", clock=SystemClock(), hostile=replace(KIND, **unkind))


def test_a_seed_gives_the_same_unkindness_again() -> None:
    """Two of one seed strike alike; two of different seeds do not."""

    def thrown(seed: int) -> list[object]:
        hostility = Hostility(seed=seed)
        return [(hostility.strikes(0.5), hostility.gap()) for _ in range(100)]

    assert thrown(7) == thrown(7)
    assert thrown(7) != thrown(8)


async def test_offsets_have_gaps(tmp_path: Path) -> None:
    """Offsets leave some out, and still rise."""
    log = await opened(tmp_path, gaps=0.5)
    offsets = [position.offset for position in await publish(log, [b"x"] * 50)]
    assert offsets == sorted(set(offsets))
    assert offsets[-1] > 49
    await log.close()


async def test_every_record_comes_twice(tmp_path: Path) -> None:
    """A lease and a follower give each record exactly twice in one claim."""
    log = await opened(tmp_path, twice=True)
    lease = await lease_of(log, 0)
    await publish(log, [str(number).encode() for number in range(20)])
    got: Counter[bytes | None] = Counter()
    async with asyncio.timeout(10):
        while got.total() < 40:
            got.update(record.value for record in await lease.fetch(6, 0.01))
    assert set(got.values()) == {2}
    followed = []
    async for record in log.follow(IN, [0], {}):
        followed.append(record.offset)
        if len(followed) == 40:
            break
    assert followed == sorted(list(range(20)) * 2)
    await log.close()


async def test_leases_are_lost_and_nothing_is_seen_of_it_early(tmp_path: Path) -> None:
    """A lease may be lost at any call, whose unit is then not visible."""
    log = await opened(tmp_path, lost=1.0)
    lease = await lease_of(log, 0)
    with pytest.raises(LeaseLost):
        await lease.commit(Unit((sent(b"x", topic=OUT),)))
    assert not await lease.held()
    assert await values(log, OUT) == []
    await log.close()


async def test_units_of_unknown_end_are_whole_or_absent(tmp_path: Path) -> None:
    """Of commits whose end is not told some are visible, with outputs, table and progress, and some are not at all."""
    log = await opened(tmp_path, unknown=1.0)
    group = await log.join(GROUP, [IN])
    ends = []
    for number in range(30):
        lease = await group.claim(2)
        assert lease is not None
        entry = str(number).encode()
        unit = Unit((sent(entry, lease.number, OUT),), {str(number): entry}, {IN: Progress(number + 1)})
        with pytest.raises(CommitUnknown):
            await lease.commit(unit)
        with pytest.raises(LeaseLost):
            await lease.commit(unit)
        written = entry in await values(log, OUT, lease.number)
        assert written == ((lease.number, str(number)) in await table(log))
        assert written == ((await log.progress(GROUP)).get((IN, lease.number), Progress()) == Progress(number + 1))
        ends.append(written)
    assert {True, False} == set(ends)
    await log.close()


async def test_publishing_may_have_an_unknown_end_when_asked_for(tmp_path: Path) -> None:
    """What is published from outside may be there or not when its end is unknown."""
    log = await opened(tmp_path, unknown_publish=1.0)
    for _ in range(20):
        with pytest.raises(CommitUnknown):
            await publish(log, [b"x"])
    assert 0 < len(await values(log, IN)) < 20
    await log.close()


@pytest.mark.parametrize("seed", range(6))
async def test_a_copy_over_the_worst_log_is_exact(tmp_path: Path, seed: int) -> None:
    """With everything unkind at once, who works by the port's rules copies each record once, in order."""
    unkind = Hostility(seed=seed, gaps=0.5, unknown=0.1, lost=0.05, slow=0.3, late=0.3)
    log = await open_log(f"sqlite:///{tmp_path}/log.db", clock=SystemClock(), hostile=unkind)
    for number in range(4):
        await publish(log, [f"{number}:{index}".encode() for index in range(40)], partition=number)
    group = await log.join(GROUP, [IN])
    working = asyncio.ensure_future(_copy(group))
    async with asyncio.timeout(40):
        while sum([len(await values(log, OUT, number)) for number in range(4)]) < 160:
            if working.done():
                working.result()
            await asyncio.sleep(0.02)
    working.cancel()
    await asyncio.wait((working,))
    for number in range(4):
        assert await values(log, OUT, number) == [f"{number}:{index}".encode() for index in range(40)]
    await log.close()


async def _copy(group: Group) -> None:
    async with asyncio.TaskGroup() as tasks:
        while True:
            lease = await group.claim(0.1)
            if lease is not None:
                tasks.create_task(_copy_lease(lease))


async def _copy_lease(lease: Lease) -> None:
    at = lease.progress[IN].next_offset
    with suppress(LeaseLost, CommitUnknown):
        while True:
            new = [record for record in await lease.fetch(4, 0.02) if record.offset >= at]
            fresh = {record.offset: record for record in new}
            if fresh:
                at = max(fresh) + 1
                outputs = tuple(sent(fresh[each].value or b"", lease.number, OUT) for each in sorted(fresh))
                await lease.commit(Unit(outputs, progress={IN: Progress(at)}))
