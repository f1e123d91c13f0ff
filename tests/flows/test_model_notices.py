"""The whole gate with a provider that tells when an answer in the background has ended: nobody polls for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import ClientSession
from broker.local import free_ports
from openai import AsyncOpenAI
from tests.support.small_gate import counting
from tests.support.whole import settings_for

from callgate.cli.hosting import SERVICES, hosted
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.events import topics
from callgate.events.codec import decode
from callgate.events.turns import AnswerAnnounced, TurnCompleted, TurnOrigin
from callgate.log.address import open_log
from callgate.log.port import Log
from callgate.log.sqlite.hostile import Hostility
from callgate.proposer.announcing import PATH
from callgate.sandbox.model.notices import EVENTS
from callgate.sandbox.service import Sandbox
from callgate.settings import Secret

TWO_ROUNDS = 'call act {"n": 1}\nthen\ncall act {"n": 2}'
POLL_SECONDS = 40.0
"""Longer than a turn may take here: whoever ends before it was not polled for."""


@dataclass
class Gate:
    """A running gate that is told."""

    log: Log
    client: Client
    url: str
    ran: list[int]

    async def ask(self, session: str) -> str:
        """Submit a turn of three answers in the background; returns its key."""
        origin = TurnOrigin(tenant="acme", session=session, turn="1", agent="bot")
        return await self.client.ask(origin, model="any", input_=TWO_ROUNDS, options={"background": True})

    async def announced(self) -> list[AnswerAnnounced]:
        """What was passed on so far."""
        found = [
            decode(record.value, record.headers).event
            for partition in range(self.log.partitions)
            async for record in self.log.scan(topics.TURNS.name, partition)
        ]
        return [event for event in found if isinstance(event, AnswerAnnounced)]


@asynccontextmanager
async def told_gate(path: Path, *, seed: int | None = None, subscribed: bool = True) -> AsyncIterator[Gate]:
    """All services on a log, hostile where a seed is given, and a provider that knows where notices go."""
    (port,) = free_ports(1)
    clock, url, ran = SystemClock(), f"http://127.0.0.1:{port}{PATH}", list[int]()
    async with (
        Sandbox() as sandbox,
        AsyncOpenAI(base_url=sandbox.model_url, api_key="any", max_retries=0) as sdk,
    ):
        endpoint = await sdk.webhooks.create(name="callgate", url=url, event_types=list(EVENTS))  # type: ignore[arg-type]
        if not subscribed:
            await sdk.webhooks.delete(endpoint.id)
        settings = settings_for(sandbox.url, 900.0)
        model = replace(
            settings.model,
            background_seconds=90,
            poll_seconds=POLL_SECONDS if subscribed else 0.1,
            webhook_port=port,
            webhook_secret=Secret(endpoint.signing_secret),
        )
        hostile = None if seed is None else Hostility(seed=seed)
        log = await open_log(f"sqlite:///{path / 'log.db'}", clock=clock, hostile=hostile)
        try:
            async with (
                hosted(replace(settings, model=model), log, clock, SERVICES, counting(ran)),
                Client(log, clock) as client,
            ):
                yield Gate(log, client, url, ran)
        finally:
            await log.close()


def ended(turn: TurnCompleted | None) -> tuple[str, int]:
    """How a turn that must have ended did so, and after how many answers."""
    assert turn is not None
    return turn.status, turn.rounds


@pytest.mark.parametrize("seed", [None, 1, 2], ids=["plain", "hostile 1", "hostile 2"])
async def test_answers_are_fetched_when_they_are_announced(tmp_path: Path, seed: int | None) -> None:
    """Turns of three answers each end long before the first poll, and each call runs once."""
    async with told_gate(tmp_path, seed=seed) as gate:
        began = time.monotonic()
        keys = [await gate.ask(f"s{number}") for number in range(4)]
        turns = await asyncio.gather(*(gate.client.wait(key, POLL_SECONDS) for key in keys))
        assert [ended(each) for each in turns] == [("completed", 3)] * 4
        assert time.monotonic() - began < POLL_SECONDS
        assert {event.turn_key for event in await gate.announced()} == set(keys)
    assert sorted(gate.ran) == [1] * 4 + [2] * 4


async def test_a_lost_notice_costs_time_and_nothing_else(tmp_path: Path) -> None:
    """Where none comes, the answers are polled for."""
    async with told_gate(tmp_path, subscribed=False) as gate:
        assert ended(await gate.client.wait(await gate.ask("s"), 30)) == ("completed", 3)
        assert await gate.announced() == []
    assert gate.ran == [1, 2]


async def test_a_forged_notice_does_nothing(tmp_path: Path) -> None:
    """Without the secret nobody gets anything onto the log."""
    async with told_gate(tmp_path, subscribed=False) as gate, ClientSession() as session:
        headers = {"webhook-id": "e", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"}
        body = b'{"type": "response.completed", "data": {"id": "resp_1"}}'
        async with session.post(gate.url, data=body, headers=headers) as answered:
            assert answered.status == 400
        assert await gate.announced() == []
