"""A log on disk with what a test has planted in it, for commands that only read it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from callgate.clock import SystemClock
from callgate.events.codec import encode
from callgate.events.event import Event
from callgate.events.routing import address
from callgate.log.address import open_log
from callgate.log.port import Log, Outgoing, Record, Unit

T = TypeVar("T")


def on(path: Path, work: Callable[[Log], Awaitable[T]]) -> T:
    """Do something on the log at `path`, which is made if it is not there."""

    async def run() -> T:
        log = await open_log(f"sqlite:///{path}", clock=SystemClock())
        try:
            return await work(log)
        finally:
            await log.close()

    return asyncio.run(run())


def plant(path: Path, *events: Event, at: float = 1_700_000_000.0) -> None:
    """Write events where they belong, as their writers would."""

    async def work(log: Log) -> None:
        for event in events:
            to = address(event, log.partitions)
            value, headers = encode(event, source="test", time=at)
            await log.publish([Outgoing(to.topic, to.partition, to.key.encode(), value, headers)])

    on(path, work)


def records(path: Path, topic: str) -> list[Record]:
    """Everything on a topic."""

    async def work(log: Log) -> list[Record]:
        return [record for number in range(log.partitions) async for record in log.scan(topic, number)]

    return on(path, work)


def put(path: Path, group: str, topics: tuple[str, ...], table: dict[str, bytes]) -> None:
    """Put entries into a group's table, on lease 0."""

    async def work(log: Log) -> None:
        member = await log.join(group, topics)
        lease = await member.claim(5)
        while lease is not None and lease.number != 0:
            lease = await member.claim(5)
        assert lease is not None
        await lease.commit(Unit(puts=table))
        await member.leave()

    on(path, work)
