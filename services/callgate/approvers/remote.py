"""Keys at an address: kept for a while, asked for anew when they are old or lack one, and never in a flood."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

import structlog

from callgate.clock import Clock
from callgate.failures import BadInput, TemporaryFailure

FRESH_SECONDS = 60.0
"""After which the keys are asked for anew: so long a revocation at the address may take to count."""

STALE_SECONDS = 3600.0
"""How long keys are used while the address can't be reached. After it votes wait, as a key may have been revoked."""

AGAIN_SECONDS = 10.0
"""The least time between two questions, whoever votes with whatever key: junk must not hammer the address."""

Key = TypeVar("Key")

_logger = structlog.get_logger(__name__)


class RemoteKeys(Generic[Key]):
    """See `entrance.Keys`. One question is under way at a time; who finds it under way with a known key goes on."""

    def __init__(self, ask: Callable[[], Awaitable[Mapping[str, Key]]], clock: Clock) -> None:
        """Nothing is asked yet. `ask` raises TemporaryFailure, or BadInput for what it can't use."""
        self._ask = ask
        self._clock = clock
        self._keys: Mapping[str, Key] = {}
        self._got: float | None = None
        self._asked: float | None = None
        self._fault: str | None = None
        self._asking = asyncio.Lock()

    def known(self, kid: str) -> bool:
        """See `entrance.Keys.known`."""
        return kid in self._keys

    def unready(self) -> str | None:
        """See `entrance.Keys.unready`."""
        return self._fault if self._fault is not None and self._age() >= STALE_SECONDS else None

    async def find(self, kid: str) -> Key | None:
        """See `entrance.Keys.find`."""
        if kid in self._keys and (self._age() < FRESH_SECONDS or self._usable_meanwhile()):
            return self._keys[kid]
        if kid not in self._keys and self._age() < AGAIN_SECONDS:
            return None
        try:
            await self._refresh()
        except TemporaryFailure:
            if kid in self._keys and self._age() < STALE_SECONDS:
                return self._keys[kid]
            raise
        return self._keys.get(kid)

    def _usable_meanwhile(self) -> bool:
        return self._asking.locked() and self._age() < STALE_SECONDS

    async def _refresh(self) -> None:
        before = self._asked
        async with self._asking:
            waited = None if self._asked is None else self._clock.monotonic() - self._asked
            if self._asked != before or (waited is not None and waited < AGAIN_SECONDS):
                if self._fault is not None:
                    raise TemporaryFailure(self._fault, delay=max(0.0, AGAIN_SECONDS - (waited or 0.0)))
                return
            try:
                self._keys = await self._ask()
            except (TemporaryFailure, BadInput) as failure:
                # Not where it is cut off: nobody has answered then, and the next vote must not take that for an answer.
                self._asked = self._clock.monotonic()
                self._fault = failure.reason if isinstance(failure, TemporaryFailure) else str(failure)
                _logger.warning("keys can't be asked for", fault=self._fault)
                raise TemporaryFailure(self._fault, delay=AGAIN_SECONDS) from failure
            self._fault = None
            self._got = self._asked = self._clock.monotonic()

    def _age(self) -> float:
        return float("inf") if self._got is None else self._clock.monotonic() - self._got
