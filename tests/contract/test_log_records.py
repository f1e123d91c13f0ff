"""The log's contract, outside leases: publish, scan, follow, order, retention and compaction."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.log_engines import IN, OUT, Engine, embedded, first, publish, sent, values

from callgate.clock import SystemClock
from callgate.events.codec import MAX_RECORD_BYTES, TooLarge
from callgate.events.topics import DAY
from callgate.log.port import LogUnavailable, Outgoing


class Ahead(SystemClock):
    """A clock whose wall time can be put forward; waits stay real."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


async def test_what_is_published_is_read_as_it_was_written(engine: Engine) -> None:
    """A record keeps its place, key, value and headers, and is stamped by the log."""
    log = await engine.open()
    before = engine.clock.now()
    sent_ = [
        Outgoing(IN, 1, b"key", b"value", (("a", b"1"), ("a", b"2"))),
        Outgoing(IN, 1, None, None, ()),
        Outgoing(OUT, 3, b"", b"", ()),
    ]
    positions = await log.publish(sent_)
    read = [record async for record in log.scan(IN, 1)] + [record async for record in log.scan(OUT, 3)]
    assert [(r.topic, r.partition, r.key, r.value, r.headers) for r in read] == [
        (s.topic, s.partition, s.key, s.value, s.headers) for s in sent_
    ]
    assert [(r.topic, r.partition, r.offset) for r in read] == [(p.topic, p.partition, p.offset) for p in positions]
    tick = 0.001  # the brokers keep whole milliseconds
    assert all(before - tick <= record.timestamp <= engine.clock.now() + tick for record in read)


async def test_offsets_rise_and_the_end_is_beyond_the_last(engine: Engine) -> None:
    """Offsets of a partition rise with every record, `ends` is the next one, and partitions don't touch each other."""
    log = await engine.open()
    positions = await publish(log, [b"1", b"2"]) + await publish(log, [b"3"])
    offsets = [position.offset for position in positions]
    assert offsets == sorted(set(offsets))
    assert await log.ends(IN) == {0: offsets[-1] + 1, 1: 0, 2: 0, 3: 0}
    assert await log.ends("fleet") == {0: 0}


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(sent(b"", partition=4), id="partition beyond N"),
        pytest.param(sent(b"", partition=-1), id="negative partition"),
        pytest.param(sent(b"", partition=1, topic="control"), id="second partition of control"),
        pytest.param(sent(b"", topic="no.such.topic"), id="unknown topic"),
        pytest.param(sent(b"x" * (MAX_RECORD_BYTES * 12 // 10)), id="too large"),
    ],
)
async def test_a_publish_is_all_or_nothing(engine: Engine, bad: Outgoing) -> None:
    """One record that can't be written keeps out the whole batch, and is named as the caller's mistake."""
    log = await engine.open()
    with pytest.raises(ValueError, match=bad.topic):
        await log.publish([sent(b"good"), bad])
    assert await values(log, IN) == []


async def test_a_record_over_the_limit_says_so(engine: Engine) -> None:
    """A record that is too large is refused by its own name; one at the codec's limit is taken."""
    log = await engine.open()
    with pytest.raises(TooLarge):
        await publish(log, [b"x" * (MAX_RECORD_BYTES * 12 // 10)])
    await publish(log, [b"x" * MAX_RECORD_BYTES])
    assert len(await values(log, IN)) == 1


async def test_concurrent_publishers_keep_their_own_order(engine: Engine) -> None:
    """Whatever is published at the same time, no record is lost or doubled, and each writer's order stays."""
    logs = [await engine.open(), await engine.open()]

    async def write(writer: int) -> None:
        for number in range(25):
            await publish(logs[writer % 2], [f"{writer}:{number}".encode()])

    await asyncio.gather(*(write(writer) for writer in range(6)))
    read = [(value or b"").decode().split(":") for value in await values(logs[0], IN)]
    assert len(read) == 150
    for writer in range(6):
        assert [int(number) for who, number in read if who == str(writer)] == list(range(25))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.none() | st.binary(max_size=40),
            st.none() | st.binary(max_size=200),
            st.lists(st.tuples(st.text(max_size=10), st.binary(max_size=20)), max_size=3),
        ),
        max_size=5,
    )
)
async def test_any_bytes_survive(
    engine: Engine, records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]
) -> None:
    """What nobody can decode is carried untouched: keys, values and headers are bytes to the log."""
    log = engine.opened[0] if engine.opened else await engine.open()
    start = (await log.ends(IN))[2]
    await log.publish([Outgoing(IN, 2, key, value, tuple(headers)) for key, value, headers in records])
    read = [(r.key, r.value, list(r.headers)) async for r in log.scan(IN, 2, start)]
    assert read == records


async def test_a_scan_begins_where_it_is_told_and_ends_at_the_end(engine: Engine) -> None:
    """A scan gives the records from its start to the end as it was, over any number of pages."""
    log = await engine.open()
    positions = await publish(log, [str(number).encode() for number in range(1200)])
    assert await values(log, IN, start=positions[700].offset) == [str(number).encode() for number in range(700, 1200)]
    assert await values(log, IN, start=positions[-1].offset + 1) == []
    assert await values(log, IN, partition=3) == []


