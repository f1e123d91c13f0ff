"""The logs that subjects run on: laid out, filled, opened; and what is put on them."""

from __future__ import annotations

import resource
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from callgate.cli.play.custody import GROUPS
from callgate.clock import SystemClock
from callgate.events import ids
from callgate.events.actions import ActionProposed, ActionRef
from callgate.events.codec import encode
from callgate.events.digest import digest
from callgate.events.home import home
from callgate.events.routing import address
from callgate.log.address import bootstrap_of, open_log
from callgate.log.kafka.cluster import apply
from callgate.log.kafka.connection import client_options
from callgate.log.kafka.layout import desired
from callgate.log.kafka.names import Names
from callgate.log.port import Log, Outgoing
from callgate.settings import KafkaSettings, TopicSettings

PARTITIONS = 4
"""N of the benchmark's logs: as many leases as two cores keep busy."""

SESSIONS = 200
"""So that lanes are no bottleneck: the calls of a session keep their order."""

SESSION_SECONDS = 6.0
"""Of members on Kafka: the least that brokers allow by default, so that a repeat of resuming does not take long."""

_CHUNK = 500


@dataclass(slots=True)
class Usage:
    """What a process has used since it was asked to count."""

    wall: float
    cpu: float

    @classmethod
    def begin(cls) -> Usage:
        """From now on."""
        return cls(time.monotonic(), _cpu())

    def so_far(self) -> dict[str, float]:
        """Seconds of wall and of CPU, and the largest memory of the process in megabytes."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"wall": time.monotonic() - self.wall, "cpu": _cpu() - self.cpu, "peak_mb": peak}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@asynccontextmanager
async def world(log_address: str, prefix: str) -> AsyncIterator[Log]:
    """A log that is open, and laid out if it has to be."""
    kafka, topic = KafkaSettings(session_seconds=SESSION_SECONDS), TopicSettings(prefix=prefix, partitions=PARTITIONS)
    if log_address.startswith("kafka://"):
        options = client_options(bootstrap_of(log_address), kafka)
        await apply(options, Names(prefix), desired(topic, GROUPS), dry_run=False)
    log = await open_log(log_address, clock=SystemClock(), partitions=PARTITIONS, kafka=kafka, topic=topic)
    try:
        yield log
    finally:
        await log.close()


def fresh_prefix() -> str:
    """A prefix that nobody has used."""
    return f"bench-{secrets.token_hex(4)}."


def proposal(number: int) -> ActionProposed:
    """A proposed action as the proposer would make it: about a kilobyte on the log."""
    session = f"s{number % SESSIONS}"
    key = ids.turn_key(home("acme", session, PARTITIONS), "acme", session, f"t{number}")
    arguments: dict[str, Any] = {"payment": f"P-{number}", "amount": number % 500, "note": "x" * 200}
    ref = ActionRef(
        id=ids.action_id(key, 0, 0, f"c{number}"),
        turn_key=key,
        tenant="acme",
        session=session,
        turn=f"t{number}",
        agent="support",
        position=0,
        call_id=f"c{number}",
        tool="refund",
        digest=digest(tenant="acme", agent="support", tool="refund", tool_version="1", target="", arguments=arguments),
    )
    return ActionProposed(
        ref=ref, arguments=msgspec.Raw(orjson.dumps(arguments)), tool_version="1", proposed_at=time.time()
    )


def outgoing(event: Any) -> Outgoing:
    """An event as a record."""
    value, headers = encode(event, source="bench", time=time.time())
    to = address(event, PARTITIONS)
    return Outgoing(to.topic, to.partition, to.key.encode(), value, headers)


async def fill(log: Log, count: int) -> int:
    """Put so many proposals on the log; bytes of one."""
    size = 0
    for first in range(0, count, _CHUNK):
        chunk = [outgoing(proposal(number)) for number in range(first, min(first + _CHUNK, count))]
        size = len(chunk[0].value or b"")
        for partition in range(PARTITIONS):
            part = [record for record in chunk if record.partition == partition]
            if part:
                await log.publish(part)
    return size
