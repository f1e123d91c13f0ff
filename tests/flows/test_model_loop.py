"""The model loop with every service and the sandbox's model, on the embedded log, kind and unkind."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.support.whole import Whole, whole

from callgate.cli.hosting import SERVICES
from callgate.events.turns import TurnCompleted

TWO_ROUNDS = 'call act {"n": 1}\ncall drop {"n": 2}\nthen\ncall together {"n": 3}'
SCRIPT = """
[[scenario]]
text = "refuse*"
[[scenario.round]]
refusal = "I can't help with that."

[[scenario]]
text = "long*"
[[scenario.round]]
calls = [{ name = "act", arguments = '{"n": ' }]
status = "incomplete"

[[scenario]]
text = "bad policy*"
[[scenario.round]]
error = { code = "invalid_prompt", message = "no" }

[[scenario]]
text = "queued*"
[[scenario.round]]
status = "queued"

[[scenario]]
text = "think*"
[[scenario.round]]
reasoning = "Act first."
calls = [{ name = "act", arguments = { n = 5 } }]
[[scenario.round]]
text = "I thought, and acted."
"""


def statuses(done: TurnCompleted) -> list[str]:
    """How the calls of all rounds ended."""
    return [event["status"] for event in orjson.loads(bytes(done.execution))["events"]]


def items(done: TurnCompleted) -> list[dict[str, Any]]:
    """What a next request would have to add."""
    found: list[dict[str, Any]] = orjson.loads(bytes(done.items))
    return found


@pytest.mark.parametrize("seed", [None, 1, 2])
async def test_rounds_go_on_until_the_last_word(tmp_path: Path, seed: int | None) -> None:
    """Every round's calls are gated and answered, the model hears of each, and one completed turn tells it all."""
    async with whole(tmp_path / "log.db", seed=seed) as gate:
        keys = [await gate.ask(f"s{number}", TWO_ROUNDS) for number in range(4)]
        for key in keys:
            done = await gate.completed(key, 60)
            assert (done.status, done.reason, done.rounds) == ("completed", None, 3)
            assert statuses(done) == ["executed", "blocked", "executed"]
            kinds = [item["type"] for item in items(done)]
            call, answer = "function_call", "function_call_output"
            assert kinds == [call, call, answer, answer, call, answer, "message"]
            assert done.usage is not None
            assert len(await gate.actions(key)) == 3
        assert all(count == 1 for count in gate.marks.effects.values())
        assert await gate.violations() == []


async def test_a_next_turn_goes_on_from_the_items(tmp_path: Path) -> None:
    """What a turn gives back, appended to its input, is a history that the model takes."""
    async with whole(tmp_path / "log.db", script=SCRIPT) as gate:
        first = await gate.completed(await gate.ask("s", "think about it"))
        history = [{"role": "user", "content": "think about it"}, *items(first), {"role": "user", "content": "And?"}]
        second = await gate.completed(await gate.ask("s", history, turn="2"))
    assert [item["type"] for item in items(first)] == ["reasoning", "function_call", "function_call_output", "message"]
    assert items(second)[0]["content"][0]["text"] == "You said: And?"


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        ("refuse it", "completed", "the model refused: I can't help with that."),
        ("long story", "incomplete", "cut off (max_output_tokens)"),
        ("bad policy", "failed", "invalid_prompt: no"),
        ("queued up", "failed", "its status is 'queued'"),
    ],
)
async def test_what_is_no_answer_ends_as_what_it_is(tmp_path: Path, said: str, status: str, reason: str) -> None:
    """A refusal, a cut-off, a failure and an unfinished answer run nothing, and are told apart."""
    async with whole(tmp_path / "log.db", script=SCRIPT) as gate:
        done = await gate.completed(await gate.ask("s", said))
        assert (done.status, reason in (done.reason or "")) == (status, True), done.reason
        assert gate.marks.effects.total() == 0


async def test_too_many_rounds_are_stopped(tmp_path: Path) -> None:
    """A model that calls once more than it may is not followed, and its unanswered calls are not in the items."""
    async with whole(tmp_path / "log.db") as gate:
        done = await gate.completed(await gate.ask("s", TWO_ROUNDS, rounds=1))
        assert (done.status, statuses(done)) == ("failed", ["executed", "blocked"])
        assert "after 1 rounds" in (done.reason or "")
        assert [item["type"] for item in items(done)][-1] == "function_call_output"