async def test_a_follower_gets_what_is_there_and_what_comes(engine: Engine) -> None:
    """A follower reads from its start in each partition, then waits, and is woken by writers of any process."""
    log, other = await engine.open(), await engine.open()
    old = await publish(log, [b"0", b"1"])
    following = asyncio.ensure_future(first(log.follow(IN, [0, 1], {0: old[1].offset}), 4))
    await asyncio.sleep(0.05)
    await publish(other, [b"2"])
    await publish(other, [b"3"], partition=1)
    await publish(log, [b"4"])
    got = await following
    assert [record.value for record in got if record.partition == 0] == [b"1", b"2", b"4"]
    assert [record.value for record in got if record.partition == 1] == [b"3"]


@pytest.mark.parametrize(("topic", "partition"), [("no.such.topic", 0), (IN, 4), ("control", 1)])
async def test_a_place_that_is_not_there_is_not_waited_for(engine: Engine, topic: str, partition: int) -> None:
    """Who reads a topic or partition that nobody can write is told at once."""
    log = await engine.open()
    with pytest.raises(ValueError, match=topic):
        await values(log, topic, partition)
    with pytest.raises(ValueError, match=topic):
        await first(log.follow(topic, [partition], {}), 1, seconds=2)


async def test_a_closed_log_says_so(engine: Engine) -> None:
    """Who follows or publishes when the log is closed is told, and does not wait for ever; closing again is nothing."""
    log = await engine.open()
    following = asyncio.ensure_future(first(log.follow(IN, [0], {}), 1))
    await asyncio.sleep(0.02)
    await log.close()
    await log.close()
    with pytest.raises(LogUnavailable, match="closed"):
        await following
    with pytest.raises(LogUnavailable, match="closed"):
        await publish(log, [b"x"])


async def test_retention_drops_what_is_old_and_nothing_else(embedded_engine: Engine) -> None:
    """After its time a record is gone; younger ones, offsets and ends stay; a day is enough for streamed text."""
    embedded_engine.clock = clock = Ahead()
    log = await embedded_engine.open()
    await publish(log, [b"oldest"] * 700)
    await publish(log, [b"streamed"], topic="replies.stream")
    clock.ahead = 2 * DAY
    await embedded(log).maintain()
    assert len(await values(log, IN)) == 700
    assert await values(log, "replies.stream") == []
    young = await publish(log, [b"young"])
    clock.ahead = 45.5 * DAY
    await embedded(log).maintain()
    assert [(r.value, r.offset) async for r in log.scan(IN, 0)] == [(b"young", young[0].offset)]
    clock.ahead = 90 * DAY
    ends = await log.ends(IN)
    await embedded(log).maintain()
    assert await values(log, IN) == []
    assert await log.ends(IN) == ends
    next_ = await publish(log, [b"next"])
    assert next_[0].offset >= ends[0]
    assert [record.value for record in await first(log.follow(IN, [0], {}), 1)] == [b"next"]


async def test_compaction_keeps_the_latest_of_each_key(engine: Engine) -> None:
    """A scan of a compacted topic shows each key's latest record, before and after compaction has really happened."""
    log = await engine.open()
    for value in (b"1", b"2", b"3"):
        await log.publish([sent(value, topic="fleet", key=b"a"), sent(value, topic="fleet", key=b"b")])
    await log.publish([sent(b"4", topic="fleet", key=b"a")])
    before = [(r.key, r.value, r.offset) async for r in log.scan("fleet", 0)]
    assert [entry[:2] for entry in before] == [(b"b", b"3"), (b"a", b"4")]
    if engine.on_kafka:
        return  # the brokers compact when they like, and give a follower what is there until then
    await embedded(log).maintain()
    assert [(r.key, r.value, r.offset) async for r in log.scan("fleet", 0)] == before
    followed = await first(log.follow("fleet", [0], {}), 2)
    assert [(record.key, record.value) for record in followed] == [(b"b", b"3"), (b"a", b"4")]


async def test_a_tombstone_is_seen_and_later_forgotten(embedded_engine: Engine) -> None:
    """A tombstone hides what its key had, stays long enough for every follower, and then goes with its key."""
    embedded_engine.clock = clock = Ahead()
    log = await embedded_engine.open()
    await log.publish([sent(b"1", topic="control", key=b"a"), sent(b"1", topic="control", key=b"b")])
    await log.publish([Outgoing("control", 0, b"a", None)])
    clock.ahead = DAY
    await embedded(log).maintain()
    assert [(r.key, r.value) async for r in log.scan("control", 0)] == [(b"b", b"1"), (b"a", None)]
    clock.ahead = 8 * DAY
    await embedded(log).maintain()
    assert [(r.key, r.value) async for r in log.scan("control", 0)] == [(b"b", b"1")]
