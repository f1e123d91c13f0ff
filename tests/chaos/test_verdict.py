"""What chaos looks for it would find: each fault is planted by itself, and every trap has its place."""

from __future__ import annotations

import importlib
from pathlib import Path

import orjson
import pytest
from tests.chaos.child import POINTS
from tests.chaos.plan import Plan, PlannedCall, PlannedTurn, plan
from tests.chaos.tools import append, starts_file, toolbox
from tests.chaos.verdict import NEVER_STARTED, ONE_START, unread, verdict

from callgate.clock import ManualClock
from callgate.events.ids import action_id, turn_key
from callgate.log.address import open_log
from callgate.log.port import Log, Outgoing

KEY = turn_key(0, "north", "s", "t")


def planned(*calls: tuple[str, str, dict[str, int]]) -> Plan:
    """One turn of these calls: tool, what people answer, and arguments."""
    made = tuple(
        PlannedCall(action_id(KEY, 0, position, f"c{position}"), f"c{position}", tool, arguments, answer)  # type: ignore[arg-type] # a plan's words
        for position, (tool, answer, arguments) in enumerate(calls)
    )
    return Plan((PlannedTurn(KEY, "north", "s", "t", made, "no"),))


async def embedded(home: Path) -> Log:
    """A new log."""
    return await open_log(f"sqlite:///{home / 'log.db'}", clock=ManualClock())


async def found(home: Path, of: Plan, *, started: tuple[int, ...], doubts_most: int = 0) -> list[str]:
    """What the verdict says when the tools of these calls, by position, were started."""
    for position in started:
        append(starts_file(home), {"action_id": of.turns[0].calls[position].action_id, "pid": 1})
    log = await embedded(home)
    try:
        return [each.detail for each in (await verdict(log, home, of, doubts_most=doubts_most)).violations]
    finally:
        await log.close()


async def test_a_second_start_is_found(tmp_path: Path) -> None:
    """An unsafe tool that was started twice is reported, and one that may be started again is not."""
    details = await found(
        tmp_path, planned(("book", "never", {"n": 1}), ("charge", "never", {"n": 2})), started=(0, 0, 1, 1)
    )
    assert [each for each in details if "times" in each] == ["book was started 2 times"]


async def test_a_start_against_peoples_will_is_found(tmp_path: Path) -> None:
    """A call that was rejected, or approved too late, and was started all the same is reported."""
    of = planned(("pay_out", "reject", {"n": 1}), ("pay_out", "late", {"n": 2}), ("pay_out", "approve", {"n": 3}))
    details = await found(tmp_path, of, started=(0, 1, 2))
    assert [each for each in details if "people" in each] == [
        "it was started, and people have said: reject",
        "it was started, and people have said: late",
    ]


async def test_an_effect_that_was_started_for_two_calls_is_found(tmp_path: Path) -> None:
    """Two calls that mean the same effect and were both started are reported."""
    of = planned(("refund", "never", {"n": 1, "payment": 7}), ("refund", "never", {"n": 2, "payment": 7}))
    details = await found(tmp_path, of, started=(0, 1))
    assert any("was refunded for 2 actions" in each for each in details)


async def test_a_forbidden_start_is_found(tmp_path: Path) -> None:
    """A start of what the policy blocks is reported."""
    details = await found(tmp_path, planned(("forbid", "never", {"n": 1})), started=(0,))
    assert "forbid was started, and was never allowed" in details


async def test_junk_without_a_dead_letter_is_found(tmp_path: Path) -> None:
    """A record at the entrance that is no turn, and of which no dead letter tells, is reported."""
    log = await embedded(tmp_path)
    await log.publish([Outgoing("turns", 0, b"x", b"{", ())])
    await log.close()
    details = await found(tmp_path, planned(), started=())
    assert details == ["what is no turn has no dead letter: ('turns', 0, 0)"]


async def test_what_nobody_has_read_is_found(tmp_path: Path) -> None:
    """A record that its group has not dealt with keeps a run from being settled."""
    log = await embedded(tmp_path)
    assert await unread(log) == []
    await log.publish([Outgoing("actions.finished", 2, b"x", b"{", ())])
    left = await unread(log)
    await log.close()
    assert left == [f"{group} has 1 records of actions.finished[2] left, from 0" for group in ("proposer", "reporter")]


def test_every_tool_has_its_rule() -> None:
    """Every tool of a run either may be started again by its own declaration, or is held to one start."""
    assert {tool.name for tool in toolbox} | NEVER_STARTED >= ONE_START
    for tool in toolbox:
        assert (tool.effect in {"read", "idempotent"}) != (tool.name in ONE_START)


def test_a_seed_makes_one_plan() -> None:
    """The same seed plans the same calls, and another seed plans others."""
    assert plan(1, 200, 4) == plan(1, 200, 4)
    assert plan(1, 200, 4) != plan(2, 200, 4)
    used = {call.tool for call in plan(1, 2000, 4).calls().values()}
    assert used == {tool.name for tool in toolbox} | NEVER_STARTED
    assert all(orjson.loads(turn.message())["tool_calls"] for turn in plan(1, 50, 4).turns)


@pytest.mark.parametrize("point", sorted(POINTS))
def test_the_points_at_which_processes_stop_are_there(point: str) -> None:
    """Every trap is set on a method that the code still has: else it would never spring, and nobody would notice."""
    for module, owner, name in POINTS[point]:
        assert callable(getattr(getattr(importlib.import_module(module), owner), name))
