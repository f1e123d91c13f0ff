"""Keys at an address: believed while they are fresh, asked for seldom, and votes wait where they can't be had."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from callgate.approvers.remote import AGAIN_SECONDS, FRESH_SECONDS, STALE_SECONDS, RemoteKeys
from callgate.clock import ManualClock
from callgate.failures import BadInput, TemporaryFailure


class Address:
    """What is asked, with a count of how often."""

    def __init__(self, **keys: int) -> None:
        self.keys: Mapping[str, int] = keys
        self.asked = 0
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self) -> Mapping[str, int]:
        """See `RemoteKeys`."""
        self.asked += 1
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return dict(self.keys)


async def test_keys_are_kept_while_fresh() -> None:
    """A thousand votes with known keys ask once; after a minute they are asked for anew, and a lost key is gone."""
    clock, address = ManualClock(), Address(a=1)
    keys = RemoteKeys(address.ask, clock)
    assert [await keys.find("a") for _ in range(1000)] == [1] * 1000
    assert address.asked == 1
    address.keys = {"b": 2}
    await clock.advance(FRESH_SECONDS + 1)
    assert await keys.find("a") is None
    assert (await keys.find("b"), address.asked) == (2, 2)


async def test_an_unknown_key_is_looked_for() -> None:
    """A key that was published since is found at once, if nobody has asked just now."""
    clock, address = ManualClock(), Address(a=1)
    keys = RemoteKeys(address.ask, clock)
    await keys.find("a")
    address.keys = {"a": 1, "b": 2}
    assert await keys.find("b") is None
    await clock.advance(AGAIN_SECONDS)
    assert await keys.find("b") == 2


async def test_unknown_keys_do_not_hammer_the_address() -> None:
    """Ten thousand made-up keys ask once, and once again only after a while."""
    clock, address = ManualClock(), Address(a=1)
    keys = RemoteKeys(address.ask, clock)
    for number in range(10_000):
        assert await keys.find(f"junk{number}") is None
    assert address.asked == 1
    await clock.advance(AGAIN_SECONDS)
    await asyncio.gather(*(keys.find(f"more{number}") for number in range(100)))
    assert address.asked == 2


@pytest.mark.parametrize("failure", [TemporaryFailure("away"), BadInput("keys", "are junk", "Mend them")])
async def test_what_cannot_be_asked_is_not_believed(failure: Exception) -> None:
    """Without keys every vote waits, and the address is left alone meanwhile."""
    clock, address = ManualClock(), Address(a=1)
    address.failure = failure
    keys = RemoteKeys(address.ask, clock)
    for _ in range(100):
        with pytest.raises(TemporaryFailure) as raised:
            await keys.find("a")
        assert raised.value.delay is not None
        assert raised.value.delay <= AGAIN_SECONDS
    assert address.asked == 1
    assert keys.unready() is not None
    address.failure = None
    await clock.advance(AGAIN_SECONDS)
    assert await keys.find("a") == 1
    assert keys.unready() is None


async def test_known_keys_outlive_an_outage_for_a_while() -> None:
    """While the address is away what is known counts, what is not waits; after an hour nothing counts any more."""
    clock, address = ManualClock(), Address(a=1)
    keys = RemoteKeys(address.ask, clock)
    await keys.find("a")
    address.failure = TemporaryFailure("away")
    await clock.advance(FRESH_SECONDS + 1)
    assert await keys.find("a") == 1
    with pytest.raises(TemporaryFailure):
        await keys.find("b")
    assert keys.unready() is None
    await clock.advance(STALE_SECONDS)
    with pytest.raises(TemporaryFailure):
        await keys.find("a")
    assert keys.unready() == "away"


async def test_a_slow_address_holds_up_only_what_it_must() -> None:
    """While the keys are being asked for anew, votes with known keys go on; whoever asks shares one question."""
    clock, address = ManualClock(), Address(a=1)
    keys = RemoteKeys(address.ask, clock)
    await keys.find("a")
    await clock.advance(FRESH_SECONDS + 1)
    address.gate.clear()
    waiting = [asyncio.create_task(keys.find(f"junk{number}")) for number in range(10)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(keys.find("a"), 1) == 1
    address.gate.set()
    assert await asyncio.gather(*waiting) == [None] * 10
    assert address.asked == 2


async def test_a_question_that_is_cut_off_is_no_answer() -> None:
    """Where a lease ends while its vote asks for the keys, the next vote asks again, and is not refused."""
    clock, address = ManualClock(), Address(a=1)
    keys = RemoteKeys(address.ask, clock)
    address.gate.clear()
    cut = asyncio.create_task(keys.find("a"))
    await asyncio.sleep(0)
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut
    address.gate.set()
    assert await keys.find("a") == 1
