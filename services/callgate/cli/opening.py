"""What short commands have in common at their edges: the log that they look at, and how they are asked for JSON.

A command that only looks never makes a log: a misspelt address would show an empty world instead of an error.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from callgate.failures import BadInput

if TYPE_CHECKING:
    from callgate.clock import Clock
    from callgate.log.port import Log
    from callgate.settings import KafkaSettings, TopicSettings

T = TypeVar("T")

log_option = click.option(
    "--log", "address", help="The log's address; default: CALLGATE_LOG, else sqlite:///callgate.db."
)

json_option = click.option("--json", "json_", is_flag=True, help="JSON for programs.")


def address_of(address: str | None) -> str:
    """The log's address: what was said, else the environment's, else the default. Reads no other setting."""
    return address or os.environ.get("CALLGATE_LOG") or "sqlite:///callgate.db"


@dataclass(frozen=True, slots=True)
class Place:
    """A log's address, and for one on Kafka how it is reached and what its topics are called."""

    address: str
    kafka: KafkaSettings
    topic: TopicSettings

    @property
    def on_kafka(self) -> bool:
        """Whether the address names brokers."""
        return on_kafka(self.address)


def on_kafka(address: str) -> bool:
    """Whether an address names brokers. Raises BadInput where it is no address at all."""
    from callgate.log.address import file_of

    return file_of(address) is None


def place_of(address: str) -> Place:
    """An address, with the settings that it needs. Raises BadInput.

    For an embedded log no setting is read: a fault in one that it does not use must not keep anybody from looking.
    """
    from callgate.environment import load
    from callgate.settings import KafkaSettings, TopicSettings

    if not on_kafka(address):
        return Place(address, KafkaSettings(), TopicSettings())
    ours = ("CALLGATE_KAFKA_", "CALLGATE_TOPIC_")
    settings = load({name: value for name, value in os.environ.items() if name.startswith(ours)})
    return Place(address, settings.kafka, settings.topic)


async def open_as_it_is(place: Place, clock: Clock) -> Log:
    """The log at a place. Raises BadInput where it is on Kafka and its topics are not laid out."""
    from callgate.log.address import open_log

    return await open_log(place.address, clock=clock, kafka=place.kafka, topic=place.topic)


async def open_own(place: Place, clock: Clock) -> Log:
    """The log of a command that owns its world: on Kafka it is laid out first, which is said.

    A service in production never does this: what its topics are is not decided by whoever happens to start first.
    """
    if place.on_kafka:
        from callgate.cli.layout import lay_out

        laid = await lay_out(place)
        if laid.changes:
            click.echo(f"the topics on {place.address} were laid out, with {laid.partitions} partitions", err=True)
    return await open_as_it_is(place, clock)


@asynccontextmanager
async def opened(address: str | None, clock: Clock, *, make: bool = False) -> AsyncIterator[Log]:
    """The log, closed at the end. Raises BadInput where there is none yet, unless it may be made."""
    from callgate.log.address import file_of
    from callgate.telemetry import logs

    logs.configure("error")
    where = address_of(address)
    path = file_of(where)
    field = "--log" if address else "CALLGATE_LOG"
    if path == ":memory:":
        raise BadInput(field, f"{where} is in one process's memory, where no other sees it", "Name a file")
    if path is not None and not make and not Path(path).exists():  # noqa: ASYNC240 - one look before anything else runs
        raise BadInput(field, f"there is no log at {path} yet", "Start the services, or name the log with --log")
    log = await open_as_it_is(place_of(where), clock)
    try:
        yield log
    finally:
        await log.close()


def on_log(address: str | None, work: Callable[[Log, Clock], Coroutine[Any, Any, T]], *, make: bool = False) -> T:
    """Do some work on the log and close it."""
    from callgate.clock import SystemClock

    async def run() -> T:
        clock = SystemClock()
        async with opened(address, clock, make=make) as log:
            return await work(log, clock)

    return asyncio.run(run())


def pick(what: str, given: str, ids: Callable[[], list[str]] | list[str], *, least: int = 0) -> str:
    """The one id that `given` is, or is an unambiguous beginning of: of the whole id, or of its short form.

    `least` characters of the short form must be among it, whatever else is: all ids of a kind begin alike.
    Raises BadInput where there is none, more than one, or too little of it.
    """
    known = ids() if callable(ids) else ids
    wanted = given.strip()
    if wanted in known:
        return wanted
    found = [each for each in known if wanted and (each.startswith(wanted) or _hash(each).startswith(wanted))]
    if len(found) == 1:
        if _named(found[0], wanted) < least:
            way_out = f"Give at least {least} characters of what `callgate {what}s list` shows"
            raise BadInput(what, f"{given!r} is too short to be sure that it is meant", way_out)
        return found[0]
    if not found:
        raise BadInput(what, f"none begins with {given!r}", f"`callgate {what}s list` shows them")
    shown = ", ".join(_hash(each)[:12] for each in sorted(found)[:5])
    raise BadInput(what, f"{given!r} is the beginning of {len(found)}", f"Write more of it: {shown}")


def _named(identifier: str, wanted: str) -> int:
    """How many characters of the short form somebody has given."""
    before = 0 if _hash(identifier).startswith(wanted) else len(identifier) - len(_hash(identifier))
    return max(0, len(wanted) - before)


def _hash(identifier: str) -> str:
    return identifier.rsplit("_", 1)[-1]
