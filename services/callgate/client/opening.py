"""A client at a log's address, for programs that have nothing else to do with the log."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from callgate.client.asking import Caller
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.failures import BadInput
from callgate.log.address import MEMORY, file_of, open_log
from callgate.settings import KafkaSettings, TopicSettings, load

_FIELD = "CALLGATE_LOG"
_KAFKA = ("CALLGATE_KAFKA_", "CALLGATE_TOPIC_")


@asynccontextmanager
async def connected(address: str | None = None, caller: Caller | None = None) -> AsyncIterator[Client]:
    """A client on the log at `address`, else at CALLGATE_LOG; both closed at the end. Raises BadInput.

    For a log on Kafka the environment's `CALLGATE_KAFKA_…` and `CALLGATE_TOPIC_…` count, as for the services.
    """
    where = address or os.environ.get(_FIELD)
    if not where:
        raise BadInput(_FIELD, "is not set, and no address was given", "Name the log that the services run on")
    kafka, topic = KafkaSettings(), TopicSettings()
    path = file_of(where)
    if path == MEMORY.removeprefix("sqlite://"):
        raise BadInput(_FIELD, f"{where} is in one process's memory, where no other sees it", "Name a file")
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
