"""A client at a log's address, for programs that have nothing else to do with the log."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from callgate.client.asking import Caller
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.environment import load
from callgate.failures import BadInput
from callgate.log.address import MEMORY, file_of, open_log
from callgate.settings import KafkaSettings, TopicSettings

_FIELD = "CALLGATE_LOG"
_PATIENCE_SECONDS = 5.0
"""How long a program that starts beside the services waits for them to make the log."""
_LOOK_SECONDS = 0.1
_DEFAULT = "sqlite:///callgate.db"
_KAFKA = ("CALLGATE_KAFKA_", "CALLGATE_TOPIC_")


@asynccontextmanager
async def connected(address: str | None = None, caller: Caller | None = None) -> AsyncIterator[Client]:
    """A client on the log at `address`, else at CALLGATE_LOG, else in `callgate.db`; both closed at the end.

    Raises BadInput, also where there is no log yet: whoever made one here would wait for services that are elsewhere.
    For a log on Kafka the environment's `CALLGATE_KAFKA_…` and `CALLGATE_TOPIC_…` count, as for the services.
    """
    where = address or os.environ.get(_FIELD) or _DEFAULT
    kafka, topic = KafkaSettings(), TopicSettings()
    path = file_of(where)
    if path == MEMORY.removeprefix("sqlite://"):
        raise BadInput(_FIELD, f"{where} is in one process's memory, where no other sees it", "Name a file")
    if path is not None:
        await _made(Path(path))
    if path is None:
        settings = load({name: value for name, value in os.environ.items() if name.startswith(_KAFKA)})
        kafka, topic = settings.kafka, settings.topic
    clock = SystemClock()
    log = await open_log(where, clock=clock, kafka=kafka, topic=topic)
    try:
        async with Client(log, clock, caller=caller or Caller()) as client:
            yield client
    finally:
        await log.close()


async def _made(path: Path) -> None:
    """Wait for a log that is being made. Raises BadInput where none is."""
    clock = SystemClock()
    until = clock.monotonic() + _PATIENCE_SECONDS
    while not path.exists():  # noqa: ASYNC240 - a look at a local file
        if clock.monotonic() >= until:
            problem, way_out = f"there is no log at {path} yet", "Start the services, or name the log that they run on"
            raise BadInput(_FIELD, problem, way_out)
        await clock.sleep(_LOOK_SECONDS)
