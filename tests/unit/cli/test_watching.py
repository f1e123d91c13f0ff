"""Watching from a terminal goes on for as long as somebody looks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from tests.support.approval_values import numbered_question
from tests.support.reply_values import write

from callgate.cli.watching import follow_people
from callgate.client import following
from callgate.clock import SystemClock
from callgate.events.event import Event
from callgate.log.address import open_log
from callgate.log.port import Log, LogUnavailable, Record


class Leaving:
    """A log that is away after each record that a follower is given."""

    def __init__(self, inner: Log) -> None:
        self._inner = inner
        self.followed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def follow(self, topic: str, partitions: Sequence[int], start: Mapping[int, int]) -> AsyncIterator[Record]:
        self.followed += 1
        async for record in self._inner.follow(topic, partitions, start):
            yield record
            raise LogUnavailable("the brokers do not answer")


async def test_a_log_that_is_away_is_said_and_ends_no_watching(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each question is told once, whatever was between them, and standard output holds nothing else."""
    monkeypatch.setattr(following, "AGAIN_SECONDS", 0.01)
    inner = await open_log("sqlite://:memory:", clock=SystemClock())
    log: Any = Leaving(inner)
    told: list[Event] = []
    watching = asyncio.create_task(follow_people(log, None, told.append))
    asked = [numbered_question(number, inner.partitions, 0.0) for number in range(6)]
    async with asyncio.timeout(10):
        while log.followed < 2:  # noqa: ASYNC110 - it tells nobody that it has begun
            await asyncio.sleep(0.01)
        await write(inner, *asked, *asked)
        while len(told) < len(asked):  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.wait((watching,))
    await inner.close()
    assert sorted(event.identity() for event in told) == sorted(each.identity() for each in asked)
    said = capsys.readouterr()
    assert "approvals.ballots: the brokers do not answer" in said.err
    assert said.out == ""
