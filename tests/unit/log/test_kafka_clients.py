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


class Confused(Hanging):
    """A consumer that takes the end of a task of its own, which it has cancelled, for its own end."""

    async def stop(self) -> None:
        raise asyncio.CancelledError


async def test_a_consumer_whose_stop_cancels_itself_still_gives_its_connections_back() -> None:
    """The library does that under load, in the middle of its own clean-up; whoever stops it is not cancelled."""
    confused = Confused()
    await clients.stop(confused)
    assert confused._client.closed


class Slow(Hanging):
    """A consumer whose good-bye takes its time."""

    async def stop(self) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await self._client.close()


async def test_whoever_stops_waiting_for_a_stop_leaves_it_to_come_to_its_end() -> None:
    """A claim that is cancelled twice must not leave connections open."""
    slow = Slow()
    waiting = asyncio.ensure_future(clients.stop(slow))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert not slow._client.closed
    await clients.settled()
    assert slow._client.closed
