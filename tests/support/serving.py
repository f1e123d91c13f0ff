"""Some services' workers on a log of any engine, and what a stranger to their process can do with that log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from callgate.clock import Clock, SystemClock
from callgate.control.view import ControlView
from callgate.events import topics
from callgate.events.codec import decode, encode
from callgate.events.event import Event
from callgate.events.routing import address
from callgate.log.port import Log, Outgoing
from callgate.settings import Settings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.host import Host
from callgate.worker.job import Job
from callgate.worker.worker import Worker


@asynccontextmanager
async def serving(
    log: Log, settings: Settings, build: Callable[[Host], Sequence[Job]], clock: Clock | None = None
) -> AsyncIterator[asyncio.Future[list[None]]]:
    """The jobs' workers, which are drained at the end. What is given is done once one of them has failed."""
    clock = clock or SystemClock()
    metrics, stop = Metrics(TelemetrySettings()), asyncio.Event()
    host = Host(log=log, clock=clock, settings=settings, metrics=metrics, control=ControlView(log))
    workers = [
        Worker(log, job, settings=settings.worker, clock=clock, metrics=metrics, jitter=lambda: 0.5)
        for job in build(host)
    ]
    running = asyncio.gather(*(worker.run(stop) for worker in workers))
    try:
        yield running
    finally:
        stop.set()
        await running


def written(event: Event, partitions: int) -> Outgoing:
    """An event as its writer would put it on the log."""
    at = address(event, partitions)
    value, headers = encode(event, source="test", time=0.0)
    return Outgoing(at.topic, at.partition, at.key.encode(), value, headers)


async def write(log: Log, *events: Event) -> None:
    """Put events where they belong, in their order."""
    await log.publish([written(event, log.partitions) for event in events])


async def write_at(log: Log, topic: topics.Topic, partition: int, *events: Event) -> None:
    """Put events on a partition of an entrance, as a producer that knows no homes would."""
    values = [encode(event, source="test", time=0.0) for event in events]
    await log.publish([Outgoing(topic.name, partition, None, value, headers) for value, headers in values])


async def everything(log: Log, topic: topics.Topic) -> list[Event]:
    """What a topic holds by now."""
    return [
        decode(record.value, record.headers).event
        for partition in range(log.partitions)
        async for record in log.scan(topic.name, partition)
    ]


async def until(done: Callable[[], Awaitable[bool]], seconds: float = 90.0) -> None:
    """Ask again and again, as a stranger to the process would have to."""
    async with asyncio.timeout(seconds):
        while not await done():  # noqa: ASYNC110 - the log tells nobody outside
            await asyncio.sleep(0.05)


async def until_there(log: Log, topic: topics.Topic, count: int) -> None:
    """Until so many events stand on a topic."""

    async def there() -> bool:
        return len(await everything(log, topic)) >= count

    await until(there)
