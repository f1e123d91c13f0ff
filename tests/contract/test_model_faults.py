"""What the sandbox's model does wrong on demand is what the SDK trips over, and what it demands is what it gets."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.lib.responses_tool_runner import RegisteredFunction, ResponsesToolLedger, ResponsesToolRunner
from openai.types.responses import FunctionToolParam
from tests.support.strict_sdk import strict_sdk

from callgate.sandbox.faults import parse_faults
from callgate.sandbox.model.script import parse_script
from callgate.sandbox.model.turns import fitting
from callgate.sandbox.service import Sandbox

LOOK: FunctionToolParam = {
    "type": "function",
    "name": "look",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"type": "string", "enum": ["c", "f"]},
            "days": {"type": "integer", "minimum": 1},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["city", "unit", "days", "note"],
        "additionalProperties": False,
    },
}


def scripted(round_: str, top: str = "") -> Sandbox:
    return Sandbox(script=parse_script(f"{top}\n[[scenario]]\n[[scenario.round]]\n{round_}"))


CALLED = 'calls = [{ name = "look", arguments = { city = "Paris, the capital of France" } }]'


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("cut", "Didn't receive a `response.completed` event"),
        ("cut_before_delta", "Didn't receive a `response.completed` event"),
        ("cut_after_delta", "Didn't receive a `response.completed` event"),
        ("cut_after_item", "Didn't receive a `response.completed` event"),
        ("no_end", "Didn't receive a `response.completed` event"),
        ("error_event", "Didn't receive a `response.completed` event"),
        ("no_created", "Expected to have received"),
        ("other_id", "Lifecycle response identity changed"),
        ("other_call", "output item identity changed"),
        ("early_delta", "before receiving its output item"),
        ("added_twice", "Duplicate response output index 0"),
        ("unfinished", "unfinished output items"),
    ],
)
async def test_every_broken_stream_is_noticed(fault: str, said: str) -> None:
    """The SDK's accumulator, which holds the invariants of a stream, fails for each in its own words."""
    async with scripted(f'{CALLED}\nfault = "{fault}"') as box, strict_sdk(box) as sdk:
        with pytest.raises((RuntimeError, IndexError), match=said):
            async with sdk.responses.stream(model="m", input="x", store=False) as stream:
                await stream.get_final_response()


async def test_a_nested_error_is_raised() -> None:
    """An event with an error inside is the SDK's own exception, with the code."""
    async with scripted('text = "x"\nfault = "nested_error"') as box, strict_sdk(box) as sdk:
        with pytest.raises(openai.APIError) as caught:
            async for _ in await sdk.responses.create(model="m", input="x", stream=True):
                pass
        assert caught.value.code == "server_error"


async def test_items_of_any_sort() -> None:
    """Items are sent as the script has them: known ones pass strict validation, whole and streamed, others do not."""
    known = (
        'items = [{ type = "custom_tool_call", id = "ct_1", call_id = "c1", name = "sql", input = "SELECT 1 FROM t" },'
        ' { type = "mcp_approval_request", id = "m1", name = "n", arguments = "{}", server_label = "s" }]'
    )
    async with scripted(known) as box, strict_sdk(box) as sdk:
        whole = await sdk.responses.create(model="m", input="x")
        assert [item.type for item in whole.output] == ["custom_tool_call", "mcp_approval_request"]
        async with sdk.responses.stream(model="m", input="x") as stream:
            kinds = [event.type async for event in stream]
        assert "response.custom_tool_call_input.delta" in kinds
        with pytest.raises(openai.BadRequestError, match="No tool output found"):
            await sdk.responses.create(model="m", input="y", previous_response_id=whole.id)
    async with scripted('items = [{ type = "from_the_future", id = "f1" }]') as box:
        async with strict_sdk(box) as sdk:
            with pytest.raises(openai.APIResponseValidationError):
                await sdk.responses.create(model="m", input="x")
        async with strict_sdk(box, _strict_response_validation=False) as lenient:
            unknown: Any = (await lenient.responses.create(model="m", input="x")).output[0]
            assert unknown.type == "from_the_future"


async def test_a_demanded_tool_is_called() -> None:
    """A tool that is demanded is called once, with arguments that fit; an unknown one is refused."""
    other: FunctionToolParam = {**LOOK, "name": "other"}
    tools: list[Any] = [other, LOOK]
    async with Sandbox() as box, strict_sdk(box) as sdk:

        async def called(choice: Any) -> str:
            item = (await sdk.responses.create(model="m", input="x", tools=tools, tool_choice=choice)).output[0]
            assert item.type == "function_call"
            assert item.arguments == '{"city":"","unit":"c","days":1,"note":""}'
            return item.name

        one = {"type": "function", "name": "look"}
        assert await called("required") == "other"
        assert await called(one) == "look"
        assert await called({"type": "allowed_tools", "mode": "required", "tools": [one]}) == "look"
        for choice in ("perhaps", {"type": "allowed_tools", "mode": "auto", "tools": [one | {"name": "no"}]}):
            with pytest.raises(openai.BadRequestError) as caught:
                await sdk.responses.create(model="m", input="x", tools=tools, tool_choice=choice)  # type: ignore[call-overload]
            assert caught.value.param == "tool_choice"
        free = await sdk.responses.create(model="m", input="call look", tools=tools, tool_choice="none")
        assert free.output_text == "Done."


