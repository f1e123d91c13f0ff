"""The sandbox's model is taken by the real SDK, strictly validated, and refuses what the real API refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.lib.responses_tool_runner import AsyncRegisteredFunction, AsyncResponsesToolRunner
from openai.types.responses import FunctionToolParam
from tests.support.strict_sdk import strict_sdk

from callgate.sandbox.faults import parse_faults
from callgate.sandbox.model.script import parse_script
from callgate.sandbox.service import Sandbox

SCRIPT = """
[[scenario]]
text = "refuse*"
[[scenario.round]]
refusal = "I can't help with that."

[[scenario]]
text = "think*"
[[scenario.round]]
reasoning = "First the weather."
text = "Let me look."
calls = [{ name = "weather", arguments = { city = "Paris, the capital" } }, { name = "weather", arguments = "[1]" }]

[[scenario]]
text = "long*"
[[scenario.round]]
text = "half of"
status = "incomplete"

[[scenario]]
text = "fail*"
[[scenario.round]]
error = { code = "server_error", message = "no" }

[[scenario]]
text = "cut*"
[[scenario.round]]
text = "an answer that is cut in the middle of it"
fault = "cut"

[[scenario]]
text = "flat*"
[[scenario.round]]
text = "never seen"
fault = "flat_error"
"""
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    """A running sandbox."""
    async with Sandbox(script=parse_script(SCRIPT)) as running:
        yield running


@pytest.fixture
async def sdk(box: Sandbox) -> AsyncIterator[AsyncOpenAI]:
    """The SDK, which refuses what does not fit its types."""
    async with strict_sdk(box) as made:
        yield made


@pytest.mark.parametrize("said", ["hello", "refuse it", "think hard", "long story", "fail now"])
async def test_answers_pass_strict_validation(sdk: AsyncOpenAI, said: str) -> None:
    """Every sort of answer is one that the SDK takes, whole and as a stream, and both are the same."""
    whole = await sdk.responses.create(model="m", input=said, store=False)
    last: Any = None
    async for event in await sdk.responses.create(model="m", input=said, store=False, stream=True):
        last = event
    assert last.type == f"response.{whole.status}"
    assert [item.type for item in last.response.output] == [item.type for item in whole.output]
    assert last.response.usage == whole.usage


async def test_the_accumulator_takes_the_stream(sdk: AsyncOpenAI) -> None:
    """The SDK's own accumulator holds every invariant of the stream against it, and finds the answer."""
    async with sdk.responses.stream(model="m", input="think hard", store=False) as stream:
        deltas = [event.delta async for event in stream if event.type == "response.function_call_arguments.delta"]
        final = await stream.get_final_response()
    assert "".join(deltas) == '{"city":"Paris, the capital"}[1]'
    assert final.output_text == "Let me look."


@pytest.mark.parametrize("stream", [False, True])
async def test_the_tool_runner_runs(sdk: AsyncOpenAI, stream: bool) -> None:  # noqa: FBT001 - a parameter
    """The SDK's tool runner, which trusts nobody, goes two rounds of tools and ends with the text."""
    asked: list[object] = []

    async def weather(arguments: dict[str, object]) -> str:
        asked.append(arguments["city"])
        return "sunny"

    runner = AsyncResponsesToolRunner(functions=[AsyncRegisteredFunction(WEATHER, weather)])
    said = 'call weather {"city": "Paris"}\nthen\ncall weather {"city": "Rome"}'
    final = await runner.run(sdk, {"model": "m", "input": said, "store": False}, stream=stream, eager=stream)
    assert (asked, final.output_text) == (["Paris", "Rome"], "Done.")


@pytest.mark.parametrize(
    ("request_", "param", "part"),
    [
        ({"input": "x", "temprature": 1}, "temprature", "Unknown parameter"),
        ({"input": "x", "previous_response_id": "resp_1"}, "previous_response_id", "not found"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]}, "input", "output"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": ""}]}, "input", "No tool call found"),
        ({"input": "x", "metadata": {"k": "v" * 513}}, "metadata.k", "512"),
        ({"input": "x", "tool_choice": {"type": "function", "name": "f"}}, "tool_choice", "not found"),
        ({"input": "x", "tools": [{**WEATHER, "parameters": {"type": "object"}}]}, "tools[0].parameters", "additional"),
        ({"input": 7}, "input", "Invalid type"),
    ],
)
async def test_what_the_api_refuses_is_refused(
    sdk: AsyncOpenAI, request_: dict[str, Any], param: str, part: str
) -> None:
    """A request that the API would not take gets its status, its parameter and its words."""
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.responses.create(model="m", extra_body=request_)
    assert caught.value.param == param
    assert part in str(caught.value)


async def test_only_what_is_stored_is_found_again(sdk: AsyncOpenAI) -> None:
    """A stored answer is retrieved, continued and deleted; one that is not stored is not there."""
    kept = await sdk.responses.create(model="m", input="hello")
    assert (await sdk.responses.retrieve(kept.id)).output_text == "You said: hello"
    assert [item.type async for item in sdk.responses.input_items.list(kept.id)] == ["message"]
    going_on = await sdk.responses.create(model="m", input="again", previous_response_id=kept.id)
    assert going_on.output_text == "You said: again"
    await sdk.responses.delete(kept.id)
    lost = await sdk.responses.create(model="m", input="hello", store=False)
    for name in (kept.id, lost.id):
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.retrieve(name)


async def test_faults_of_the_script_and_of_the_file() -> None:
    """A stream is cut, an error is flat, and the faults file fails this API in its own shape."""
    faults = parse_faults('[[fault]]\nroute = "POST /v1/*"\nstatus = 429\nretry_after = 3\ntimes = 1')
    async with Sandbox(script=parse_script(SCRIPT), faults=faults) as box, strict_sdk(box) as sdk:
        with pytest.raises(openai.RateLimitError) as limited:
            await sdk.responses.create(model="m", input="hello")
        assert limited.value.response.headers["retry-after"] == "3"
        assert (limited.value.type, limited.value.code) == ("rate_limit_error", "injected_fault")
        kinds = [event.type async for event in await sdk.responses.create(model="m", input="cut", stream=True)]
        assert "response.completed" not in kinds
        with pytest.raises(openai.APIConnectionError):
            await sdk.responses.create(model="m", input="cut")
        raw = await sdk.responses.with_raw_response.create(model="m", input="flat")
        assert raw.http_response.json()["type"] == "error"


async def test_credentials_are_asked_for(box: Sandbox) -> None:
    """Without a key the answer is the one that the SDK knows as a failed authentication."""
    async with strict_sdk(box, default_headers={"Authorization": ""}) as sdk:
        with pytest.raises(openai.AuthenticationError):
            await sdk.responses.create(model="m", input="hello")


async def test_ids_never_repeat_and_a_key_repeats_the_answer(sdk: AsyncOpenAI) -> None:
    """The same request twice has two ids; with one idempotency key it is one answer."""
    first = await sdk.responses.create(model="m", input="hello")
    assert (await sdk.responses.create(model="m", input="hello")).id != first.id
    keyed = [await sdk.responses.create(model="m", input="x", extra_headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert keyed[0].id == keyed[1].id
