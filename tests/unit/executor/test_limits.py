"""A tool that may run only so often at once: others wait, and no crash or lost lease takes a place for good."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.execution_bench import SETTINGS, Crash, ExecutionBench

from callgate.executor.limits import Limits
from callgate.failures import BadInput, TemporaryFailure
from callgate.log.port import LeaseLost
from callgate.tools.tool import Tool
from callgate.tools.toolbox import Toolbox

PAIR = Tool(name="pay", function=lambda: None, concurrency=2)


def test_places_are_taken_until_they_are_given_back() -> None:
    """With two places a third claim finds none, until one of the two has come back."""
    limits = Limits()
    assert [limits.take(PAIR, token, until=10.0, now=0.0) for token in ("a", "b", "c")] == [True, True, False]
    limits.started(PAIR, "a")
    limits.ended(PAIR, "a")
    assert limits.take(PAIR, "c", until=10.0, now=0.0)


def test_a_claim_that_never_started_gives_its_place_back() -> None:
    """After its start_by a claim is not started any more; one that runs keeps its place however long."""
    limits = Limits()
    limits.take(PAIR, "unused", until=5.0, now=0.0)
    limits.take(PAIR, "runs", until=5.0, now=0.0)
    limits.started(PAIR, "runs")
    assert not limits.take(PAIR, "next", until=9.0, now=5.0)
    assert limits.take(PAIR, "next", until=11.0, now=6.0)
    assert not limits.take(PAIR, "more", until=99.0, now=6.0)


def test_a_tool_without_a_limit_has_always_room() -> None:
    """No limit is no limit."""
    limits, tool = Limits(), Tool(name="read", function=lambda: None)
    assert all(limits.take(tool, str(number), until=1.0, now=0.0) for number in range(1000))


@pytest.mark.parametrize("concurrency", [0, -1, True, 1.5, "2"])
def test_a_limit_is_a_number_of_places(concurrency: Any) -> None:
    """What is no whole number from 1 is refused at registration, by name."""
    with pytest.raises(BadInput, match="concurrency"):
        Toolbox().register(Tool(name="pay", function=lambda: None, concurrency=concurrency))


def bench(release: asyncio.Event) -> ExecutionBench:
    """A bench with a tool that runs once at a time, until it is released."""

    async def wait() -> str:
        await release.wait()
        return "done"

    made = ExecutionBench()
    made.tool(concurrency=1, parallel=True, behave=wait)
    return made


async def test_the_second_waits_until_the_first_has_come_back() -> None:
    """While the one place is taken another call is not claimed; it is tried again, and runs then."""
    release = asyncio.Event()
    on = bench(release)
    first = asyncio.create_task(on.deliver(on.decided(on.proposed(0))))
    await asyncio.sleep(0.01)
    second = on.decided(on.proposed(1))
    with pytest.raises(TemporaryFailure, match="as often at once"):
        await on.deliver(second)
    assert sum(on.starts.values()) == 1
    release.set()
    await first
    await on.deliver(second)
    assert on.statuses() == ["executed", "executed"]


async def test_a_lease_that_is_lost_before_the_start_gives_the_place_back() -> None:
    """The claim was made and never used: after its start_by the place is free."""
    release = asyncio.Event()
    release.set()
    on = bench(release)
    on.held = False
    with pytest.raises(LeaseLost):
        await on.deliver(on.decided(on.proposed(0)))
    on.held = True
    with pytest.raises(TemporaryFailure):
        await on.deliver(on.decided(on.proposed(1)))
    await on.clock.advance(SETTINGS.start_seconds + 1)
    await on.deliver(on.decided(on.proposed(1)))
    assert on.statuses() == ["executed"]


async def test_a_claim_whose_commit_fails_gives_the_place_back() -> None:
    """What was never claimed on the log takes no place for good."""
    release = asyncio.Event()
    release.set()
    on = bench(release)

    def die(_: int) -> None:
        raise Crash

    on.before_stage = die
    with pytest.raises(Crash):
        await on.deliver(on.decided(on.proposed(0)))
    on.before_stage = lambda _: None
    await on.clock.advance(SETTINGS.start_seconds + 1)
    await on.deliver(on.decided(on.proposed(0)))
    assert on.statuses() == ["executed"]
