"""What is planted on a log that real services have written is reported by the checker, and only that."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import msgspec
import orjson
import pytest
from tests.support.planted import on, plant
from tests.support.whole import whole

from callgate.cli.checker.facts import gather
from callgate.cli.checker.judge import Expected, judge
from callgate.cli.play.recorded import witness_file
from callgate.events.actions import ActionFinished
from callgate.events.codec import decode
from callgate.events.event import Event
from callgate.events.turns import TurnCompleted
from callgate.log.port import Log, Record
from callgate.worker import deadletters

OFFSET_BITS = 40
"""Of a record's row number in the embedded log's file; the rest is its topic and partition."""
Submitted = tuple[Path, Mapping[str, Expected]]


def gone_through(path: Path) -> Submitted:
    """A log on which a turn of two allowed calls and one blocked call has come to its end, services stopped."""

    async def run() -> dict[str, Expected]:
        async with whole(path) as gate:
            key = await gate.submit("s", ("act", {"n": 1}), ("drop", {"n": 2}), ("act", {"n": 3}))
            assert await gate.statuses(key) == ["executed", "blocked", "executed"]
            return gate.expected

    return path, asyncio.run(run())


@pytest.fixture
def finished(tmp_path: Path) -> Submitted:
    """See `gone_through`."""
    return gone_through(tmp_path / "log.db")


def found(submitted: Submitted) -> list[tuple[str, str, str]]:
    """What the checker says: promise, action and detail of each violation."""
    path, expected = submitted

    async def check(log: Log) -> list[tuple[str, str, str]]:
        violations = judge(await gather(log, witness_file(path)), expected)
        return [(each.promise, each.action_id, each.detail) for each in violations]

    return on(path, check)


def events(path: Path, topic: str) -> list[Event]:
    """Every event on a topic."""

    async def work(log: Log) -> list[Event]:
        return [
            decode(record.value, record.headers).event
            for number in range(log.partitions)
            async for record in log.scan(topic, number)
        ]

    return on(path, work)


def first(submitted: Submitted) -> str:
    """The turn's first action."""
    return next(iter(submitted[1]))


def ends(path: Path) -> dict[str, ActionFinished]:
    """The ends by action."""
    return {
        event.action.ref.id: event for event in events(path, "actions.finished") if isinstance(event, ActionFinished)
    }


def erase(path: Path, topic: str, action: str) -> None:
    """Take the records that name an action out of a topic, as nothing but a defect or an accident would."""
    with sqlite3.connect(path) as database:
        place = "SELECT id FROM places WHERE topic = ?"
        places = [number for (number,) in database.execute(place, (topic,))]
        rows = database.execute("SELECT id, value FROM records").fetchall()
        gone = [
            (number,)
            for number, value in rows
            if number >> OFFSET_BITS in places and value is not None and action.encode() in value
        ]
        assert gone, "there is nothing to erase"
        database.executemany("DELETE FROM records WHERE id = ?", gone)
    database.close()


def test_a_log_that_is_sound_is_found_so(finished: Submitted) -> None:
    """Where nothing is planted nothing is reported."""
    assert found(finished) == []


def test_what_was_given_up_is_known_by_its_place(finished: Submitted) -> None:
    """A dead letter tells the checker which record it stands for, and that one is not reported as lost."""
    path, _ = finished
    given_up = Record("turns", 1, 7, b"k", b"{", (), 0.0)

    async def bury(log: Log) -> dict[tuple[str, int, int], str]:
        letter = deadletters.letter(given_up, reason="no", attempts=1, service="proposer", subject="", died_at=0.0)
        await log.publish([letter])
        return (await gather(log, witness_file(path))).dead

    assert on(path, bury) == {("turns", 1, 7): "no"}


def test_a_completed_turn_without_an_end_is_a_loss(tmp_path: Path) -> None:
    """A turn that is said to be over while its call was only ever proposed has lost that call."""
    path = tmp_path / "log.db"

    async def propose() -> dict[str, Expected]:
        async with whole(path, services=("proposer",)) as gate:
            key = await gate.submit("s", ("act", {"n": 1}))
            async with asyncio.timeout(10):
                while not await gate.actions(key):  # noqa: ASYNC110 - the log is looked at
                    await asyncio.sleep(0.05)
            return gate.expected

    expected = asyncio.run(propose())
    assert found((path, expected)) == []
    ((action, call),) = expected.items()
    completed = TurnCompleted(
        turn_key=call.turn_key,
        tenant="acme",
        session="s",
        turn="1",
        agent="agent",
        status="completed",
        llm_response=msgspec.Raw(b"{}"),
        execution=msgspec.Raw(b'{"events":[],"last":null}'),
        items=msgspec.Raw(b"[]"),
        completed_at=2.0,
    )
    plant(path, completed)
    assert found((path, expected)) == [("P1", action, "its turn was completed, yet the action has no end")]


def test_a_second_end_is_reported(finished: Submitted) -> None:
    """An action that has ended twice is reported, the same way twice or in two ways."""
    path, _ = finished
    action = first(finished)
    end = ends(path)[action]
    plant(path, end)
    assert found(finished) == [("P2", action, "finished 2 times: executed, executed")]
    plant(path, msgspec.structs.replace(end, status="tool_error", output=None))
    assert [promise for promise, _, _ in found(finished)] == ["P2"]


def test_a_second_effect_is_reported(finished: Submitted) -> None:
    """A tool that must not start twice and has had its effect twice is reported, whatever the log says."""
    path, _ = finished
    action = first(finished)
    with witness_file(path).open("ab") as lines:
        lines.write(orjson.dumps({"action_id": action, "pid": 1}) + b"\n")
    assert found(finished) == [("P3", action, "the tool had its effect 2 times")]


def test_an_effect_of_a_blocked_call_is_reported(finished: Submitted) -> None:
    """A call that was blocked and has left its mark all the same is reported: ungated, and at odds with its end."""
    path, _ = finished
    (action,) = [action for action, end in ends(path).items() if end.status == "blocked"]
    with witness_file(path).open("ab") as lines:
        lines.write(orjson.dumps({"action_id": action, "pid": 1}) + b"\n")
    assert {(promise, about) for promise, about, _ in found(finished)} == {("P3", action), ("P5", action)}


def test_a_missing_effect_is_reported(finished: Submitted) -> None:
    """An action that ended executed without the witness having seen anything is reported."""
    path, _ = finished
    action = first(finished)
    kept = [line for line in witness_file(path).read_bytes().splitlines(keepends=True) if action.encode() not in line]
    witness_file(path).write_bytes(b"".join(kept))
    assert found(finished) == [("P3", action, "it ended executed, yet the witness saw no effect")]


def test_a_lost_decision_is_reported(finished: Submitted) -> None:
    """A proposal that the evaluator says it is done with, and of which no decision stands on the log, is lost."""
    path, _ = finished
    action = first(finished)
    erase(path, "actions.decided", action)
    assert ("P1", action) in {(promise, about) for promise, about, _ in found(finished)}


def test_a_lost_end_is_reported(finished: Submitted) -> None:
    """A decision that the executor says it is done with, and of which no end stands on the log, is lost."""
    path, _ = finished
    action = first(finished)
    erase(path, "actions.finished", action)
    details = [detail for promise, about, detail in found(finished) if (promise, about) == ("P1", action)]
    assert "its turn was completed, yet the action has no end" in details
    assert any("taken by the executor" in detail for detail in details)
