"""The client for agents against the whole gate, plain and hostile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from tests.support.signing_values import LEE, key_file
from tests.support.small_gate import REVIEW, small_gate
from tests.support.whole import Whole, message, whole

from callgate.client.asking import Caller
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.events import topics
from callgate.events.approvals import ApprovalRequested, ApprovalVoted
from callgate.failures import BadInput
from callgate.tools.toolbox import Toolbox

APPROVED = {"resolution": "approved"}
CALLER = Caller(tenant="acme", agent="bot", approver="zoe")


@pytest.fixture(params=[None, 11], ids=["plain", "hostile"])
async def gate(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Whole]:
    """A running gate."""
    async with whole(tmp_path / "log.db", seed=request.param) as running:
        yield running


def client_of(gate: Whole) -> Client:
    """A client of its own, as in another process."""
    return Client(gate.log, SystemClock(), caller=CALLER)


async def test_a_run_gives_the_shape_of_the_seeds(gate: Whole) -> None:
    """`run` waits for the end, and its response has the keys that users of the published adapters read."""
    async with client_of(gate) as client:
        response = await client.run([{"role": "user", "content": 'call act {"n": 5}'}], "any", timeout=60)
        blocked = await client.run('call drop {"n": 5}', "any", timeout=60)
    assert response["status"] == "completed"
    last = response["execution"]["last"]
    assert (last["tool"], last["status"], last["output"]) == ("act", "executed", 5)
    assert last["decision"]["allowed"] is True
    assert last["decision"]["mode"] == "autonomous"
    assert last["decision"]["request_id"]
    assert {"recommendation", "risk_score", "enforcement_mode"} <= last.keys()
    assert response["llm_response"]["object"] == "response"
    assert [item["type"] for item in response["items"]] == ["function_call", "function_call_output", "message"]
    assert blocked["execution"]["last"]["status"] == "blocked"
    assert blocked["execution"]["last"]["decision"]["should_not_run"] is True
    assert sum(gate.marks.effects.values()) == 1


async def test_a_turn_that_waits_is_resumed_elsewhere(gate: Whole) -> None:
    """A time-out says where each call stands; another client hears the end by the turn's key."""
    async with client_of(gate) as client:
        response = await client.run('call credit {"n": 1}', "any", timeout=0.0, session="s")
        assert (response["status"], response["session"], response["items"]) == ("waiting", "s", [])
        for _ in range(100):
            response = await client.resume(response["turn_key"], timeout=0.1)
            if response["execution"]["last"] is not None:
                break
        assert response["execution"]["last"]["status"] == "approval_required"
        assert response["execution"]["last"]["decision"]["needs_review"] is True
    end = await client_of(gate).resume(response["turn_key"], timeout=60)
    assert (end["status"], end["execution"]["last"]["status"]) == ("completed", "expired")
    again = await client_of(gate).resume(response["turn_key"], timeout=60)
    assert again == end


async def test_a_hook_is_told_each_standing_once(gate: Whole) -> None:
    """`on_decision` hears of every call, and by which question one of them waits; what it raises ends nothing."""
    heard: list[dict[str, Any]] = []

    def hook(event: dict[str, Any]) -> None:
        heard.append(event)
        raise RuntimeError(event["tool"])

    async with client_of(gate) as client:
        said = 'call act {"n": 1}\ncall credit {"n": 2}'
        response = await client.run(said, "any", timeout=60, on_decision=hook, wait_for_people=False)
    assert response["status"] == "waiting"
    standings = [(event["tool"], event["status"]) for event in heard]
    assert len(standings) == len(set(standings))
    (waits,) = [event for event in heard if event["status"] == "approval_required"]
    (asked,) = [each for each in await gate.events(topics.BALLOTS) if isinstance(each, ApprovalRequested)]
    assert waits["approval_id"] == waits["decision"]["approval_id"] == asked.approval_id


async def test_a_hook_that_nobody_would_await_is_refused(gate: Whole) -> None:
    """An asynchronous `on_decision` is refused before the turn is submitted, and so is any for a stream."""
    with pytest.raises(BadInput, match="on_decision"):
        await client_of(gate).run('call act {"n": 1}', "any", on_decision=comment_only)
    with pytest.raises(BadInput, match="execution_event"):
        await anext(client_of(gate).run_stream('call act {"n": 1}', "any", on_decision=print))
    assert gate.marks.effects == {}


async def test_a_caller_need_not_wait_for_people(gate: Whole) -> None:
    """Told so, a run returns as soon as a call waits for a person, long before its time is over."""
    async with client_of(gate) as client, asyncio.timeout(20):
        response = await client.run('call credit {"n": 1}', "any", wait_for_people=False, timeout=1000)
    assert (response["status"], response["execution"]["last"]["status"]) == ("waiting", "approval_required")


async def test_a_named_turn_counts_once(gate: Whole) -> None:
    """The same turn run again, as after a crash of the agent, gives the first one's end and no second effect."""
    for _ in range(2):
        response = await client_of(gate).run('call act {"n": 1}', "any", session="s", turn="1", timeout=60)
        assert response["execution"]["last"]["status"] == "executed"
    assert list(gate.marks.effects.values()) == [1]


