"""The whole way of an action, all services and the sandbox in one process, on the embedded log, kind and unkind."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from tests.support.whole import Whole, message, whole

from callgate.events import topics
from callgate.events.actions import ActionDecided, ActionFinished, ActionInDoubt
from callgate.events.codec import encode
from callgate.events.control import ControlChanged
from callgate.events.routing import address
from callgate.events.turns import ActionReply, TurnCompleted, TurnOrigin, TurnRecorded
from callgate.log.port import Outgoing

ENDS: list[tuple[str, list[tuple[str, Any]], list[str]]] = [
    ("allowed", [("act", {"n": 1})], ["executed"]),
    ("blocked", [("drop", {"n": 1})], ["blocked"]),
    ("approved", [("pay", {"n": 1})], ["executed"]),
    ("rejected", [("grant", {"n": 1})], ["rejected"]),
    ("expired", [("credit", {"n": 1})], ["expired"]),
    ("context", [("close", {"n": 1})], ["needs_context"]),
    ("constrained", [("restart", {"n": 1})], ["executed"]),
    ("malformed", [("act", '{"n": 1')], ["refused"]),
    ("misfit", [("act", {"n": "one"})], ["refused"]),
    ("unknown", [("rocket", {"n": 1})], ["refused"]),
    ("failing", [("fail", {"n": 1})], ["tool_error"]),
    (
        "mixed",
        [("act", {"n": 1}), ("drop", {"n": 2}), ("rocket", {}), ("act", {"n": 3})],
        ["executed", "blocked", "refused", "executed"],
    ),
    ("siblings", [("transfer", {"n": 900})] * 3, ["executed", "refused", "refused"]),
]
"""A name, the calls of a turn, and how each must end."""
RAN = {"executed", "tool_error"}


async def one_end_each(gate: Whole) -> Counter[str]:
    """Every proposed action has one end or is in doubt, and none of them started twice; the ends by status."""
    ends: dict[str, list[str]] = {}
    for event in await gate.events(topics.FINISHED):
        if isinstance(event, ActionFinished):
            ends.setdefault(event.action.ref.id, []).append(event.status)
        if isinstance(event, ActionInDoubt):
            ends.setdefault(event.action.ref.id, []).append("in_doubt")
    proposed = {event.ref.id for event in await gate.events(topics.PROPOSED)}  # type: ignore[attr-defined]
    assert set(ends) == proposed
    assert all(len(each) == 1 for each in ends.values()), ends
    assert all(count == 1 for count in gate.marks.effects.values())
    started = {identifier for identifier, (status,) in ends.items() if status in RAN}
    might = {identifier for identifier, (status,) in ends.items() if status == "in_doubt"}
    assert started <= set(gate.marks.effects) <= started | might
    assert await gate.violations() == []
    return Counter(status for (status,) in ends.values())


async def test_every_kind_of_call_ends_as_it_must(tmp_path: Path) -> None:
    """Each kind of call comes to its own end, once, is answered in the response's order, and runs at most once."""
    async with whole(tmp_path / "log.db") as gate:
        keys = [await gate.submit(name, *calls) for name, calls, _ in ENDS]
        for key, (name, calls, expected) in zip(keys, ENDS, strict=True):
            completed = await gate.completed(key)
            events = orjson.loads(bytes(completed.execution))["events"]
            assert [event["status"] for event in events] == expected, name
            assert len(orjson.loads(bytes(completed.items))) == len(calls), name
        counted = await one_end_each(gate)
        assert counted == Counter({"executed": 6, "blocked": 2, "refused": 6, "rejected": 1, "expired": 1,
                                   "needs_context": 1, "tool_error": 1})  # fmt: skip
        assert gate.marks.constraints == [{"max_percentage": 10}]


async def test_what_the_model_is_told_names_no_policy(tmp_path: Path) -> None:
    """A refusal reaches the model as a short reason; the policy's own words stay with the operators."""
    policy = '[[rule]]\naction = "drop"\ndecision = "block"\nreason = "rule 17: finance freeze"\n'
    async with whole(tmp_path / "log.db", policy=policy) as gate:
        completed = await gate.completed(await gate.submit("s", ("drop", {"n": 1})))
        assert b"freeze" not in bytes(completed.items)
        decided = [event for event in await gate.events(topics.DECIDED) if isinstance(event, ActionDecided)]
        assert "freeze" in decided[0].decision.reason


async def test_a_time_out_is_in_doubt_and_stays_so(tmp_path: Path) -> None:
    """A tool that does not answer in time is in doubt, is never started again, and its turn says so and stays open."""
    async with whole(tmp_path / "log.db") as gate:
        key = await gate.submit("s", ("hang", {"n": 1}), ("act", {"n": 2}))
        async with asyncio.timeout(20):
            told: dict[int, str] = {}
            async for reply in gate.client.replies(key):
                assert isinstance(reply, ActionReply)
                told[reply.position] = reply.status
                if len(told) == 2:
                    break
        assert told == {0: "in_doubt", 1: "executed"}
        assert await gate.client.wait(key, 0.2) is None
        assert await one_end_each(gate) == Counter({"in_doubt": 1, "executed": 1})


async def test_parallel_calls_run_side_by_side(tmp_path: Path) -> None:
    """Calls of a tool that is declared parallel run at the same time, and are answered in the response's order."""
    async with whole(tmp_path / "log.db") as gate:
        key = await gate.submit("s", *[("together", {"n": n}) for n in range(4)])
        items = orjson.loads(bytes((await gate.completed(key)).items))
        assert [item["content"] for item in items] == ["0", "1", "2", "3"]
        assert gate.marks.most_running > 1