async def test_a_turn_that_waits_for_a_person_goes_on_elsewhere(tmp_path: Path) -> None:
    """Services that stop while a person is asked leave nothing behind that others can't go on from."""
    without = [service for service in SERVICES if service != "approvals"]
    async with whole(tmp_path / "log.db", services=without) as gate:
        key = await gate.ask("s", 'call pay {"n": 1}\nthen\ncall act {"n": 2}')
        assert await gate.client.wait(key, 1.5) is None
        assert len(await gate.actions(key)) == 1
    async with whole(tmp_path / "log.db") as gate:
        done = await gate.completed(key)
        assert (done.status, statuses(done), done.rounds) == ("completed", ["executed", "executed"], 3)
        assert await gate.violations() == []


async def test_steps_are_streamed(tmp_path: Path) -> None:
    """Who asks for it hears the text as it comes, each end, and at last the turn's; numbers rise by one."""
    async with whole(tmp_path / "log.db", script=SCRIPT) as gate:
        key = await gate.ask("s", "think about it", stream=True)
        async with asyncio.timeout(20), aclosing(gate.client.stream(key)) as stream:
            heard = [event async for event in stream]
        done = await gate.completed(key)
    kinds = [event.kind for event in heard]
    assert kinds[0] == "llm_started"
    assert kinds[-2:] == ["final_response", "response_done"]
    assert kinds.count("execution_event") == 1
    assert [event.sequence for event in heard] == list(range(len(heard)))
    said = "".join(orjson.loads(bytes(event.data))["delta"] for event in heard if event.kind == "llm_delta")
    assert said == "I thought, and acted."
    assert done.status == "completed"


async def test_a_turn_submitted_twice_is_run_once(tmp_path: Path) -> None:
    """The same turn again changes nothing; another under its name is a dead letter, and the first one stands."""
    async with whole(tmp_path / "log.db") as gate:
        key = await gate.ask("s", 'call act {"n": 1}')
        assert await gate.ask("s", 'call act {"n": 1}') == key
        assert await gate.ask("s", 'call act {"n": 7}') == key
        done = await gate.completed(key)
        assert statuses(done) == ["executed"]
        assert await _dead(gate) == 1
        assert gate.marks.effects.total() == 1


async def _dead(gate: Whole) -> int:
    return sum([1 for partition in range(gate.log.partitions) async for _ in gate.log.scan("deadletters", partition)])


@pytest.mark.parametrize("seed", [None, 3, 4])
async def test_a_turn_that_tells_does_not_wait_for_people(tmp_path: Path, seed: int | None) -> None:
    """A turn with a pending call ends at once, and its follow-up runs once with the result, on any engine."""
    async with whole(tmp_path / "log.db", seed=seed) as gate:
        said = 'call pay {"n": 1}\ncall act {"n": 2}\ncall grant {"n": 3}'
        keys = [await gate.ask(f"s{number}", said, pending="tell") for number in range(3)]
        for key in keys:
            done = await gate.completed(key, 60)
            assert done.status == "completed"
            assert statuses(done)[1] == "executed"
            if done.follow_up is None:  # people were quicker than the round
                continue
            after = await gate.completed(done.follow_up, 60)
            assert (after.status, after.turn) == ("completed", "1~follow-up-1")
            assert len(await gate.actions(key)) == 3
        assert any([(await gate.completed(key)).follow_up for key in keys])
        assert all(count == 1 for count in gate.marks.effects.values())
        assert await gate.violations() == []


@pytest.mark.parametrize("seed", [None, 5])
async def test_rounds_in_the_background_are_as_others(tmp_path: Path, seed: int | None) -> None:
    """Each round is made at the provider and fetched; the turn ends as it would have."""
    async with whole(tmp_path / "log.db", seed=seed) as gate:
        done = await gate.completed(await gate.ask("s", TWO_ROUNDS, background=True), 60)
        assert (done.status, done.rounds) == ("completed", 3)
        assert statuses(done) == ["executed", "blocked", "executed"]
        assert await gate.violations() == []
