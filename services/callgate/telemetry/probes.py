"""The small port that an orchestrator asks: /livez, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from callgate.listening import listening
from callgate.telemetry.health import Health
from callgate.telemetry.metrics import Metrics

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@asynccontextmanager
async def serve(host: str, port: int, metrics: Metrics, health: Callable[[], Health]) -> AsyncIterator[str]:
    """Serve the probes while the context lasts; gives the base URL. Port 0 takes a free one.

    Raises `BadInput` where the address can't be listened on.
    """
    app = web.Application()
    app.router.add_get("/livez", _answer(lambda: (health().live, health())))
    app.router.add_get("/readyz", _answer(lambda: (health().ready, health())))
    app.router.add_get("/metrics", _metrics(metrics))
    async with listening(app, host, port, field="CALLGATE_TELEMETRY_PORT") as where:
        yield where


def _answer(ask: Callable[[], tuple[bool, Health]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        good, health = ask()
        body = msgspec.json.encode({"ready": health.ready, "live": health.live, "reasons": health.reasons})
        return web.Response(body=body, status=200 if good else 503, content_type="application/json")

    return answer


def _metrics(metrics: Metrics) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def show(_: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), headers={"Content-Type": _CONTENT_TYPE})

    return show
