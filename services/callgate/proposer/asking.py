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

    async def ask(self, body: Mapping[str, Any], told: Told | None = None) -> bytes:
        """The answer to one request, as JSON. Raises `TemporaryFailure` or `PermanentFailure`.

        `body` may hold `orjson.Fragment`. With `stream` in it the events of the answer go to `told`.
        """
        ...
