"""A process that stood still while others took over, and goes on: it tries what it was about to do, and can't."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from tests.chaos.child import traps_file
from tests.chaos.driver import fleet_of
from tests.chaos.engines import Engine, engine, laid_out
from tests.chaos.fleet import Fleet
from tests.chaos.people import Outside
from tests.chaos.plan import Plan, of_one_tool
from tests.chaos.tools import effects_file, starts_file
from tests.chaos.verdict import Verdict, verdict

from callgate.clock import SystemClock
from callgate.log.port import Log

TURNS = 8
CLOCK = SystemClock()


@pytest.fixture
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    """The engine that a test is run on."""
    if request.param == "kafka":
        yield await laid_out(request.getfixturevalue("kafka"), f"zombie-{secrets.token_hex(4)}-")
    else:
        async with engine("sqlite", tmp_path) as found:
            yield found


on_both = pytest.mark.parametrize("log", ["sqlite", "kafka"], indirect=True)


class Stage:
    """A whole gate of processes, in which one executor is to stop at an exact point."""

    def __init__(self, fleet: Fleet, log: Log) -> None:
        self.fleet = fleet
        self._log = log
        self._plans: list[Plan] = []

    async def submitted(self, name: str) -> Outside:
        """Turns of one unsafe call each, submitted; what their agents hear is noted."""
        plan = of_one_tool("book", name, TURNS, self._log.partitions)
        self._plans.append(plan)
        outside = Outside(self._log, CLOCK, plan, 1, effects_file(self.fleet.home))
        self._hearing = asyncio.create_task(outside.hear())
        await outside.submit(0.1, TURNS)
        return outside

    async def trapped(self) -> None:
        """Wait until the executor has stopped itself."""
        await eventually(traps_file(self.fleet.home).exists, 60)
        (line,) = traps_file(self.fleet.home).read_bytes().splitlines()
        member = self.fleet.trapped(orjson.loads(line)["pid"])
        assert member is self.fleet.members["executor-1"]

    async def judged(self, doubts_most: int) -> Verdict:
        """The checker's word on everything that was submitted."""
        everything = Plan(tuple(turn for plan in self._plans for turn in plan.turns))
        return await verdict(self._log, self.fleet.home, everything, doubts_most=doubts_most)

    def starts(self) -> Counter[str]:
        """How often each action's tool was started."""
        path = starts_file(self.fleet.home)
        return (
            Counter(orjson.loads(line)["action_id"] for line in path.read_bytes().splitlines())
            if path.exists()
            else Counter()
        )


async def eventually(look: Callable[[], bool], seconds: float) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not look():  # noqa: ASYNC110 - other processes are watched
            await asyncio.sleep(0.05)


@asynccontextmanager
async def staged(home: Path, found: Engine, trap: str) -> AsyncIterator[Stage]:
    """A gate whose first executor has this trap set; its second is not started yet."""
    places = ("executor-1", "executor-2", "proposer", "evaluator")
    fleet = fleet_of(home, found, places)
    log = await found.open(CLOCK)
    try:
        for name in ("sandbox", "proposer", "evaluator"):
            fleet.start(fleet.members[name])
        fleet.start(fleet.members["executor-1"], trap)
        yield Stage(fleet, log)
    finally:
        fleet.end()
        await log.close()
        shutil.rmtree(home / "target", ignore_errors=True)


async def outlived(stage: Stage, first: Outside) -> None:
    """The zombie's place is taken and all is done; then it goes on, is left alone, and must do what comes next."""
    zombie, heir = stage.fleet.members["executor-1"], stage.fleet.members["executor-2"]
    stage.fleet.start(heir)
    await eventually(lambda: first.told, 60)
    before = stage.starts()
    stage.fleet.go_on(zombie)
    await eventually(lambda: "a lease has ended" in zombie.output.read_text(), 30)
    assert stage.starts() == before
    stage.fleet.kill(heir)
    second = await stage.submitted("second")
    await eventually(lambda: second.told, 60)
    assert second.ended == second.settled
    assert zombie.alive


@on_both
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_zombie_starts_no_tool(log: Engine, tmp_path: Path) -> None:
    """What stood still between the claim's commit and the start does not start the tool: the action stays in doubt."""
    async with staged(tmp_path, log, "claimed:1") as stage:
        first = await stage.submitted("first")
        await stage.trapped()
        await outlived(stage, first)
        doubted = first.settled - first.ended
        assert len(doubted) >= 1
        assert all(stage.starts()[action] == 0 for action in doubted)
        found = await stage.judged(len(doubted))
        assert (found.violations, found.by_status) == (
            [],
            {"executed": 2 * TURNS - len(doubted), "in_doubt": len(doubted)},
        )


@on_both
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_zombie_commits_nothing(log: Engine, tmp_path: Path) -> None:
    """What stood still before its commit can't commit: the others have done it all, each action once."""
    async with staged(tmp_path, log, "committing:1") as stage:
        first = await stage.submitted("first")
        await stage.trapped()
        await outlived(stage, first)
        found = await stage.judged(0)
        assert (found.violations, found.by_status) == ([], {"executed": 2 * TURNS})
        assert set(stage.starts().values()) == {1}


@on_both
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_zombie_claims_nothing_from_its_holder(log: Engine, tmp_path: Path) -> None:
    """What stood still inside a claim, before anybody was fenced, works nothing with what it then holds of it."""
    async with staged(tmp_path, log, "claiming:1") as stage:
        first = await stage.submitted("first")
        await stage.trapped()
        zombie, heir = stage.fleet.members["executor-1"], stage.fleet.members["executor-2"]
        stage.fleet.start(heir)
        await eventually(lambda: first.told, 60)
        stage.fleet.go_on(zombie)
        second = await stage.submitted("second")
        await eventually(lambda: second.told, 90)
        stage.fleet.kill(heir)
        third = await stage.submitted("third")
        await eventually(lambda: third.told, 60)
        assert zombie.alive
        found = await stage.judged(TURNS)
        assert found.violations == []
        assert found.by_status["executed"] + found.by_status.get("in_doubt", 0) == 3 * TURNS
        assert set(stage.starts().values()) == {1}
