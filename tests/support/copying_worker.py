"""A worker that copies what it observes to `replies`, in this process or in one of its own that a test may kill.

Usage: python -m tests.support.copying_worker ADDRESS PREFIX SECONDS, where each record takes up to so long.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.support.log_engines import GROUP, SESSION_SECONDS
from tests.support.of_outcomes import OfOutcomes

from callgate.clock import SystemClock
from callgate.events.codec import Envelope, decode, encode
from callgate.events.outcomes import OutcomeObserved
from callgate.events.routing import Address
from callgate.events.topics import OBSERVED
from callgate.log.address import open_log
from callgate.log.port import Log, Outgoing
from callgate.settings import KafkaSettings, TelemetrySettings, TopicSettings, WorkerSettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.effects import Context, Effects, Publish
from callgate.worker.worker import Job, Worker

OUT = "replies"
SETTINGS = WorkerSettings(concurrency=16, window=64, retry_seconds=1, drain_seconds=5, brake_run=1000)

Step = Callable[[str], Awaitable[None]]


def observed(name: str, lane: str) -> OutcomeObserved:
    """An event that can be told by its name."""
    return OutcomeObserved(outcome_id=name, tenant="t", external_ref=lane, status="SUCCESS", observed_at=0.0)


def outgoing(name: str, partition: int, lane: str | None = None) -> Outgoing:
    """The record of an event, in a lane of its own unless told otherwise."""
    value, headers = encode(observed(name, lane or name), source="test", time=0.0)
    return Outgoing(OBSERVED.name, partition, None, value, headers)


@dataclass
class Copying(OfOutcomes):
    """The handler: what it was asked is counted; `before` is awaited first."""

    before: Step | None = None
    calls: Counter[str] = field(default_factory=Counter)

    async def handle(self, envelope: Envelope, context: Context) -> Effects:
        event = envelope.event
        assert isinstance(event, OutcomeObserved)
        self.calls[event.outcome_id] += 1
        if self.before is not None:
            await self.before(event.outcome_id)
        return Effects(publish=(Publish(observed(event.outcome_id, "x"), Address(OUT, context.lease, "k")),))

    async def on_timer(self, key: str, context: Context) -> Effects:
        raise NotImplementedError(key)

    async def on_dead(self, envelope: Envelope, context: Context, reason: str) -> Effects:
        return Effects()


@dataclass
class Working:
    """A worker on a log of its own."""

    log: Log
    handler: Copying
    settings: WorkerSettings = SETTINGS
    metrics: Metrics = field(default_factory=lambda: Metrics(TelemetrySettings()))
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Begin."""
        job = Job("tester", GROUP, (OBSERVED,), self.handler)
        self.worker = Worker(self.log, job, settings=self.settings, clock=SystemClock(), metrics=self.metrics)
        self.task = asyncio.ensure_future(self.worker.run(self.stop))

    @property
    def leases(self) -> set[int]:
        """What it holds now."""
        return {each.lease.number for each in self.worker.leases}

    async def ended(self) -> None:
        """Tell it to stop, and raise what it failed with."""
        self.stop.set()
        await self.task


async def copied(log: Log) -> Counter[str]:
    """What has been copied, and how often."""
    found: Counter[str] = Counter()
    for partition in range(log.partitions):
        async for record in log.scan(OUT, partition):
            event = decode(record.value, record.headers).event
            assert isinstance(event, OutcomeObserved)
            found[event.outcome_id] += 1
    return found


async def until(check: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait until a check holds; TimeoutError after so long."""
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 - a log on a broker is watched, as a checker would
            await asyncio.sleep(0.1)


async def _main(address: str, prefix: str, seconds: float) -> None:
    # Each record takes its own time: they end in another order than they came in.
    async def dawdle(_: str) -> None:
        await asyncio.sleep(random.uniform(0, seconds))

    kafka = KafkaSettings(session_seconds=SESSION_SECONDS)
    log = await open_log(address, clock=SystemClock(), kafka=kafka, topic=TopicSettings(prefix=prefix))
    await Working(log, Copying(dawdle)).task


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
