"""An HTTP endpoint of a service's own, open for as long as a context lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from callgate.failures import BadInput


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int, *, field: str) -> AsyncIterator[str]:
    """Serve `app` while the context lasts; gives the base URL. Port 0 takes a free one.

    Raises `BadInput` about `field` where the address can't be listened on.
    """
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            problem = f"{host}:{port} can't be listened on ({error.strerror or type(error).__name__})"
            raise BadInput(field, problem, "Choose a free port, or 0 for none") from error
        bound = runner.addresses[0]
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        yield f"http://{shown}:{bound[1]}"
    finally:
        await runner.cleanup()
