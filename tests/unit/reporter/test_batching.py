"""Micro-batches: fewer requests, and each lane learns of its own entries only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from callgate.clock import ManualClock
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.reporter.batching import Batcher, Entry


class _Server:
    """Takes batches, and refuses those with an entry that it does not like."""

    def __init__(self) -> None:
        self.batches: list[list[Entry]] = []
        self.failure: Exception | None = None

    async def send(self, entries: Sequence[Entry]) -> None:
        self.batches.append(list(entries))
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        if any(entry.get("bad") for entry in entries):
            raise PermanentFailure("422")


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_comes_together_goes_together() -> None:
    """Entries of many lanes within the linger are one request, in their order."""
    server, clock = _Server(), ManualClock()
    batcher = Batcher(server.send, clock, linger=0.02)
    lanes = [asyncio.create_task(batcher.add([{"n": n}, {"n": n + 100}])) for n in range(3)]
    await _settle()
    assert server.batches == []
    await clock.advance(0.02)
    await asyncio.gather(*lanes)
    assert server.batches == [[{"n": 0}, {"n": 100}, {"n": 1}, {"n": 101}, {"n": 2}, {"n": 102}]]


@pytest.mark.parametrize(("most", "most_bytes"), [(4, 9999), (500, 20)])
async def test_a_full_batch_waits_for_nobody(most: int, most_bytes: int) -> None:
    """A batch that is full by count or by size is sent at once."""
    server = _Server()
    batcher = Batcher(server.send, ManualClock(), most=most, most_bytes=most_bytes)
    await asyncio.gather(batcher.add([{"n": 1}, {"n": 2}]), batcher.add([{"n": 3}, {"n": 4}]))
    assert len(server.batches) == 1


async def test_a_lone_entry_is_sent_after_the_linger() -> None:
    """Nothing waits for company that does not come, and the next batch has a linger of its own."""
    server, clock = _Server(), ManualClock()
    batcher = Batcher(server.send, clock, linger=0.02)
    for n in range(2):
        lane = asyncio.create_task(batcher.add([{"n": n}]))
        await _settle()
        await clock.advance(0.02)
        await lane
    assert server.batches == [[{"n": 0}], [{"n": 1}]]


async def test_a_failure_for_now_is_everybodys() -> None:
    """Each lane gets the failure, so that each is retried."""
    server = _Server()
    server.failure = TemporaryFailure("503", delay=3.0)
    batcher = Batcher(server.send, ManualClock(), most=2)
    results = await asyncio.gather(*(batcher.add([{"n": n}]) for n in range(2)), return_exceptions=True)
    assert [type(result) for result in results] == [TemporaryFailure, TemporaryFailure]


async def test_a_bad_entry_harms_its_own_lane_only() -> None:
    """A batch that will never be taken is taken apart; the others' entries are accepted."""
    server = _Server()
    batcher = Batcher(server.send, ManualClock(), most=3)
    results = await asyncio.gather(
        batcher.add([{"n": 1}]), batcher.add([{"bad": True}]), batcher.add([{"n": 3}]), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), PermanentFailure, type(None)]


async def test_a_lane_that_was_cancelled_reports_nothing_more() -> None:
    """When a lease is lost its lanes are cancelled; the others in the batch are served."""
    server, clock = _Server(), ManualClock()
    batcher = Batcher(server.send, clock, linger=0.02)
    lost = asyncio.create_task(batcher.add([{"n": 1}]))
    kept = asyncio.create_task(batcher.add([{"n": 2}]))
    await _settle()
    lost.cancel()
    await _settle()
    await clock.advance(0.02)
    await kept
    assert server.batches == [[{"n": 2}]]
