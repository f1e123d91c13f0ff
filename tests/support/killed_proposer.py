"""Turns for which the model is run by proposers that are killed: a sandbox, the turns, and what became of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.support.processes import environment, running, wait_for_lines

from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.events import topics
from callgate.events.codec import decode
from callgate.events.turns import TurnCompleted, TurnOrigin
from callgate.log.address import open_log
from callgate.log.port import Log


@contextmanager
def asking_a_sandbox(folder: Path, tools: str, *options: str, **settings: str) -> Iterator[dict[str, str]]:
    """The environment of services on a log in `folder` that ask a sandbox, started with these options.

    `tools` is the source of the toolbox's module. The log's address is CALLGATE_LOG in it.
    """
    (folder / "killed_proposer_tools.py").write_text(tools)
    ready = folder / "sandbox.json"
    with running("sandbox", "--port", "0", *options, log=ready):
        assert wait_for_lines(ready, 1, 20) >= 1
        announced = json.loads(ready.read_text().splitlines()[0])
        yield environment(
            CALLGATE_LOG=f"sqlite:///{folder / 'log.db'}",
            CALLGATE_BIGHUB_URL=announced["bighub"],
            CALLGATE_BIGHUB_KEY="test",
            CALLGATE_MODEL_URL=announced["model"],
            CALLGATE_MODEL_KEY="test",
            CALLGATE_APPROVAL_TRUSTED="true",
            CALLGATE_TOOLS="killed_proposer_tools:toolbox",
            PYTHONPATH=str(folder),
            **settings,
        )


async def asked(address: str, turns: int, said: str, **how: Any) -> list[str]:
    """Submit so many turns that say the same, each in a session of its own; returns the keys."""
    async with _opened(address) as (_, client):
        origins = [TurnOrigin(tenant="t", session=f"s{number}", turn="1", agent="a") for number in range(turns)]
        return [await client.ask(origin, model="m", input_=said, **how) for origin in origins]


async def ended(address: str, keys: Sequence[str], seconds: float) -> list[TurnCompleted]:
    """Every end that stands on the log once these turns and the follow-ups that they name have ended, or time is up."""
    async with _opened(address) as (log, client):
        ends = await asyncio.gather(*(client.wait(key, seconds) for key in keys))
        follow_ups = [end.follow_up for end in ends if end is not None and end.follow_up]
        await asyncio.gather(*(client.wait(key, seconds) for key in follow_ups))
        found = [
            decode(record.value, record.headers).event
            for partition in range(log.partitions)
            async for record in log.scan(topics.REPLIES.name, partition)
        ]
    return [event for event in found if isinstance(event, TurnCompleted)]


@asynccontextmanager
async def _opened(address: str) -> AsyncIterator[tuple[Log, Client]]:
    log = await open_log(address, clock=SystemClock())
    try:
        yield log, Client(log, SystemClock())
    finally:
        await log.close()
