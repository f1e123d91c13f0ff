"""Getting rid of the brokers' clients, also where their own way of stopping waits for somebody who is gone."""

from __future__ import annotations

import asyncio

import pytest

from callgate.log.kafka import clients


class Connections:
    """What a client holds open."""

    closed = False

    async def close(self) -> None:
        self.closed = True


class Hanging:
    """A consumer whose good-bye is never answered."""

    def __init__(self) -> None:
        self._client = Connections()

    async def stop(self) -> None:
        await asyncio.Event().wait()


async def test_a_consumer_that_cannot_say_good_bye_still_gives_its_connections_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The library closes its connections after everything else, so giving up on it must close them by itself."""
    monkeypatch.setattr(clients, "_STOP_SECONDS", 0.05)
    hanging = Hanging()
    async with asyncio.timeout(5):
        await clients.stop(hanging)
    assert hanging._client.closed
