"""The shared readers: nothing is missed between what was said and what is being said, and nobody reads twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from tests.support.approval_values import numbered_question
from tests.support.reply_values import completed, reply, write

from callgate.client import answering, following
from callgate.client.answering import Answering
from callgate.client.client import Client
from callgate.client.following import Followers
from callgate.clock import SystemClock
from callgate.events import ids, topics
from callgate.events.approvals import ApprovalVoted
from callgate.events.event import Event
from callgate.events.routing import ballot_partition
from callgate.log.address import open_log
from callgate.log.port import Log, LogClosed, LogUnavailable, Record

KEY = ids.turn_key(0, "acme", "s-1", "1")
OTHER = ids.turn_key(0, "acme", "s-2", "1")
REPLIES = topics.REPLIES.name


class Counted:
    """A log that counts who follows it, and may fail."""

    def __init__(self, inner: Log) -> None:
        self._inner = inner
        self.followed: list[Mapping[int, int]] = []
        self.failures: list[LogUnavailable] = []
        """Of the next attempts to follow."""
        self.cut: LogUnavailable | None = None
        """After the next record that a follower is given."""
        self.endless: LogUnavailable | None = None
        """What who asks for ends is told, for as long as it is set."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def follow(self, topic: str, partitions: Sequence[int], start: Mapping[int, int]) -> AsyncIterator[Record]:
        self.followed.append(start)
        if self.failures:
            raise self.failures.pop(0)
        async for record in self._inner.follow(topic, partitions, start):
            yield record
            if self.cut is not None:
                failure, self.cut = self.cut, None
                raise failure

    async def ends(self, topic: str) -> dict[int, int]:
        if self.endless is not None:
            raise self.endless
        return await self._inner.ends(topic)


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


async def test_a_log_that_is_closed_is_told_to_all_who_wait(log: Any) -> None:
    """A wait does not hang on a reader that has died, and the next one starts another."""
    log.failures = [LogClosed("closed")]
    client = Client(log, SystemClock())
    with pytest.raises(LogClosed):
        await client.wait(KEY, timeout=10)
    await write(log, completed(KEY))
    assert await client.wait(KEY, timeout=10) is not None


async def test_a_log_that_is_away_ends_no_wait(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it goes before anything is heard or in between: each event is heard once, when it is back."""
    monkeypatch.setattr(following, "AGAIN_SECONDS", 0.01)
    log.failures, log.cut = [LogUnavailable("away"), LogUnavailable("away")], LogUnavailable("away again")
    followers = Followers(log)
    wait = asyncio.create_task(first(followers, KEY, 3, start=None))
    async with asyncio.timeout(10):
        while not log.followed:  # noqa: ASYNC110 - the reader tells nobody
            await asyncio.sleep(0)
        await write(log, reply(KEY), reply(KEY), completed(KEY))
        found = await wait
    assert [type(event).__name__ for event in found] == ["ActionReply", "ActionReply", "TurnCompleted"]
    assert log.followed == [{0: 0}, {0: 0}, {0: 0}, {0: 1}]


async def test_a_question_is_asked_although_the_log_was_away(log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The callback hears of a question that was written while nobody could say where the ballots end."""
    for module in (following, answering):
        monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    votes, where = list[ApprovalVoted](), ballot_partition("acme", "pay", log.partitions)
    asked = numbered_question(0, log.partitions, 0.0, approval_id=ids.approval_id(where, "act", 1, 0, "action"))

    async def cast(vote: ApprovalVoted) -> None:
        votes.append(vote)

    answers = Answering(Followers(log), cast, lambda _: {"resolution": "approved"}, approver="zoe", seconds=10.0)
    log.endless = LogUnavailable("away")
    answers.hear(reply(asked.action.ref.turn_key), log.partitions, {})
    await asyncio.sleep(0.05)
    log.endless = None
    await write(log, asked)
    async with asyncio.timeout(10):
        while not votes:  # noqa: ASYNC110 - the callback tells nobody
            await asyncio.sleep(0.01)
    await answers.aclose()
    assert [vote.approval_id for vote in votes] == [asked.approval_id]
