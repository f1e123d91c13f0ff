"""The whole gate with a provider that tells when an answer in the background has ended: nobody polls for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import ClientSession
from broker.local import free_ports
from openai import AsyncOpenAI
from tests.support.small_gate import counting
from tests.support.whole import settings_for

from callgate.cli.checker.facts import gather
from callgate.cli.checker.judge import judge
from callgate.cli.hosting import SERVICES, hosted
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.control.view import ControlView
from callgate.events import topics
from callgate.events.codec import decode
from callgate.events.turns import AnswerAnnounced, TurnCompleted, TurnOrigin
from callgate.log.address import open_log
from callgate.log.port import Log
from callgate.log.sqlite.hostile import Hostility
from callgate.proposer.announcing import PATH, taking
from callgate.proposer.openai_model import OpenaiModel
from callgate.sandbox.model.notices import EVENTS
from callgate.sandbox.service import Sandbox
from callgate.settings import Secret
from callgate.telemetry.metrics import Metrics
from callgate.worker.host import Host

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
async def told_gate(
    path: Path, *, seed: int | None = None, subscribed: bool = True, elsewhere: bool = False
) -> AsyncIterator[Gate]:
    """All services on a log, hostile where a seed is given, and a provider that knows where notices go.

    With `elsewhere` that is to another process of the proposer's, which has no turn.
    """
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
        address = f"sqlite:///{path / 'log.db'}"
        async with AsyncExitStack() as stack:
            log = await open_log(address, clock=clock, hostile=hostile)
            stack.push_async_callback(log.close)
            if elsewhere:
                other = await open_log(address, clock=clock)
                stack.push_async_callback(other.close)
                metrics, told = Metrics(settings.telemetry), replace(settings, model=model)
                host = Host(log=other, clock=clock, settings=told, metrics=metrics, control=ControlView(other))
                await stack.enter_async_context(
                    taking(host, await stack.enter_async_context(OpenaiModel(model, clock)))
                )
                model = replace(model, webhook_port=0)
            running = hosted(replace(settings, model=model), log, clock, SERVICES, counting(ran))
            await stack.enter_async_context(running)
            client = await stack.enter_async_context(Client(log, clock))
            yield Gate(log, client, url, ran)


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
        assert judge(await gather(gate.log, None), {}) == []
    assert sorted(gate.ran) == [1] * 4 + [2] * 4


async def test_any_process_may_be_told(tmp_path: Path) -> None:
    """Where another process takes the notices than the one that has the turn, the turn is told all the same."""
    async with told_gate(tmp_path, elsewhere=True) as gate:
        assert ended(await gate.client.wait(await gate.ask("s"), POLL_SECONDS / 2)) == ("completed", 3)
    assert gate.ran == [1, 2]


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
