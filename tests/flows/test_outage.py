"""BIGHUB refuses, goes away and comes back while the gate runs: nothing runs unasked, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.support.whole import POLICY, Whole, whole

from callgate.events import topics
from callgate.events.actions import ActionDecided, Decision
from callgate.sandbox.faults import parse_faults
from callgate.sandbox.policy import parse_policy
from callgate.sandbox.service import Sandbox

UNAUTHORIZED = '[[fault]]\nroute = "POST /actions/evaluate"\nstatus = 401\n'


def again(url: str, state: Path | None = None) -> Sandbox:
    """A sound sandbox in the place of an earlier one."""
    return Sandbox("127.0.0.1", urlsplit(url).port or 0, policy=parse_policy(POLICY), state=state)


async def until(look: Callable[[], bool], seconds: float = 10.0) -> None:
    """Until something is so, which must happen."""
    async with asyncio.timeout(seconds):
        while not look():  # noqa: ASYNC110 - health tells nobody, it is asked
            await asyncio.sleep(0.02)


async def decisions(gate: Whole) -> list[Decision]:
    """Every decision on the log."""
    return [event.decision for event in await gate.events(topics.DECIDED) if isinstance(event, ActionDecided)]


@pytest.mark.timeout(60)
async def test_a_refused_key_holds_everything_until_it_is_mended(tmp_path: Path) -> None:
    """While BIGHUB refuses the key the evaluator is unready and says why, and nothing is decided, blocked or run.

    That it waited longer than an unreachable BIGHUB may keep it makes no outage of it. Mended, all is decided.
    """
    async with Sandbox(faults=parse_faults(UNAUTHORIZED)) as refusing:
        url = refusing.url
        async with whole(tmp_path / "log.db", url=url, evaluator_seconds=2.5) as gate:
            await until(lambda: gate.services.health().ready)
            keys = [await gate.submit(f"s{n}", ("act", {"n": n})) for n in range(3)]
            await until(lambda: not gate.services.health().ready)
            health = gate.services.health()
            assert health.live
            # Both who talk to BIGHUB use one key; nobody else is unready because of it.
            assert {reason.partition(":")[0] for reason in health.reasons} == {"evaluator", "reporter"}
            assert all("CALLGATE_BIGHUB_KEY" in reason for reason in health.reasons), health.reasons
            assert await gate.client.wait(keys[0], 3.0) is None
            assert await decisions(gate) == []
            assert gate.marks.effects == {}
            await refusing.__aexit__(None, None, None)
            # While the key is mended BIGHUB is away for a moment, in which each call is tried: that is no long outage.
            assert await gate.client.wait(keys[0], 0.8) is None
            async with again(url):
                assert [await gate.statuses(key) for key in keys] == [["executed"]] * 3
                assert gate.services.health().ready
                assert await gate.violations() == []


@pytest.mark.timeout(60)
async def test_what_waited_through_an_outage_is_decided_after_it(tmp_path: Path) -> None:
    """Calls that come while BIGHUB is away are put aside, and end as they would have once it is back."""
    state = tmp_path / "bighub.db"
    async with Sandbox(policy=parse_policy(POLICY), state=state) as first:
        url = first.url
        async with whole(tmp_path / "log.db", url=url) as gate:
            assert await gate.statuses(await gate.submit("before", ("act", {"n": 0}))) == ["executed"]
            await first.__aexit__(None, None, None)
            # The last two are of one session: what is put aside keeps its order.
            keys = [
                await gate.submit("s1", ("act", {"n": 1}), ("drop", {"n": 2})),
                await gate.submit("s2", ("pay", {"n": 3})),
                await gate.submit("s3", ("act", {"n": 4}), turn="1"),
                await gate.submit("s3", ("act", {"n": 5}), turn="2"),
            ]
            # Longer than it is retried in its lane: it has been put aside, more than once.
            assert await gate.client.wait(keys[0], 3.0) is None
            assert len(await decisions(gate)) == 1
            assert sum(gate.marks.effects.values()) == 1
            async with again(url, state):
                ends = [await gate.statuses(key) for key in keys]
                assert ends == [["executed", "blocked"], ["executed"], ["executed"], ["executed"]]
                assert sum(gate.marks.effects.values()) == 5
                assert await gate.violations() == []


@pytest.mark.timeout(60)
async def test_an_outage_that_lasts_too_long_blocks(tmp_path: Path) -> None:
    """A call that BIGHUB could not be asked about for `evaluator_seconds` is blocked by the outage, and never runs."""
    async with Sandbox() as gone:
        url = gone.url
    async with whole(tmp_path / "log.db", url=url, evaluator_seconds=1.5) as gate:
        key = await gate.submit("s", ("act", {"n": 1}))
        assert await gate.client.wait(key, 0.5) is None
        assert await decisions(gate) == []
        assert await gate.statuses(key) == ["blocked"]
        assert [(decision.verdict, decision.by) for decision in await decisions(gate)] == [("block", "outage")]
        assert gate.marks.effects == {}
        # The next one is asked about anew: that it was away before blocks nothing in advance.
        async with again(url):
            assert await gate.statuses(await gate.submit("s", ("act", {"n": 2}), turn="2")) == ["executed"]
            assert await gate.violations() == []
