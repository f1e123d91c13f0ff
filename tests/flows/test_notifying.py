"""The notifier over the real worker and log: everybody is told, whatever fails, and no approval waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.support.approval_values import numbered_question
from tests.support.log_engines import Engine
from tests.support.notices import Received, web_server
from tests.support.serving import serving, until, until_there, write

from callgate.clock import SystemClock
from callgate.events import topics
from callgate.log.port import Log
from callgate.notifier.service import build, opened
from callgate.settings import NotifySettings, Secret, Settings, WorkerSettings

_MANY = 40


@asynccontextmanager
async def _notifying(engine: Engine, urls: Sequence[str]) -> AsyncIterator[tuple[Log, asyncio.Future[list[None]]]]:
    """A log with the notifier on it; what comes beside it is done once the worker has failed."""
    log = await engine.open()
    settings = Settings(
        notify=NotifySettings(webhooks=tuple(urls), webhook_secret=Secret("0123456789abcdef")),
        worker=WorkerSettings(retry_seconds=1.0, retry_first_seconds=0.02, retry_most_seconds=0.1, park_seconds=0.2),
    )
    async with (
        opened(settings.notify) as channels,
        serving(log, settings, lambda host: build(host, channels)) as running,
    ):
        yield log, running


async def _asked(log: Log) -> set[str]:
    """Questions, each written twice; what their notices are called."""
    asked = [numbered_question(number, log.partitions, SystemClock().now()) for number in range(_MANY)]
    await write(log, *(each for each in asked for _ in range(2)))
    return {each.identity() for each in asked}


async def _delivered(received: Received, wanted: set[str]) -> None:
    async def there() -> bool:
        return {body["id"] for body in received.taken} >= wanted

    await until(there, 40)


async def test_everybody_is_told_of_everything(engine: Engine) -> None:
    """With a receiver that fails now and then each notice arrives at both, and plainly it arrives once."""
    async with web_server() as steady, web_server() as shaky:
        shaky.answers = [503, 200, 429, 500, 200, 408] * 5
        async with _notifying(engine, [steady.url, shaky.url]) as (log, _):
            wanted = await _asked(log)
            await _delivered(steady, wanted)
            await _delivered(shaky, wanted)
    assert {body["id"] for body in steady.bodies} == wanted == {body["id"] for body in shaky.bodies}
    if engine.unkind is None:
        assert len(steady.requests) == _MANY
        assert len(shaky.requests) == _MANY + sum(status != 200 for status in [503, 429, 500, 408] * 5)


@pytest.mark.parametrize("engine", ["plain"], indirect=True)
async def test_a_receiver_that_refuses_everything_stops_nobody(engine: Engine) -> None:
    """Refusals become dead letters and the worker goes on: the other receiver is told of all."""
    async with web_server() as open_, web_server() as closed:
        closed.answers = [404] * 10 * _MANY
        async with _notifying(engine, [closed.url, open_.url]) as (log, running):
            wanted = await _asked(log)
            await _delivered(open_, wanted)
            await until_there(log, topics.DEADLETTERS, _MANY)
            assert not running.done()
