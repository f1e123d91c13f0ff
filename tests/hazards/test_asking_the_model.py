"""Hazards of the published adapter in asking the model, H17 to H21: none of them can happen here."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.support.small_gate import counting, small_gate, statuses

from callgate.bighub.client import Bighub
from callgate.bighub.requests import EvaluateRequest
from callgate.clock import SystemClock
from callgate.failures import TemporaryFailure
from callgate.proposer.openai_model import OpenaiModel
from callgate.settings import BighubSettings, ModelSettings, Secret

ROUNDS = """
[[scenario]]
text = "*"
[[scenario.round]]
calls = [{ name = "act", arguments = { n = 1 } }]
[[scenario.round]]
calls = [{ name = "act", arguments = { n = 2 } }]
[[scenario.round]]
text = "Done."
"""


async def test_h17_the_answer_after_the_last_round_counts(tmp_path: Path) -> None:
    """With all rounds that are allowed the last word is the answer; with one fewer the turn says what was too much."""
    ran: list[int] = []
    async with small_gate(tmp_path, counting(ran), script=ROUNDS) as gate:
        enough = await gate.client.run("go", "any", max_tool_rounds=2)
        assert (enough["status"], enough["output_text"]) == ("completed", "Done.")
        short = await gate.client.run("go", "any", max_tool_rounds=1)
        assert short["status"] == "failed"
        assert "after 1 rounds" in short["reason"]
        assert statuses(short)[0] == "executed"
    assert ran == [1, 2, 1]


async def test_h18_every_round_is_asked_with_the_same_options(tmp_path: Path) -> None:
    """Temperature, instructions, metadata and the rest stand in each request, not only in the first."""
    async with small_gate(tmp_path, counting([]), script=ROUNDS) as gate:
        extra = {"metadata": {"k": "v"}, "parallel_tool_calls": False, "max_output_tokens": 99}
        await gate.client.run("go", "any", temperature=0.5, instructions="Be brief.", extra_create_args=extra)
        bodies = [asked.body for asked in gate.sandbox.model.journal]
    assert len(bodies) == 3
    wanted = {"temperature": 0.5, "instructions": "Be brief.", **extra}
    assert [{name: body.get(name) for name in wanted} for body in bodies] == [wanted] * 3


async def test_h19_no_round_leans_on_what_the_provider_has_not_stored(tmp_path: Path) -> None:
    """Nothing is stored and nothing is referred to: each request has the whole history. Asking otherwise is refused."""
    async with small_gate(tmp_path, counting([]), script=ROUNDS) as gate:
        response = await gate.client.run("go", "any")
        assert response["status"] == "completed"
        bodies = [asked.body for asked in gate.sandbox.model.journal]
        assert [body["store"] for body in bodies] == [False] * 3
        assert not [body for body in bodies if "previous_response_id" in body]
        assert [len(body["input"]) for body in bodies] == [1, 3, 5]
        for option in ({"store": True}, {"previous_response_id": "resp_1"}):
            refused = await gate.client.run("go", "any", extra_create_args=option)
            assert refused["status"] == "refused"


async def test_h20_a_stream_that_fails_is_asked_again_and_its_events_are_whole(tmp_path: Path) -> None:
    """A 429 of a streamed request is retried like any other, and the steps name their calls."""
    ran: list[int] = []
    faults = '[[fault]]\nroute = "POST /v1/responses"\nstatus = 429\ntimes = 1\n'
    steps: list[dict[str, Any]] = []
    async with (
        small_gate(tmp_path, counting(ran), script=ROUNDS, faults=faults) as gate,
        aclosing(gate.client.run_stream("go", "any")) as told,
    ):
        async for step in told:
            steps.append(step)  # noqa: PERF401 - a comprehension would not close early
    assert steps[-1]["type"] == "response_done"
    added = [step["item"] for step in steps if step["type"] == "output_item_added"]
    calls = [item for item in added if item["type"] == "function_call"]
    assert calls
    assert all(item["name"] == "act" and item["call_id"] for item in calls)
    assert ran == [1, 2]


async def test_h20_a_failed_response_says_why(tmp_path: Path) -> None:
    """`response_failed` has its error, and nothing of the SDK's is raised."""
    script = '[[scenario]]\ntext = "*"\n[[scenario.round]]\nerror = { code = "invalid_prompt", message = "not this" }\n'
    async with (
        small_gate(tmp_path, counting([]), script=script) as gate,
        aclosing(gate.client.run_stream("x", "m")) as told,
    ):
        last: dict[str, Any] = {}
        async for step in told:
            last = step
    assert last["type"] == "response_failed"
    assert "not this" in last["error"]


class Refusing:
    """A server that answers every request with one status, and counts them."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.count = 0
        self.runner: web.AppRunner | None = None

    async def __aenter__(self) -> str:
        async def answer(_: web.Request) -> web.Response:
            self.count += 1
            return web.json_response({"error": {"message": "no"}}, status=self.status, headers={"Retry-After": "0"})

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        assert self.runner is not None
        await self.runner.cleanup()


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
async def test_h21_one_attempt_is_one_request(status: int) -> None:
    """Retries are the worker's alone: neither SDK sends a request twice for one attempt."""
    refusing = Refusing(status)
    async with refusing as url:
        async with OpenaiModel(ModelSettings(url=f"{url}/v1", key=Secret("any")), SystemClock()) as model:
            with pytest.raises(TemporaryFailure):
                await model.ask({"model": "m", "input": "hi", "store": False})
        assert refusing.count == 1
        async with Bighub(BighubSettings(url=url, key=Secret("any"))) as bighub:
            with pytest.raises(TemporaryFailure):
                await bighub.evaluate(EvaluateRequest(action="act", idempotency_key="k"))
        assert refusing.count == 2
