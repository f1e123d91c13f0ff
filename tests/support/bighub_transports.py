"""The SDK's whole surface over its own transport and over ours, and a server that answers what it is told to."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bighub import AsyncBighubClient

from callgate.bighub.transport import AiohttpTransport

SECRET = "key-that-must-not-show"
TRANSPORTS = ("httpx", "aiohttp")


@asynccontextmanager
async def sdk(
    name: str, url: str, *, seconds: float = 15.0, answer_bytes: int = 1 << 20, api_key: str | None = SECRET
) -> AsyncIterator[AsyncBighubClient]:
    """The SDK's client over the transport of that name, without retries of its own."""
    async with AsyncBighubClient(base_url=url, api_key=api_key, timeout=seconds, max_retries=0) as client:
        if name == "httpx":
            yield client
            return
        async with AiohttpTransport(
            base_url=url, api_key=api_key, timeout=seconds, answer_bytes=answer_bytes, connections=16
        ) as transport:
            # Decisions and reviews hold each other's; every resource is reached from the client itself.
            for resource in vars(client).values():
                if hasattr(resource, "_transport"):
                    resource._transport = transport
            yield client


@dataclass
class Received:
    """One request as it came over the wire."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class RawServer:
    """Answers every request with what `play` writes, and records what was asked."""

    play: Callable[[asyncio.StreamWriter], Awaitable[bool]]
    url: str = ""
    received: list[Received] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {
                    name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.received.append(Received(head[0], headers, body))
                if not await self.play(writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def raw_server(
    play: Callable[[asyncio.StreamWriter], Awaitable[bool]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """A server whose `play` says True when the connection is to be kept."""
    server = RawServer(play)
    tasks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    server.url = f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answer(status: str = "200 OK", body: bytes = b"", kind: str = "application/json", **headers: str) -> bytes:
    """A whole response. A header's underscores stand for hyphens."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def failed(status: str, detail: object = None, **headers: str) -> bytes:
    """An error as BIGHUB words it."""
    body = {"detail": detail or {"code": "broken", "message": "no"}, "request_id": "req_9"}
    return answer(status, json.dumps(body).encode(), **headers)


def says(response: bytes, *, keep: bool = True) -> Callable[[asyncio.StreamWriter], Awaitable[bool]]:
    """Answers so, and keeps the connection or closes it."""

    async def play(writer: asyncio.StreamWriter) -> bool:
        writer.write(response)
        await writer.drain()
        return keep

    return play


async def evaluate(client: AsyncBighubClient) -> Any:
    """The call that Callgate lives by."""
    return await client.actions.evaluate_payload(payload={"action": "refund", "value": 1.5}, idempotency_key="evt_1")
