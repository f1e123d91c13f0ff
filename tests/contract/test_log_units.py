"""The log's contract for one lease: units, the three ends of a commit, restoring, and what a cancelled call leaves."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from tests.support.log_engines import (
    ALSO_IN,
    GROUP,
    IN,
    OUT,
    Engine,
    all_leases,
    lease_of,
    nothing_more,
    publish,
    sent,
    table,
    take,
    values,
)

from callgate.events.codec import MAX_RECORD_BYTES, TooLarge
from callgate.log.port import Lease, LeaseLost, Log, Progress, Unit


def unit(position: int, *outputs: bytes, done: tuple[tuple[int, int], ...] = (), number: int = 0) -> Unit:
    """A unit that writes outputs, a table entry and progress."""
    return Unit(tuple(sent(value, number, OUT) for value in outputs), {"k": b"v"}, {IN: Progress(position, done)})


async def again(log: Log, lease: Lease, number: int = 0) -> Lease:
    """The same number, claimed anew through another member; the first one leaves what it held to it."""
    await lease.release()
    group = await log.join(GROUP, (IN, ALSO_IN))
    async with asyncio.timeout(10):
        while True:
            claimed = await group.claim(0.1)
            if claimed is not None and claimed.number == number:
                return claimed


async def test_a_unit_is_visible_as_a_whole(engine: Engine) -> None:
    """Outputs, table and progress are there after the commit, for everybody, and none of them before it."""
    log, other = await engine.open(), await engine.open()
    lease = await lease_of(log, 0)
    await publish(log, [b"in"])
    (record,) = await take(lease, 1)
    assert (await values(other, OUT), await table(other), await other.progress(GROUP)) == ([], {}, {})
    await lease.commit(unit(record.offset + 1, b"out"))
    assert await values(other, OUT) == [b"out"]
    assert await table(other) == {(0, "k"): b"v"}
    assert await other.progress(GROUP) == {(IN, 0): Progress(record.offset + 1)}


async def test_a_lease_restores_what_was_committed(engine: Engine) -> None:
    """The next holder gets the table and the progress as committed, a higher epoch, and only what is not done."""
    log = await engine.open()
    positions = await publish(log, [b"0", b"1", b"2", b"3", b"4"])
    at = [position.offset for position in positions]
    lease = await lease_of(log, 0)
    assert (lease.table, lease.progress.get(IN, Progress())) == ({}, Progress())
    await take(lease, 5)
    await lease.commit(Unit(puts={"a": b"1", "b": b"2"}, progress={IN: Progress(at[1], ((at[3], at[3] + 1),))}))
    await lease.commit(Unit(puts={"a": None, "c": b"3"}))
    after = await again(log, lease)
    assert after.table == {"b": b"2", "c": b"3"}
    assert after.progress[IN] == Progress(at[1], ((at[3], at[3] + 1),))
    assert after.progress[ALSO_IN] == Progress()
    assert after.epoch > lease.epoch
    got = await take(after, 3)
    assert [record.value for record in got] == [b"1", b"2", b"4"]
    assert await nothing_more(after, got)


async def test_out_of_order_progress_survives_a_restart(engine: Engine) -> None:
    """What was done beyond the frontier is not given again when the log is opened anew, over any number of runs."""
    if not engine.durable:
        pytest.skip("a log in memory ends with its process")
    log = await engine.open()
    at = [position.offset for position in await publish(log, [str(number).encode() for number in range(300)])]
    lease = await lease_of(log, 0)
    runs = tuple((at[number], at[number] + 1) for number in range(1, 300, 2))
    await lease.commit(Unit(progress={IN: Progress(at[0], runs)}))
    await log.close()
    reopened = await engine.open()
    lease = await lease_of(reopened, 0)
    got = await take(lease, 150)
    assert [record.value for record in got] == [str(number).encode() for number in range(0, 300, 2)]
    assert await nothing_more(lease, got)


async def test_order_per_partition_and_each_record_once(engine: Engine) -> None:
    """A lease gives the records of a topic in their order, however small the fetches, and leaves none out."""
    log = await engine.open()
    lease = await lease_of(log, 0)
    for number in range(60):
        await publish(log, [str(number).encode()], topic=IN if number % 2 else ALSO_IN)
    seen: dict[tuple[str, int], bytes | None] = {}
    async with asyncio.timeout(10):
        while len(seen) < 60:
            batch = await lease.fetch(7, 0.05)
            assert len(batch) <= 7
            for record in batch:
                seen.setdefault((record.topic, record.offset), record.value)
    for topic, start in ((IN, 1), (ALSO_IN, 0)):
        assert [value for (of, _), value in seen.items() if of == topic] == [
            str(number).encode() for number in range(start, 60, 2)
        ]


async def test_a_fetch_of_some_topics_leaves_the_others_as_they_are(engine: Engine) -> None:
    """A topic that is left out of a fetch is held back, and is given whole when it is asked for."""
    log = await engine.open()
    lease = await lease_of(log, 0)
    await publish(log, [b"a", b"b"])
    await publish(log, [b"c"], topic=ALSO_IN)
    got = [record for _ in range(12) for record in await lease.fetch(10, 0.02, [ALSO_IN])]
    assert {record.value for record in got} == {b"c"}
    rest: set[bytes | None] = set()
    async with asyncio.timeout(10):
        while not rest >= {b"a", b"b"}:
            rest |= {record.value for record in await lease.fetch(10, 0.02, [IN])}
    assert rest == {b"a", b"b"}


async def test_a_fetch_waits_for_the_first_record(engine: Engine) -> None:
    """A fetch returns nothing after its wait, and at once when a record comes, whoever wrote it."""
    log, other = await engine.open(), await engine.open()
    lease = await lease_of(log, 0)
    assert await lease.fetch(1, 0.02) == []
    fetching = asyncio.ensure_future(take(lease, 1, seconds=5))
    await asyncio.sleep(0.02)
    started = engine.clock.monotonic()
    await publish(other, [b"now"])
    assert [record.value for record in await fetching] == [b"now"]
    assert engine.clock.monotonic() - started < 1.0


async def test_the_claim_ends_are_the_ends_at_the_claim(engine: Engine) -> None:
    """A lease knows where its topics ended when it was claimed, and does not learn of what came later."""
    log = await engine.open()
    positions = await publish(log, [b"0", b"1"])
    lease = await lease_of(log, 0)
    await publish(log, [b"2"])
    assert lease.claim_ends == {IN: positions[1].offset + 1, ALSO_IN: 0}


async def test_nothing_of_a_lost_lease_is_ever_visible(engine: Engine) -> None:
    """After its lease has passed on, a unit ends in `LeaseLost`, and so does everything else; nothing of it is seen."""
    log = await engine.open()
    await publish(log, [b"in"])
    lease = await lease_of(log, 0)
    await take(lease, 1)
    after = await again(log, lease)
    with pytest.raises(LeaseLost):
        await lease.commit(unit(1, b"ghost"))
    with pytest.raises(LeaseLost):
        await lease.fetch(1, 0)
    with pytest.raises(LeaseLost):
        lease.closing_within()
    assert not await lease.held()
    assert await after.held()
    await lease.release()
    assert await after.held()
    assert (await values(log, OUT), await table(log), await log.progress(GROUP)) == ([], {}, {})
    await after.commit(unit(1, b"real"))
    assert await values(log, OUT) == [b"real"]


async def test_a_unit_that_can_not_be_written_changes_nothing(engine: Engine) -> None:
    """A record that is too large or has no place is refused before the unit begins, and the lease lives on."""
    log = await engine.open()
    lease = await lease_of(log, 0)
    for bad in (sent(b"x" * (MAX_RECORD_BYTES * 3), topic=OUT), sent(b"", partition=9, topic=OUT)):
        with pytest.raises(ValueError, match=OUT):
            await lease.commit(Unit((sent(b"good", topic=OUT), bad), {"k": b"v"}))
    assert issubclass(TooLarge, ValueError)
    assert (await values(log, OUT), await table(log)) == ([], {})
    await lease.commit(Unit((sent(b"good", topic=OUT),)))
    assert await values(log, OUT) == [b"good"]


async def test_a_dead_letter_has_room_for_the_largest_record(engine: Engine) -> None:
    """Whatever could be published can be carried on by a unit, with a tenth of a megabyte of reasons around it."""
    log = await engine.open()
    lease = await lease_of(log, 0)
    largest = sent(b"x" * MAX_RECORD_BYTES, topic="deadletters")
    await log.publish([largest])
    await lease.commit(Unit((sent(b"x" * (MAX_RECORD_BYTES + 300_000), topic="deadletters"),)))
    assert len(await values(log, "deadletters")) == 2


async def test_outputs_keep_their_order_over_units(engine: Engine) -> None:
    """Outputs of one partition are in the order of their units, and within a unit in the unit's order."""
    log = await engine.open()
    lease = await lease_of(log, 0)
    for number in range(20):
        await lease.commit(Unit(tuple(sent(f"{number}.{part}".encode(), 1, OUT) for part in range(3))))
    assert await values(log, OUT, 1) == [f"{number}.{part}".encode() for number in range(20) for part in range(3)]