async def test_a_turn_submitted_twice_counts_once(tmp_path: Path) -> None:
    """The same turn twice, at once or later, is the same actions: one effect and one completion."""
    async with whole(tmp_path / "log.db") as gate:
        keys = [await gate.submit("s", ("act", {"n": 1})), await gate.submit("s", ("act", {"n": 1}))]
        assert keys[0] == keys[1]
        assert await gate.statuses(keys[0]) == ["executed"]
        await gate.submit("s", ("act", {"n": 1}))
        assert await gate.statuses(await gate.submit("s", ("act", {"n": 2}), turn="2")) == ["executed"]
        assert await one_end_each(gate) == Counter({"executed": 2})
        completed = [event for event in await gate.events(topics.REPLIES) if isinstance(event, TurnCompleted)]
        assert {event.turn_key for event in completed} == {keys[0], completed[-1].turn_key}


async def test_a_turn_on_a_wrong_partition_is_still_that_turn(tmp_path: Path) -> None:
    """A producer with another partitioner puts a turn elsewhere: alone it is done, and beside the right one it is one.

    The key of the turn, and so of its actions, comes from its home and not from where it arrived.
    """
    async with whole(tmp_path / "log.db") as gate:
        for session, right_first in (("s1", False), ("s2", True)):
            origin = TurnOrigin(tenant="acme", session=session, turn="1", agent="agent")
            key = await gate.submit(session, ("act", {"n": 1})) if right_first else gate.client.turn_key(origin)
            await _misplace(gate, origin)
            assert await gate.statuses(key) == ["executed"]
            assert await gate.submit(session, ("act", {"n": 1})) == key
            assert await gate.statuses(await gate.submit(session, ("act", {"n": 2}), turn="2")) == ["executed"]
            assert len(await gate.actions(key)) == 1
        assert await one_end_each(gate) == Counter({"executed": 4})


async def _misplace(gate: Whole, origin: TurnOrigin) -> None:
    response = msgspec.Raw(orjson.dumps(message(("act", {"n": 1}))))
    turn = TurnRecorded(origin=origin, format="chat_completions", response=response, submitted_at=time.time())
    value, headers = encode(turn, source="elsewhere", time=1.0)
    at = address(turn, gate.log.partitions)
    for step in range(1, gate.log.partitions):
        wrong = (at.partition + step) % gate.log.partitions
        await gate.log.publish([Outgoing(at.topic, wrong, None, value, headers)])


async def test_two_sessions_that_mean_one_effect_have_one(tmp_path: Path) -> None:
    """Calls of two sessions that name the same effect share one claim: the tool runs for one of them only."""
    async with whole(tmp_path / "log.db") as gate:
        keys = [await gate.submit(f"s{n}", ("refund", {"n": 7})) for n in range(3)]
        ends = sorted([(await gate.statuses(key))[0] for key in keys])
        assert ends == ["executed", "not_executed", "not_executed"]
        assert sum(gate.marks.effects.values()) == 1
        assert await gate.violations() == []


async def test_what_is_stopped_is_killed_and_what_is_held_waits(tmp_path: Path) -> None:
    """A stop ends calls in its scope unrun and touches no others; a hold keeps them until it is lifted."""
    async with whole(tmp_path / "log.db") as gate:
        await _switch(gate, ControlChanged(kind="stop", tool="act", changed_by="mia", changed_at=1.0))
        await _switch(gate, ControlChanged(kind="hold", tool="refund", changed_by="mia", changed_at=1.0))
        await asyncio.sleep(0.3)
        stopped, other = await gate.submit("s1", ("act", {"n": 1})), await gate.submit("s2", ("restart", {"n": 1}))
        held = await gate.submit("s3", ("refund", {"n": 1}))
        assert await gate.statuses(stopped) == ["killed"]
        assert await gate.statuses(other) == ["executed"]
        assert await gate.client.wait(held, 1.0) is None
        await _switch(gate, ControlChanged(kind="hold", tool="refund", active=False, changed_by="mia", changed_at=2.0))
        assert await gate.statuses(held) == ["executed"]


async def _switch(gate: Whole, change: ControlChanged) -> None:
    value, headers = encode(change, source="test", time=1.0)
    await gate.log.publish([Outgoing(topics.CONTROL.name, 0, change.scope().encode(), value, headers)])


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", range(3))
async def test_an_unkind_log_changes_no_promise(seed: int, tmp_path: Path) -> None:
    """Lost leases, commits of unknown end and double deliveries lose no call, end none twice and start none twice."""
    async with whole(tmp_path / "log.db", seed=seed) as gate:
        # A process that loses its lease between claim and start can't tell: such a call is in doubt, and its turn open.
        keys = {await gate.submit(f"{name}{n}", *calls): ends for n in range(3) for name, calls, ends in ENDS}
        for key, expected in keys.items():
            async with asyncio.timeout(60):
                while len(ends := await gate.ends(key)) < len(expected):  # noqa: ASYNC110 - the log is looked at
                    await asyncio.sleep(0.1)
            for (_, status), wanted in zip(ends, expected, strict=True):
                assert status == wanted or (status == "in_doubt" and wanted in RAN), (key, ends)
        counted = await one_end_each(gate)
        assert sum(counted.values()) == sum(len(expected) for expected in keys.values())
        assert counted["in_doubt"] <= 6
