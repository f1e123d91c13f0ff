"""Hazards of the published adapter in asking people, H13, H14, H15 and H16: none of them can happen here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.small_gate import REVIEW, SmallGate, counting, small_gate, statuses, until

from callgate.events import topics
from callgate.events.approvals import ApprovalRequested, ApprovalVoted
from callgate.events.control import ControlChanged
from callgate.events.routing import address


async def question(gate: SmallGate) -> ApprovalRequested:
    """The question that is open, which must come."""
    async with asyncio.timeout(20):
        while True:
            found = [each for each in await gate.events(topics.BALLOTS) if isinstance(each, ApprovalRequested)]
            if found:
                return found[-1]
            await asyncio.sleep(0.02)


def approval(asked: ApprovalRequested, **changes: Any) -> ApprovalVoted:
    vote = ApprovalVoted(
        vote_id="v",
        approval_id=asked.approval_id,
        digest=asked.action.ref.digest,
        answer="approve",
        approver="zoe",
    )
    return msgspec.structs.replace(vote, **changes)


async def test_h13_an_approval_runs_the_arguments_that_were_shown(tmp_path: Path) -> None:
    """A vote on other arguments counts for nothing, and no call of the client takes arguments to run after a yes."""
    ran: list[int] = []
    async with small_gate(tmp_path, counting(ran), policy=REVIEW) as gate:
        waiting = await gate.client.run('call act {"n": 1}', "any", wait_for_people=False)
        asked = await question(gate)
        await gate.client.vote(approval(asked, digest="f" * 64))
        end = await gate.client.resume(waiting["turn_key"])
        assert statuses(end) == ["expired"]
        assert not hasattr(gate.client, "resume_after_approval")
    assert ran == []


async def test_h13_an_approval_does_not_outlive_a_stop(tmp_path: Path) -> None:
    """A switch that is set while people think stops what they then approve."""
    ran: list[int] = []
    async with small_gate(tmp_path, counting(ran), policy=REVIEW) as gate:
        waiting = await gate.client.run('call act {"n": 1}', "any", wait_for_people=False)
        asked = await question(gate)
        stop = ControlChanged(kind="stop", tool="act", changed_by="op", reason="incident", changed_at=0.0)
        assert address(stop, gate.log.partitions).topic == topics.CONTROL.name
        await gate.client._publish(stop, "switch")
        await asyncio.sleep(0.2)
        await gate.client.vote(approval(asked))
        end = await gate.client.resume(waiting["turn_key"])
        assert statuses(end) == ["killed"]
    assert ran == []


@pytest.mark.parametrize("answer", [{"comment": "fine"}, {}, {"resolution": None}, {"resolution": True}, "approved"])
async def test_h14_a_missing_resolution_is_no_yes(tmp_path: Path, answer: Any) -> None:
    """Only the word itself approves; whatever else the callback gives casts no vote."""
    ran: list[int] = []
    async with small_gate(tmp_path, counting(ran), policy=REVIEW) as gate:
        response = await gate.client.run_with_approval(
            'call act {"n": 1}', "any", on_approval_required=lambda _: answer
        )
        assert statuses(response) == ["expired"]
        assert [each["voted"] for each in response["approvals"]] == [None]
        assert not [each for each in await gate.events(topics.VOTES) if isinstance(each, ApprovalVoted)]
    assert ran == []


async def test_h15_every_waiting_call_is_offered(tmp_path: Path) -> None:
    """Of three that wait each is asked about once, and each answer is about its own call."""
    ran: list[int] = []

    def callback(context: dict[str, Any]) -> dict[str, str]:
        return {"resolution": "denied" if context["arguments"]["n"] == 2 else "approved"}

    async with small_gate(tmp_path, counting(ran), policy=REVIEW) as gate:
        said = "\n".join(f'call act {{"n": {n}}}' for n in (1, 2, 3))
        response = await gate.client.run_with_approval(said, "any", on_approval_required=callback)
        assert statuses(response) == ["executed", "rejected", "executed"]
        assert len(response["approvals"]) == 3
    assert ran == [1, 3]


async def test_h16_what_was_approved_is_told_to_the_model_and_reported(tmp_path: Path) -> None:
    """The model gets the tool's result after the approval, and BIGHUB hears of the outcome."""
    async with small_gate(tmp_path, counting([]), policy=REVIEW) as gate:
        response = await gate.client.run_with_approval(
            'call act {"n": 7}', "any", on_approval_required=lambda _: {"resolution": "approved"}
        )
        assert [item["type"] for item in response["items"]] == ["function_call", "function_call_output", "message"]
        assert response["items"][1]["output"] == "7"
        request_id = response["execution"]["last"]["decision"]["request_id"]
        await until(lambda: (request_id, "SUCCESS") in gate.outcomes())