async def test_leases_of_one_process_commit_side_by_side(engine: Engine) -> None:
    """Units of many leases at once are each whole, also where one of them is of a lost lease."""
    log = await engine.open()
    group = await log.join(GROUP, (IN, ALSO_IN))
    leases = sorted(await all_leases(group, 4), key=lambda lease: lease.number)
    await leases[3].release()
    units = [Unit((sent(b"o", lease.number, OUT),), {"k": b"v"}) for lease in leases]
    ends = await asyncio.gather(
        *(lease.commit(each) for lease, each in zip(leases, units, strict=True)), return_exceptions=True
    )
    assert [type(end) for end in ends] == [type(None)] * 3 + [LeaseLost]
    assert [len(await values(log, OUT, number)) for number in range(4)] == [1, 1, 1, 0]


async def test_a_cancelled_fetch_loses_no_record(engine: Engine) -> None:
    """Whoever gives up a fetch at any moment gets every record from the later ones."""
    log = await engine.open()
    lease = await lease_of(log, 0)
    await publish(log, [str(number).encode() for number in range(40)])
    await publish(log, [str(number).encode() for number in range(40)], topic=ALSO_IN)
    got: dict[tuple[str, int], bytes | None] = {}
    async with asyncio.timeout(20):
        for steps in range(10_000):
            fetch = asyncio.ensure_future(lease.fetch(5, 0.01))
            for _ in range(steps % 7):
                await asyncio.sleep(0)
            if steps % 3 and not fetch.done():
                fetch.cancel()
            with suppress(asyncio.CancelledError):
                got |= {(record.topic, record.offset): record.value for record in await fetch}
            if len(got) == 80:
                break
    assert len(got) == 80


async def test_a_cancelled_commit_is_whole(engine: Engine) -> None:
    """A commit whose caller goes away is visible in whole or not at all, and readers are woken for it."""
    log = await engine.open()
    lease = await lease_of(log, 0)
    reader = await log.join("reader", (OUT,))
    reading = next(each for each in await all_leases(reader, 4) if each.number == 0)
    committing = asyncio.ensure_future(lease.commit(unit(5, b"a", b"b")))
    await asyncio.sleep(0)
    committing.cancel()
    with suppress(asyncio.CancelledError):
        await committing
    assert [record.value for record in await take(reading, 2, seconds=5)] == [b"a", b"b"]
    assert await table(log) == {(0, "k"): b"v"}
