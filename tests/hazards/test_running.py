"""Hazards of the published adapter in running tools, H3, H8, H9, H11, H12, H25, H27 and H29: none can happen here."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.proposer_values import function_call
from tests.support.small_gate import counting, small_gate, statuses

from callgate.tools.toolbox import Toolbox


def answered(*items: Any, status: str = "completed") -> dict[str, Any]:
    """What a model answered."""
    return {"id": "resp_1", "object": "response", "status": status, "output": list(items)}


def call(n: int, call_id: str, **more: Any) -> dict[str, Any]:
    return function_call("act", f'{{"n": {n}}}', call_id, **more)


async def test_h03_an_output_that_is_no_json_is_an_error_of_the_output(tmp_path: Path) -> None:
    """The effect is told as what it is, the other calls are answered, and the model's run goes on."""
    ran: list[int] = []
    box = counting(ran)

    @box.tool
    def when() -> Any:
        ran.append(0)
        return {1, datetime.now(UTC)}

    async with small_gate(tmp_path, box) as gate:
        response = await gate.client.run('call when {}\ncall act {"n": 2}', "any")
    first, second = response["execution"]["events"]
    assert "not JSON" in first["error"]
    assert (second["status"], response["status"]) == ("executed", "completed")
    assert sorted(ran) == [0, 2]
    assert [item["type"] for item in response["items"]].count("function_call_output") == 2


async def test_h08_a_call_id_used_twice_runs_neither(tmp_path: Path) -> None:
    """Whose answer would be whose? None is run; and a whole turn handed in twice runs its calls once."""
    ran: list[int] = []
    async with small_gate(tmp_path, counting(ran)) as gate:
        assert statuses(await gate.client.record(answered(call(1, "c"), call(2, "c")))) == ["refused", "refused"]
        for _ in range(2):
            response = await gate.client.record(answered(call(3, "c")), session="s", turn="1")
            assert statuses(response) == ["executed"]
    assert ran == [3]


@pytest.mark.parametrize("arguments", ["[1]", "null", "3", '"x"', "{", "", '{"n": 1, "n": 2}', '{"n": NaN}'])
async def test_h09_arguments_that_are_no_object_end_their_own_call_only(tmp_path: Path, arguments: str) -> None:
    """They are refused; the calls before and after them run."""
    ran: list[int] = []
    async with small_gate(tmp_path, counting(ran)) as gate:
        items = (call(1, "a"), function_call("act", arguments, "b"), call(3, "c"))
        assert statuses(await gate.client.record(answered(*items))) == ["executed", "refused", "executed"]
    assert ran == [1, 3]


async def test_h09_a_target_that_can_not_be_computed_ends_its_own_call_only(tmp_path: Path) -> None:
    """A `target_from_args` that raises refuses the call; the turn completes."""
    ran: list[int] = []
    box = counting(ran, target_from_args=lambda arguments: str(1 // (arguments["n"] - 1)))
    async with small_gate(tmp_path, box) as gate:
        response = await gate.client.record(answered(call(1, "a"), call(2, "b")))
    assert statuses(response) == ["refused", "executed"]
    assert ran == [2]


@pytest.mark.parametrize("status", ["incomplete", "failed", "queued", "in_progress", "cancelled"])
async def test_h11_only_a_completed_response_runs(tmp_path: Path, status: str) -> None:
    """A call in any other response, or one that is itself not completed, does not run, and is not told as done."""
    ran: list[int] = []
    async with small_gate(tmp_path, counting(ran)) as gate:
        response = await gate.client.record(answered(call(1, "a"), status=status))
        assert "executed" not in statuses(response)
        cut = await gate.client.record(answered(call(2, "a", status=status)))
        assert "executed" not in statuses(cut)
    assert ran == []


async def test_h11_a_refusal_is_said(tmp_path: Path) -> None:
    """A model that refuses has said so: the text is there, and the reason."""
    script = '[[scenario]]\ntext = "*"\n[[scenario.round]]\nrefusal = "I will not."\n'
    async with small_gate(tmp_path, counting([]), script=script) as gate:
        response = await gate.client.run("hello", "any")
    assert response["output_text"] == "I will not."
    assert response["reason"]


async def test_h12_every_kind_of_call_is_answered(tmp_path: Path) -> None:
    """Items that are no function calls are actions too: refused where no tool serves them, never left open."""
    ran: list[int] = []
    items = (
        {"type": "custom_tool_call", "call_id": "a", "name": "act", "input": "x"},
        {"type": "mcp_approval_request", "id": "b", "name": "act", "server_label": "s", "arguments": "{}"},
        {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
        call(4, "d"),
    )
    async with small_gate(tmp_path, counting(ran)) as gate:
        response = await gate.client.record(answered(*items))
    assert statuses(response) == ["refused", "refused", "refused", "executed"]
    assert len(response["items"]) == 4
    assert ran == [4]


async def test_h25_no_text_of_an_error_makes_it_run_again(tmp_path: Path) -> None:
    """A tool that raises the adapter's magic words has failed, once."""
    ran: list[int] = []
    box = Toolbox()

    @box.tool
    def act(n: int) -> int:
        ran.append(n)
        raise RuntimeError("transient provider failure")

    async with small_gate(tmp_path, box) as gate:
        assert statuses(await gate.client.run('call act {"n": 1}', "any")) == ["tool_error"]
    assert ran == [1]


async def test_h27_calls_are_counted_by_ones(tmp_path: Path) -> None:
    """Each call has its place in the response, from 0, without gaps."""
    async with small_gate(tmp_path, counting([])) as gate:
        response = await gate.client.record(answered(*(call(n, f"c{n}") for n in range(4))))
    assert [event["position"] for event in response["execution"]["events"]] == [0, 1, 2, 3]


async def test_h29_a_tool_that_hangs_is_given_up_as_in_doubt(tmp_path: Path) -> None:
    """It has a time-out; what became of the effect nobody knows, so it is not told as failed, and not run again."""
    ran: list[int] = []
    box = Toolbox()

    @box.tool(timeout_seconds=0.2)
    async def act(n: int) -> int:
        ran.append(n)
        await asyncio.sleep(60)
        return n

    async with small_gate(tmp_path, box) as gate:
        response = await gate.client.run('call act {"n": 1}', "any", timeout=1.5)
        assert response["status"] in ("waiting", "completed")
        assert response["execution"]["last"]["status"] in ("in_doubt", "unknown")
    assert ran == [1]
