"""The port to a model: what the proposer needs of one, and how it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from callgate.failures import TemporaryFailure

Told = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Hears each event of a streamed answer, as it comes."""


class KeyRefused(TemporaryFailure):
    """The model refuses our credentials: turns wait, and the service is unready until somebody mends the key."""


class Model(Protocol):
    """Something that answers requests in the shape of the Responses API."""

    @property
    def refused(self) -> str | None:
        """Why nothing can be asked until somebody mends it, or None."""
        ...

    async def look(self, response_id: str) -> bytes:
        """How an answer in the background stands, as JSON. Fails as `ask` does."""
        ...

    async def cancel(self, response_id: str) -> None:
        """Give up an answer in the background. One that has ended stays as it is. Fails as `ask` does."""
        ...

    async def ask(self, body: Mapping[str, Any], told: Told | None = None, *, once: str | None = None) -> bytes:
        """The answer to one request, as JSON. Raises `TemporaryFailure` or `PermanentFailure`.

        `once` names the request, for providers that then answer a repeat as they did the first. `body` may hold
        `orjson.Fragment`. With `stream` in it the events of the answer go to `told`.
        """
        ...
