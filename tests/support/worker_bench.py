"""A worker under test: a scripted handler, the log in memory, and a clock that moves only when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.memory_log import MemoryGroup, MemoryLease, MemoryLog
from tests.support.of_outcomes import OfOutcomes

from callgate.clock import ManualClock
from callgate.events.codec import Envelope, decode
from callgate.events.outcomes import OutcomeObserved
from callgate.events.routing import Address
from callgate.events.topics import FINISHED, OBSERVED
from callgate.log.port import Record
from callgate.settings import TelemetrySettings, WorkerSettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.effects import Context, Effects, Publish
from callgate.worker.worker import Job, Worker

INPUT = OBSERVED.name
OUTPUT = "replies"
SETTINGS = WorkerSettings(brake_run=1000, brake_window=1000)

Step = Callable[[OutcomeObserved, Context], Awaitable[Effects]]


def seen(name: str, *, lane: str = "a", tenant: str = "t") -> OutcomeObserved:
    """An event for the script: its name, lane and tenant."""
    return OutcomeObserved(outcome_id=name, tenant=tenant, external_ref=lane, status="SUCCESS", observed_at=0.0)


def said(name: str) -> Publish:
    """An effect that can be looked for by its name."""
    return Publish(seen(name), Address(OUTPUT, 0, "k"))


async def echo(event: OutcomeObserved, _: Context) -> Effects:
    """Say what was seen."""
    return Effects(publish=(said(event.outcome_id),))


def held(until: asyncio.Event) -> Step:
    """A step that goes on, and then says what was seen, only when it is let."""

    async def slow(event: OutcomeObserved, context: Context) -> Effects:
        await until.wait()
        return await echo(event, context)

    return slow


@dataclass
class Script(OfOutcomes):
    """A handler that does what the test tells it to for each name, and notes what it was asked."""

    steps: dict[str, Step] = field(default_factory=dict)
    timers: dict[str, Callable[[Context], Awaitable[Effects]]] = field(default_factory=dict)
    dead: Callable[[str, Context, str], Awaitable[Effects]] | None = None
    calls: list[str] = field(default_factory=list)
    contexts: list[Context] = field(default_factory=list)

    async def handle(self, envelope: Envelope, context: Context) -> Effects:
        event = envelope.event
        assert isinstance(event, OutcomeObserved)
        self.calls.append(event.outcome_id)
        self.contexts.append(context)
        return await self.steps.get(event.outcome_id, echo)(event, context)

    async def on_timer(self, key: str, context: Context) -> Effects:
        self.calls.append(f"timer {key}")
        self.contexts.append(context)
        if key in self.timers:
            return await self.timers[key](context)
        return Effects(publish=(said(f"timer {key}"),))

    async def on_dead(self, envelope: Envelope, context: Context, reason: str) -> Effects:
        event = envelope.event
        assert isinstance(event, OutcomeObserved)
        self.calls.append(f"dead {event.outcome_id}")
        if self.dead is not None:
            return await self.dead(event.outcome_id, context, reason)
        return Effects(publish=(said(f"ended {event.outcome_id}"),))


@dataclass
class Bench:
    """Start it with `working`, plant records with `log.append`, and let time pass with `clock.advance`."""

    log: MemoryLog = field(default_factory=MemoryLog)
    script: Script = field(default_factory=Script)
    clock: ManualClock = field(default_factory=ManualClock)
    settings: WorkerSettings = SETTINGS
    groups: list[MemoryGroup] = field(default_factory=list)
    metrics: Metrics = field(default_factory=lambda: Metrics(TelemetrySettings()))

    def see(self, *names: str, lane: str = "a", tenant: str = "t") -> None:
        """Append events to the input."""
        for name in names:
            self.log.append(INPUT, seen(name, lane=lane, tenant=tenant))

    def tune(self, **settings: Any) -> Bench:
        """Change settings before it starts."""
        self.settings = replace(self.settings, **settings)
        return self

    def worker(self, *, both: bool = False) -> Worker:
        """A fresh worker, as after a restart of the process."""
        topics = (OBSERVED, FINISHED) if both else (OBSERVED,)
        job = Job("tester", "tester", topics, self.script)
        return Worker(self.log, job, settings=self.settings, clock=self.clock, metrics=self.metrics, jitter=lambda: 0.5)

    def said(self) -> list[str]:
        """The names of what was published, in order."""
        return [_name(record) for record in self.log.written(OUTPUT)]

    @property
    def table(self) -> dict[str, bytes]:
        """The committed table."""
        return self.log.table.get(0, {})

    @asynccontextmanager
    async def working(self, *, both: bool = False) -> AsyncIterator[Running]:
        """Run a worker; at the end it is told to stop and must come to a good end."""
        worker = self.worker(both=both)
        stop = asyncio.Event()
        task = asyncio.ensure_future(worker.run(stop))
        running = Running(worker, stop, task)
        try:
            await settle()
            yield running
        finally:
            stop.set()
            for _ in range(3):
                await settle()
                if task.done():
                    break
                await self.clock.advance(self.settings.drain_seconds)
        await task


@dataclass
class Running:
    """A worker that runs."""

    worker: Worker
    stop: asyncio.Event
    task: asyncio.Task[None]

    @property
    def lease(self) -> MemoryLease:
        """The newest lease."""
        lease = self.worker.leases[-1].lease
        assert isinstance(lease, MemoryLease)
        return lease


def _name(record: Record) -> str:
    event = decode(record.value, record.headers).event
    assert isinstance(event, OutcomeObserved)
    return event.outcome_id


async def settle(turns: int = 60) -> None:
    """Let everything run that can run without time passing."""
    for _ in range(turns):
        await asyncio.sleep(0)