def test_fitting_values_are_plain() -> None:
    """Constants, enumerations, optional and nested values each have a plainest one."""
    nested = {"type": "object", "properties": {"a": {"const": 7}, "b": {}}, "required": ["a"]}
    assert fitting(nested) == {"a": 7}
    assert fitting({"type": ["string", "null"]}, 1) == ""
    assert fitting({"type": "array", "items": nested}, 1) == []


async def test_a_late_answer_to_an_asynchronous_tool_is_taken() -> None:
    """A call that is marked as asynchronous may be answered in a later request, others may not."""
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    said = {"role": "user", "content": "and?"}
    async with Sandbox() as box, strict_sdk(box) as sdk:
        late: list[Any] = [call | {"async": True}, said]
        assert (await sdk.responses.create(model="m", input=late)).output_text == "You said: and?"
        done: list[Any] = [*late, {"type": "function_call_output", "call_id": "c", "output": "ok"}]
        await sdk.responses.create(model="m", input=done)
        early: list[Any] = [call, said]
        with pytest.raises(openai.BadRequestError):
            await sdk.responses.create(model="m", input=early)


@pytest.mark.parametrize(("top", "found"), [("", False), ('store = "lenient"', True)])
async def test_storing_can_be_lenient(top: str, found: bool) -> None:  # noqa: FBT001 - a parameter
    """A response that is not to be stored can't be gone on from, unless the script is lenient."""
    async with scripted('text = "x"', top) as box, strict_sdk(box) as sdk:
        first = await sdk.responses.create(model="m", input="x", store=False)
        again = sdk.responses.create(model="m", input="y", previous_response_id=first.id)
        if found:
            assert (await again).status == "completed"
        else:
            with pytest.raises(openai.BadRequestError, match="not found"):
                await again


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        ('status = 503\nheaders = { retry-after-ms = "1" }', 3),
        ('status = 503\nheaders = { x-should-retry = "false" }', 1),
        ('status = 400\nheaders = { x-should-retry = "true", retry-after-ms = "1" }', 3),
        ("status = 429\nretry_after = 121", 1),
        ("status = 403", 1),
    ],
)
async def test_headers_say_whether_to_come_again(fault: str, attempts: int) -> None:
    """The SDK comes again as the headers of the faults file tell it, and is counted."""
    asked = []
    faults = parse_faults(f'[[fault]]\nroute = "POST /v1/*"\n{fault}')

    async def count(request: Any) -> None:
        asked.append(request.headers["x-stainless-retry-count"])

    async with Sandbox(faults=faults) as box, strict_sdk(box, max_retries=2) as sdk:
        sdk._client.event_hooks["request"].append(count)
        with pytest.raises(openai.APIStatusError):
            await sdk.responses.create(model="m", input="x")
    assert asked == [str(number) for number in range(attempts)]


async def test_the_journal_counts_attempts() -> None:
    """The journal has every request that was answered, with the attempt that it was."""
    faults = parse_faults('[[fault]]\nstatus = 503\ntimes = 1\nheaders = { retry-after-ms = "1" }')
    async with Sandbox(faults=faults) as box, strict_sdk(box, max_retries=1) as sdk:
        await sdk.responses.create(model="m", input="x")
        assert [(asked.body["input"], asked.attempt) for asked in box.model.journal] == [("x", "1")]


async def test_a_key_is_of_one_request() -> None:
    """An idempotency key with another request is refused, as long as it is remembered."""
    async with Sandbox() as box, strict_sdk(box, default_headers={"Idempotency-Key": "k"}) as sdk:
        await sdk.responses.create(model="m", input="x")
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.responses.create(model="m", input="y")
        assert caught.value.code == "idempotency_key_reused"


async def test_the_synchronous_runner_runs() -> None:
    """The SDK's tool runner for threads, which writes every step into a ledger, ends with the text as well."""
    asked: list[object] = []

    def look(arguments: dict[str, object]) -> str:
        asked.append(arguments["city"])
        return "sunny"

    def run(url: str) -> str:
        with OpenAI(base_url=url, api_key="any", max_retries=0, _strict_response_validation=True) as sdk:
            runner = ResponsesToolRunner(functions=[RegisteredFunction(LOOK, look)])
            said = 'call look {"city": "Paris", "unit": "c", "days": 1, "note": null}'
            ledger = ResponsesToolLedger("run", saved.append)
            return runner.run(sdk, {"model": "m", "input": said, "store": False}, ledger=ledger).output_text

    saved: list[object] = []
    async with Sandbox() as box:
        assert await asyncio.to_thread(run, box.model_url) == "Done."
    assert asked == ["Paris"]
    assert len(saved) > 2
