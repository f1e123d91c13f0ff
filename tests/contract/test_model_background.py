"""The sandbox's model in the background and in conversations, by the real SDK under strict validation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest
from openai import AsyncOpenAI
from tests.support.strict_sdk import strict_sdk

from callgate.clock import ManualClock
from callgate.sandbox.model.script import parse_script
from callgate.sandbox.service import Sandbox

SCRIPT = parse_script("""
[[scenario]]
text = "slow*"
[[scenario.round]]
text = "at last"
delay_seconds = 30

[[scenario]]
text = "fail*"
[[scenario.round]]
error = { code = "server_error", message = "no" }
""")


@pytest.fixture
async def sdk(clock: ManualClock) -> AsyncIterator[AsyncOpenAI]:
    """The SDK, which refuses what does not fit its types."""
    async with (
        Sandbox(script=SCRIPT, clock=clock) as box,
        strict_sdk(box) as made,
    ):
        yield made


async def states(sdk: AsyncOpenAI, name: str, looks: int) -> list[str | None]:
    """The status at each of some looks."""
    return [(await sdk.responses.retrieve(name)).status for _ in range(looks)]


async def test_a_background_response_comes_step_by_step(sdk: AsyncOpenAI) -> None:
    """It is queued, in progress and completed, and has no output before its end."""
    made = await sdk.responses.create(model="m", input="hello", background=True)
    assert (made.status, made.output, made.usage, made.background) == ("queued", [], None, True)
    with pytest.raises(openai.BadRequestError, match="is queued"):
        await sdk.responses.create(model="m", input="x", previous_response_id=made.id)
    assert await states(sdk, made.id, 3) == ["in_progress", "completed", "completed"]
    assert (await sdk.responses.retrieve(made.id)).output_text == "You said: hello"
    going_on = await sdk.responses.create(model="m", input="x", previous_response_id=made.id)
    assert going_on.status == "completed"
    failing = await sdk.responses.create(model="m", input="fail", background=True)
    assert await states(sdk, failing.id, 2) == ["in_progress", "failed"]


async def test_a_slow_one_takes_its_time(sdk: AsyncOpenAI, clock: ManualClock) -> None:
    """However often one looks, it is not done before its time; and the answer to the request itself is at once."""
    made = await sdk.responses.create(model="m", input="slow", background=True)
    assert await states(sdk, made.id, 3) == ["in_progress"] * 3
    await clock.advance(30)
    assert await states(sdk, made.id, 1) == ["completed"]


async def test_cancelling(sdk: AsyncOpenAI) -> None:
    """What is made in the background can be stopped, twice too; what is done is done; the rest is refused."""
    made = await sdk.responses.create(model="m", input="slow", background=True)
    for _ in range(2):
        assert (await sdk.responses.cancel(made.id)).status == "cancelled"
    assert await states(sdk, made.id, 2) == ["cancelled", "cancelled"]
    done = await sdk.responses.create(model="m", input="hello", background=True)
    await states(sdk, done.id, 2)
    assert (await sdk.responses.cancel(done.id)).status == "completed"
    plain = await sdk.responses.create(model="m", input="hello")
    with pytest.raises(openai.BadRequestError, match="synchronous"):
        await sdk.responses.cancel(plain.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.cancel("resp_none")


async def test_what_is_not_stored_is_kept_for_the_polling(sdk: AsyncOpenAI, clock: ManualClock) -> None:
    """A background response that is not stored is there for ten minutes, and nothing goes on from it."""
    made = await sdk.responses.create(model="m", input="hello", background=True, store=False)
    assert await states(sdk, made.id, 2) == ["in_progress", "completed"]
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.responses.create(model="m", input="x", previous_response_id=made.id)
    assert caught.value.code == "previous_response_not_found"
    await clock.advance(600)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(made.id)


async def test_a_stream_can_be_taken_up_where_it_broke(sdk: AsyncOpenAI) -> None:
    """A background stream says that it was queued, and is repeated from any event on, number by number."""
    stream = await sdk.responses.create(model="m", input="hello", background=True, stream=True)
    whole = [event async for event in stream]
    assert [event.type for event in whole[:3]] == ["response.created", "response.queued", "response.in_progress"]
    last = whole[-1]
    assert last.type == "response.completed"
    again = await sdk.responses.retrieve(last.response.id, stream=True, starting_after=3)
    assert [event async for event in again] == whole[4:]
    async with sdk.responses.stream(response_id=last.response.id) as followed:
        assert (await followed.get_final_response()).output_text == "You said: hello"


async def test_a_conversation_grows_with_every_answer(sdk: AsyncOpenAI) -> None:
    """What was said and answered is in the conversation, in order, page by page, and can be changed and deleted."""
    made = await sdk.conversations.create(metadata={"k": "v"}, items=[{"role": "user", "content": "first"}])
    answered = await sdk.responses.create(model="m", input="second", conversation=made.id)
    assert answered.conversation is not None
    assert answered.conversation.id == made.id
    items = [item async for item in sdk.conversations.items.list(made.id, limit=2, order="asc")]
    assert [item.type for item in items] == ["message", "message", "message"]
    assert len({item.id for item in items}) == 3
    added = await sdk.conversations.items.create(made.id, items=[{"role": "user", "content": "third"}])
    assert (await sdk.conversations.items.retrieve(added.last_id, conversation_id=made.id)).type == "message"
    assert (await sdk.conversations.items.delete(added.last_id, conversation_id=made.id)).id == made.id
    changed = await sdk.conversations.update(made.id, metadata={"k": "w"})
    assert (await sdk.conversations.retrieve(made.id)).metadata == changed.metadata == {"k": "w"}
    assert (await sdk.conversations.delete(made.id)).deleted is True
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.create(model="m", input="x", conversation=made.id)


async def test_an_unanswered_call_poisons_its_conversation(sdk: AsyncOpenAI) -> None:
    """Until the call is answered, nothing else can be said in the conversation."""
    made = await sdk.conversations.create()
    called = await sdk.responses.create(model="m", input="call look", conversation=made.id)
    call = called.output[0]
    assert call.type == "function_call"
    with pytest.raises(openai.BadRequestError, match="No tool output found"):
        await sdk.responses.create(model="m", input="hello?", conversation=made.id)
    answer = await sdk.responses.create(
        model="m",
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "seen"}],
        conversation=made.id,
    )
    assert answer.output_text == "Done."


async def test_conversations_are_refused_where_the_api_would(sdk: AsyncOpenAI) -> None:
    """Not with a previous response, not without storing, not with too many items at once."""
    made = await sdk.conversations.create()
    refused = [
        sdk.responses.create(model="m", input="x", conversation=made.id, previous_response_id="resp_x"),
        sdk.responses.create(model="m", input="x", conversation=made.id, store=False),
        sdk.conversations.create(items=[{"role": "user", "content": "x"}] * 21),
        sdk.conversations.create(metadata={"k": "v" * 513}),
    ]
    for found in await asyncio.gather(*refused, return_exceptions=True):
        assert isinstance(found, openai.BadRequestError)


async def test_counting_and_compacting(sdk: AsyncOpenAI) -> None:
    """Tokens are counted as the response counts them, and a compacted history can be gone on from."""
    answered = await sdk.responses.create(model="m", input="hello")
    assert answered.usage is not None
    counted = await sdk.responses.input_tokens.count(model="m", input="hello")
    assert counted.input_tokens > 0
    longer = await sdk.responses.input_tokens.count(model="m", input="hello", previous_response_id=answered.id)
    assert longer.input_tokens > counted.input_tokens
    compacted = await sdk.responses.compact(model="m", previous_response_id=answered.id)
    assert [item.type for item in compacted.output] == ["compaction"]
