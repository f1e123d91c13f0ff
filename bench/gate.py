"""Callgate itself: one stage, one evaluator with its HTTP calls, and the whole pipeline."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson

from bench.worlds import SESSIONS, Usage, world
from callgate.bighub.client import Bighub
from callgate.bighub.requests import EvaluateRequest
from callgate.bighub.resolve import Resolution, resolve
from callgate.cli.collecting import collect_seldom
from callgate.cli.hosting import SERVICES, hosted
from callgate.cli.play.command import sandbox_settings
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.control.view import ControlView
from callgate.evaluator import service as evaluator
from callgate.events import topics
from callgate.events.actions import ActionProposed
from callgate.events.codec import Envelope, decode
from callgate.events.turns import TurnCompleted, TurnOrigin
from callgate.log.port import Log
from callgate.settings import Settings
from callgate.telemetry.metrics import Metrics
from callgate.tools.toolbox import Call, Toolbox
from callgate.worker.effects import Context, Effects
from callgate.worker.host import Host
from callgate.worker.worker import Worker

_ALLOWED = {"recommendation": "proceed", "allowed": True, "request_id": "req_1"}


class AtOnce:
    """A BIGHUB that costs nothing: what is left is the stage."""

    refused: str | None = None

    async def evaluate(self, request: EvaluateRequest) -> Resolution:
        """Allow it."""
        del request
        return resolve(_ALLOWED)


async def evaluate(
    address: str, prefix: str, count: int, url: str, concurrency: int, batch: int = 1
) -> dict[str, float]:
    """An evaluator on what lies on the log, until so many are decided. Without a `url` it asks nobody."""
    collect_seldom()  # as `callgate run` does
    clock = SystemClock()
    settings = sandbox_settings(url or "http://127.0.0.1:1", address, 60.0)
    settings = replace(
        settings,
        worker=replace(settings.worker, concurrency=concurrency),
        bighub=replace(settings.bighub, batch=batch),
    )
    async with world(address, prefix) as log:
        if not url:
            return await _decided(log, clock, settings, AtOnce(), count)
        async with Bighub(settings.bighub, connections=concurrency) as bighub:
            return await _decided(log, clock, settings, bighub, count)


async def _decided(log: Log, clock: SystemClock, settings: Settings, bighub: Any, count: int) -> dict[str, float]:
    metrics = Metrics(settings.telemetry)
    control = ControlView(log)
    await control.start()
    host = Host(log=log, clock=clock, settings=settings, metrics=metrics, control=control)
    (job,) = evaluator.build(host, bighub)
    stop, done, begun = asyncio.Event(), asyncio.Event(), asyncio.Event()
    handled = 0
    handle = job.handler.handle

    async def counted(envelope: Envelope, context: Context) -> Effects:
        nonlocal handled
        begun.set()
        effects = await handle(envelope, context)
        handled += 1
        if handled == count:
            done.set()
        return effects

    job.handler.handle = counted  # type: ignore[method-assign]
    worker = Worker(log, job, settings=settings.worker, clock=clock, metrics=metrics, epoch=lambda: 0)
    running = asyncio.create_task(worker.run(stop))
    await begun.wait()
    usage = Usage.begin()
    await done.wait()
    stop.set()
    await running  # what is decided is committed by then
    used = usage.so_far()
    await control.close()
    return {"count": count, **used}


def toolbox(starts: dict[str, float]) -> Toolbox:
    """One tool that does nothing but say when it was started."""
    box = Toolbox()

    @box.tool(effect="idempotent")
    def refund(payment: str, amount: int, note: str, call: Call) -> str:
        """Pay money back."""
        del payment, amount, note
        starts[call.action_id] = time.time()
        return "done"

    return box


async def pipeline(address: str, prefix: str, count: int, url: str, concurrency: int, delay: float) -> dict[str, float]:
    """All services in one process, turns in and answers out, so many at once."""
    collect_seldom()
    clock = SystemClock()
    starts: dict[str, float] = {}
    proposed: dict[str, float] = {}
    settings = sandbox_settings(url, address, 60.0)
    async with world(address, prefix) as log:
        async with hosted(settings, log, clock, SERVICES, toolbox(starts)):
            waiting: dict[str, asyncio.Future[None]] = {}
            following = [
                asyncio.create_task(_replies(log, waiting)),
                asyncio.create_task(_proposals(log, proposed)),
            ]
            client = Client(log, clock, source="bench")
            await _turn(client, -1, waiting)
            usage = Usage.begin()
            places = asyncio.Semaphore(concurrency)

            async def one(number: int) -> None:
                async with places:
                    await _turn(client, number, waiting)

            await asyncio.gather(*(one(number) for number in range(count)))
            used = usage.so_far()
            await asyncio.sleep(0.5)
            for task in following:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        added = sorted((starts[action] - at - delay) * 1000 for action, at in proposed.items() if action in starts)
        cuts = statistics.quantiles(added, n=100)
        return {"count": count, **used, "p50_ms": cuts[49], "p95_ms": cuts[94], "p99_ms": cuts[98]}


async def _turn(client: Client, number: int, waiting: dict[str, asyncio.Future[None]]) -> None:
    arguments = orjson.dumps({"payment": f"P-{number}", "amount": number % 500, "note": "x" * 200}).decode()
    call = {"type": "function_call", "call_id": f"c{number}", "name": "refund", "arguments": arguments}
    origin = TurnOrigin(tenant="acme", session=f"s{number % SESSIONS}", turn=f"t{number}", agent="support")
    done = waiting[client.turn_key(origin)] = asyncio.get_running_loop().create_future()
    await client.record(origin, {"object": "response", "status": "completed", "output": [call]})
    await done


async def _replies(log: Log, waiting: dict[str, asyncio.Future[None]]) -> None:
    async for record in log.follow(topics.REPLIES.name, list(range(log.partitions)), {}):
        event = decode(record.value, record.headers).event
        if isinstance(event, TurnCompleted) and (done := waiting.pop(event.turn_key, None)) is not None:
            done.set_result(None)


async def _proposals(log: Log, proposed: dict[str, float]) -> None:
    async for record in log.follow(topics.PROPOSED.name, list(range(log.partitions)), {}):
        event = decode(record.value, record.headers).event
        assert isinstance(event, ActionProposed)
        proposed.setdefault(event.ref.id, event.proposed_at)
