"""A BIGHUB that allows everything after a set delay, and does nothing else, in a process of its own.

Usage: python -m bench.stub SECONDS. Prints its address.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

import orjson
from aiohttp import web

_ANSWER = b'{"recommendation":"proceed","allowed":true,"request_id":"req_%d"}'


def application(delay: float) -> web.Application:
    """Answers every evaluation alike, and takes whatever else is sent."""
    numbers = itertools.count(1)

    async def evaluate(request: web.Request) -> web.Response:
        await request.read()
        if delay:
            await asyncio.sleep(delay)
        return web.Response(body=_ANSWER % next(numbers), content_type="application/json")

    async def batch(request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())["actions"]
        if delay:
            await asyncio.sleep(delay)
        answers = b",".join(_ANSWER % next(numbers) for _ in asked)
        return web.Response(body=b"[%s]" % answers, content_type="application/json")

    async def anything(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b'{"ok":true}', content_type="application/json")

    app = web.Application()
    app.router.add_post("/actions/evaluate", evaluate)
    app.router.add_post("/actions/evaluate/batch", batch)
    app.router.add_post("/actions/submit", evaluate)
    app.router.add_route("*", "/{tail:.*}", anything)
    return app


async def main(delay: float) -> None:
    """Serve until killed."""
    runner = web.AppRunner(application(delay), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None  # noqa: SLF001 - it has just been started
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # noqa: SLF001 - the same
    print(f"http://127.0.0.1:{port}", flush=True)  # noqa: T201 - whoever starts it reads this
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
