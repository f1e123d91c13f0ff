"""Connections to one host that stay cheap when there are many of them.

httpx looks at every connection of a pool for every request, so that 64 requests at once cost seven times what each
alone would. Here every connection is a pool of its own, and a stack says which are idle.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import httpx


class Connections:
    """The part of `httpx.AsyncClient` that the SDK's transport uses: `request` and `aclose`."""

    def __init__(self, *, most: int, timeout: float, trust_env: bool) -> None:
        """At most `most` requests at once; others wait. `trust_env` says whether proxies from the environment apply."""
        self._free = asyncio.Semaphore(most)
        self._timeout = timeout
        self._trust_env = trust_env
        self._certificates: ssl.SSLContext | None = None
        self._idle: list[httpx.AsyncClient] = []

    async def request(self, **options: Any) -> httpx.Response:
        """Send one request on the connection that was used last, and read the whole response."""
        async with self._free:
            client = self._idle.pop() if self._idle else self._connection()
            try:
                return await client.request(**options)
            finally:
                self._idle.append(client)

    async def aclose(self) -> None:
        """Close every connection. Nothing may be under way."""
        while self._idle:
            await self._idle.pop().aclose()

    def _connection(self) -> httpx.AsyncClient:
        if self._certificates is None:
            self._certificates = httpx.create_ssl_context(trust_env=self._trust_env)
        return httpx.AsyncClient(timeout=self._timeout, trust_env=self._trust_env, verify=self._certificates)
