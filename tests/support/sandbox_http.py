"""Plain HTTP against a sandbox, for what the SDK would hide."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from callgate.sandbox.service import Sandbox


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    status: int
    raw: bytes
    body: Any
    """None where it is no JSON."""

    @property
    def code(self) -> str:
        """The refusal's code."""
        return str(self.body["detail"]["code"])


class Asker:
    """Asks a sandbox."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request; underscores in names of headers stand for hyphens."""
        named = {"X-API-Key": "any"} | {name.replace("_", "-"): value for name, value in headers.items()}
        named = {name: value for name, value in named.items() if value}
        async with self._session.request(method, self._url + path, json=body, headers=named) as response:
            raw = await response.read()
            try:
                decoded = await response.json()
            except (aiohttp.ContentTypeError, ValueError):
                decoded = None
            return Answer(response.status, raw, decoded)


@asynccontextmanager
async def asking(**options: Any) -> AsyncIterator[tuple[Asker, Sandbox]]:
    """A sandbox, and what asks it."""
    async with Sandbox(**options) as sandbox, aiohttp.ClientSession() as session:
        yield Asker(session, sandbox.url), sandbox