async def test_a_recorded_answer_gives_the_items_for_the_next_request(gate: Whole) -> None:
    """`record` runs the calls of a model's answer and returns what answers them."""
    response = await client_of(gate).record(message(("act", {"n": 3}), ("act", {"n": "no"})), timeout=60)
    assert [each["status"] for each in response["execution"]["events"]] == ["executed", "refused"]
    assert [(item["role"], item["tool_call_id"]) for item in response["items"]] == [("tool", "c0"), ("tool", "c1")]


async def test_a_stream_ends_with_the_whole(gate: Whole) -> None:
    """Steps come in the seeds' types; each call is told once per standing, and the end is certain."""
    steps = []
    async with client_of(gate) as client, aclosing(client.run_stream('call pay {"n": 1}', "any", timeout=60)) as told:
        async for step in told:
            steps.append(step)  # noqa: PERF401 - a comprehension would not close early
    kinds = [step["type"] for step in steps]
    assert kinds[-2:] == ["final_response", "response_done"]
    calls = [step["event"]["status"] for step in steps if step["type"] == "execution_event"]
    assert calls[-1] == "executed"
    assert len(calls) == len(set(calls))
    final = steps[-2]["response"]
    assert final["execution"]["last"]["status"] == "executed"
    assert isinstance(final["output_text"], str)
    if "llm_text_done" in kinds:
        assert kinds.index("execution_event") < kinds.index("llm_text_done")


async def test_a_stream_that_is_not_over_says_so(gate: Whole) -> None:
    """After the time-out the last step is `waiting`, with how far the turn has come."""
    async with aclosing(client_of(gate).run_stream('call credit {"n": 1}', "any", timeout=1.0)) as told:
        last: dict[str, Any] = {}
        async for step in told:
            last = step
    assert last["type"] == "waiting"
    assert last["response"]["status"] == "waiting"


@pytest.mark.parametrize(("resolution", "status"), [("approved", "executed"), ("denied", "rejected")])
async def test_a_callback_votes_for_a_named_person(tmp_path: Path, resolution: str, status: str) -> None:
    """The callback sees what is asked, and its answer is the approver's vote; each call is offered (H15)."""
    shown: list[dict[str, Any]] = []

    def callback(context: dict[str, Any]) -> dict[str, Any]:
        shown.append(context)
        return {"resolution": resolution, "comment": "by on-call"}

    async with whole(tmp_path / "log.db") as gate, client_of(gate) as client:
        said = 'call credit {"n": 1}\ncall credit {"n": 2}'
        response = await client.run_with_approval(said, "any", on_approval_required=callback, timeout=60)
        assert [each["status"] for each in response["execution"]["events"]] == [status, status]
        assert sorted(context["arguments"]["n"] for context in shown) == [1, 2]
        assert {context["tool"] for context in shown} == {"credit"}
        assert [context["event"]["arguments"] for context in shown] == [context["arguments"] for context in shown]
        assert all(context["digest"] and context["decision"]["reason"] for context in shown)
        assert [each["reason"] for each in response["approvals"]] == [None, None]
        if status == "executed":
            assert response["execution"]["last"]["decision"]["approvers"] == ["zoe"]


def broken(context: dict[str, Any]) -> None:
    raise RuntimeError(context["tool"])


async def silent(context: dict[str, Any]) -> None:
    await asyncio.sleep(60)


async def comment_only(context: dict[str, Any]) -> dict[str, Any]:
    return {"comment": "looks fine"}


@pytest.mark.parametrize(
    "callback",
    [broken, silent, comment_only, lambda _: None, lambda _: True, lambda _: {"resolution": "APPROVED"}],
    ids=["raises", "never answers", "comment only", "none", "true", "another word"],
)
async def test_no_plain_answer_is_never_yes(tmp_path: Path, callback: Any) -> None:
    """No answer, an error, silence or another word than `approved` casts no vote, and nothing runs (H14, H29)."""
    async with whole(tmp_path / "log.db") as gate, client_of(gate) as client:
        response = await client.run_with_approval(
            'call credit {"n": 1}', "any", on_approval_required=callback, callback_timeout=0.5, timeout=60
        )
        assert [each["status"] for each in response["execution"]["events"]] == ["expired"]
        (asked,) = response["approvals"]
        assert asked["voted"] is None
        assert asked["reason"]
        assert gate.marks.effects == {}
        assert not [each for each in await gate.events(topics.VOTES) if isinstance(each, ApprovalVoted)]


@pytest.mark.parametrize(("key", "status"), [(LEE, "executed"), (None, "expired")], ids=["signed", "unsigned"])
async def test_a_callback_s_answer_is_signed_where_votes_must_be(tmp_path: Path, key: Any, status: str) -> None:
    """With the approver's key the vote counts as a signed one; without it, it counts for nothing."""
    box = Toolbox()

    @box.tool
    def act(n: int) -> int:
        return n

    async with small_gate(tmp_path, box, policy=REVIEW, trusted=False, keys=str(key_file(tmp_path, LEE))) as gate:
        response = await gate.client.run_with_approval(
            'call act {"n": 1}', "any", on_approval_required=lambda _: APPROVED, approver="lee", key=key, timeout=60
        )
        assert response["execution"]["last"]["status"] == status
        with pytest.raises(BadInput, match="can't sign for zoe"):
            await gate.client.run_with_approval("hi", "any", on_approval_required=lambda _: APPROVED, key=LEE)
