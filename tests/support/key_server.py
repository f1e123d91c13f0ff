"""A web server on this machine that has approvers' keys, and is an identity provider if it is told to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from aiohttp import web
from tests.support.signing_values import LEE, document


class KeyServer:
    """What answers: keys at /keys, a provider's discovery below /idp, and paths that are no good."""

    def __init__(self) -> None:
        self.content = document(LEE)
        self.discovery: dict[str, str] = {}
        self.asked: list[str] = []
        self.url = ""

    @property
    def issuer(self) -> str:
        """The provider's name."""
        return f"{self.url}/idp"

    def provide(self, *keys: object) -> None:
        """Be a provider with these keys."""
        self.content = orjson.dumps({"keys": keys})
        self.discovery = {"issuer": self.issuer, "jwks_uri": f"{self.url}/keys"}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """By path."""
        self.asked.append(request.path)
        match request.path:
            case "/keys":
                return web.Response(body=self.content)
            case "/idp/.well-known/openid-configuration":
                return web.json_response(self.discovery)
            case "/moved":
                raise web.HTTPFound("/keys")
            case "/slow":
                await asyncio.sleep(30)
        raise web.HTTPNotFound


@asynccontextmanager
async def key_server() -> AsyncIterator[KeyServer]:
    """One that has lee's key."""
    made, application = KeyServer(), web.Application()
    application.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    made.url = f"http://127.0.0.1:{port}"
    try:
        yield made
    finally:
        await runner.cleanup()
