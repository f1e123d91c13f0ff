"""The log under a run: where it is, how its processes reach it, and what can be done to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.havoc import Pace

from callgate.clock import Clock
from callgate.log.address import open_log
from callgate.log.port import Log
from callgate.settings import load


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine, ready to be used."""

    env: Mapping[str, str]
    pace: Pace
    deeds: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """What can be done to the log itself, by name."""

    async def open(self, clock: Clock) -> Log:
        """The log, for the driver's own use."""
        settings = load(self.env)
        return await open_log(settings.log, clock=clock, kafka=settings.kafka, topic=settings.topic)


@asynccontextmanager
async def engine(name: str, home: Path) -> AsyncIterator[Engine]:
    """The engine of that name, with everything that it needs in `home`."""
    if name != "sqlite":
        message = f"there is no engine {name!r}"
        raise ValueError(message)
    # A silent member of the embedded log is believed alive for three seconds.
    yield Engine({"CALLGATE_LOG": f"sqlite:///{home / 'log.db'}"}, Pace(between_seconds=1.5, freeze_seconds=(4.0, 8.0)))
