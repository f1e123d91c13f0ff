"""The notifier over the real worker and log: everybody is told, whatever fails, and no approval waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.support.approval_values import proposed, question
from tests.support.notices import Received, web_server

from callgate.clock import SystemClock
from callgate.control.view import ControlView
from callgate.events import ids, topics
from callgate.events.approvals import ApprovalRequested
from callgate.events.codec import encode
from callgate.events.routing import address
from callgate.log.address import open_log
from callgate.log.port import Log, Outgoing
from callgate.log.sqlite.hostile import Hostility
from callgate.notifier.service import build, opened
from callgate.settings import NotifySettings, Secret, Settings, TelemetrySettings, WorkerSettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.host import Host
from callgate.worker.worker import Worker

_KINDS = pytest.mark.parametrize("seed", [None, 1], ids=["plain", "hostile"])
_MANY = 40


@asynccontextmanager
async def _notifying(seed: int | None, urls: Sequence[str]) -> AsyncIterator[tuple[Log, asyncio.Task[None]]]:
    """A log in memory with the notifier on it; the task fails if the worker does."""
    clock = SystemClock()
    log = await open_log("sqlite://:memory:", clock=clock, hostile=None if seed is None else Hostility(seed=seed))
    settings = Settings(
        notify=NotifySettings(webhooks=tuple(urls), webhook_secret=Secret("0123456789abcdef")),
        worker=WorkerSettings(retry_seconds=1.0, retry_first_seconds=0.02, retry_most_seconds=0.1, park_seconds=0.2),
    )
    metrics = Metrics(TelemetrySettings())
    host = Host(log=log, clock=clock, settings=settings, metrics=metrics, control=ControlView(log))
    stop = asyncio.Event()
    async with opened(settings.notify) as channels:
        (job,) = build(host, channels)
        worker = Worker(log, job, settings=settings.worker, clock=clock, metrics=metrics, jitter=lambda: 0.5)
        running = asyncio.create_task(worker.run(stop))
        try:
            yield log, running
        finally:
            stop.set()
            await running
            await log.close()


async def _ask(log: Log, number: int) -> str:
    turn = ids.turn_key(number % log.partitions, "acme", f"s{number}", "1")
    action = proposed()
    ref = msgspec.structs.replace(action.ref, id=ids.action_id(turn, 0, 0, "c"), turn_key=turn, session=f"s{number}")
    now = SystemClock().now()
    asked: ApprovalRequested = question(
        approval_id=ids.approval_id(number % log.partitions, ref.id, 1, 0, "action"),
        action=msgspec.structs.replace(action, ref=ref),
        requested_at=now,
        deadline=now + 600,
    )
    at = address(asked, log.partitions)
    value, headers = encode(asked, source="test", time=now)
    await log.publish([Outgoing(at.topic, at.partition, at.key.encode(), value, headers)] * 2)
    return asked.identity()


async def _delivered(received: Received, wanted: set[str]) -> None:
    async with asyncio.timeout(40):
        while {body["id"] for body in received.bodies} < wanted:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.05)


@_KINDS
async def test_everybody_is_told_of_everything(seed: int | None) -> None:
    """With a receiver that fails now and then each notice arrives at both, and plainly it arrives once."""
    async with web_server() as steady, web_server() as shaky:
        shaky.answers = [503, 200, 429, 500, 200, 408] * 5
        async with _notifying(seed, [steady.url, shaky.url]) as (log, _):
            wanted = {await _ask(log, number) for number in range(_MANY)}
            await _delivered(steady, wanted)
            await _delivered(shaky, wanted)
    assert {body["id"] for body in steady.bodies} == wanted
    if seed is None:
        assert len(steady.requests) == _MANY
        assert len(shaky.requests) == _MANY + sum(status != 200 for status in [503, 429, 500, 408] * 5)


async def test_a_receiver_that_refuses_everything_stops_nobody() -> None:
    """Refusals become dead letters and the worker goes on: the other receiver is told of all."""
    async with web_server() as open_, web_server() as closed:
        closed.answers = [404] * 10 * _MANY
        async with _notifying(None, [closed.url, open_.url]) as (log, running):
            wanted = {await _ask(log, number) for number in range(_MANY)}
            await _delivered(open_, wanted)
            async with asyncio.timeout(20):
                while len(await _letters(log)) < _MANY:  # noqa: ASYNC110 - the log tells nobody outside
                    await asyncio.sleep(0.05)
            assert not running.done()


async def _letters(log: Log) -> list[bytes]:
    return [
        record.value or b""
        for partition in range(log.partitions)
        async for record in log.scan(topics.DEADLETTERS.name, partition)
    ]
