"""The shared readers: nothing is missed between what was said and what is being said, and nobody reads twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from tests.support.reply_values import completed, reply, write

from callgate.client.client import Client
from callgate.client.following import Followers
from callgate.clock import SystemClock
from callgate.events import ids, topics
from callgate.events.event import Event
from callgate.log.address import open_log
from callgate.log.port import Log, LogUnavailable, Record

KEY = ids.turn_key(0, "acme", "s-1", "1")
OTHER = ids.turn_key(0, "acme", "s-2", "1")
REPLIES = topics.REPLIES.name


class Counted:
    """A log that counts who follows it, and may fail to be followed."""

    def __init__(self, inner: Log) -> None:
        self._inner = inner
        self.followed: list[Mapping[int, int]] = []
        self.failing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def follow(self, topic: str, partitions: Sequence[int], start: Mapping[int, int]) -> AsyncIterator[Record]:
        self.followed.append(start)
        if self.failing:
            raise LogUnavailable("away")
        async for record in self._inner.follow(topic, partitions, start):
            yield record


@pytest.fixture
async def log() -> AsyncIterator[Any]:
    """An embedded log in memory."""
    opened = await open_log("sqlite://:memory:", clock=SystemClock())
    yield Counted(opened)
    await opened.close()


async def first(followers: Followers, key: str, count: int, start: int | None = 0) -> list[Event]:
    """The first events of a turn."""
    found: list[Event] = []
    async with followers.subscribed(REPLIES, 0, key, start=start) as heard, aclosing(heard.events()) as events:
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_waits_share_one_reader_from_the_present_end(log: Any) -> None:
    """However many wait at one place, it is followed once, from its end: what came before is not read by it."""
    await write(log, reply(KEY), reply(OTHER))
    followers = Followers(log)
    waits = [asyncio.create_task(first(followers, key, 2)) for key in (KEY, OTHER, KEY)]
    await asyncio.sleep(0)
    await write(log, completed(OTHER), completed(KEY))
    async with asyncio.timeout(10):
        found = await asyncio.gather(*waits)
    assert [[type(event).__name__ for event in events] for events in found] == [["ActionReply", "TurnCompleted"]] * 3
    assert log.followed == [{0: 2}]
    await first(followers, KEY, 1)
    assert len(log.followed) == 2, "the last who left ended the reader"


async def test_a_kept_reader_serves_the_next_call(log: Any) -> None:
    """A client that is a context manager reads on from one call to the next."""
    async with Client(log, SystemClock()) as client:
        await write(log, completed(KEY))
        for _ in range(3):
            assert await client.wait(KEY, timeout=10) is not None
    assert len(log.followed) == 1


async def test_only_what_is_new_is_heard_where_nothing_can_be_old(log: Any) -> None:
    """Without a start nothing is scanned; all that is written from then on is heard, each once."""
    await write(log, reply(KEY))
    followers = Followers(log)
    async with followers.subscribed(REPLIES, 0, KEY, start=None) as heard, aclosing(heard.events()) as events:
        await write(log, completed(KEY))
        assert type(await anext(events)).__name__ == "TurnCompleted"


async def test_a_log_that_fails_is_told_to_all_who_wait(log: Any) -> None:
    """A wait does not hang on a reader that has died, and the next one starts another."""
    log.failing = True
    client = Client(log, SystemClock())
    with pytest.raises(LogUnavailable):
        await client.wait(KEY, timeout=10)
    log.failing = False
    await write(log, completed(KEY))
    assert await client.wait(KEY, timeout=10) is not None
