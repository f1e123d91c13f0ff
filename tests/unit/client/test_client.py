"""The client: what would not be understood is refused before it is written, and waiting is never a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletionMessage
from tests.support.approval_values import APPROVAL, vote
from tests.support.reply_values import completed, reply, write

from callgate.client.client import Client
from callgate.client.reading import format_of
from callgate.clock import SystemClock
from callgate.events import ids, topics
from callgate.events.codec import MAX_RECORD_BYTES, decode
from callgate.events.event import Event
from callgate.events.outcomes import OutcomeObserved
from callgate.events.turns import ActionReply, TurnCompleted, TurnOrigin, TurnRecorded
from callgate.failures import BadInput
from callgate.log.address import open_log
from callgate.log.port import Log, Outgoing

ORIGIN = TurnOrigin(tenant="acme", session="s-1", turn="1", agent="bot")
RESPONSE = {"id": "resp_1", "object": "response", "output": []}


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    """An embedded log in memory."""
    opened = await open_log("sqlite://:memory:", clock=SystemClock())
    yield opened
    await opened.close()


async def _everything(log: Log, topic: str) -> list[tuple[int, Event]]:
    found: list[tuple[int, Event]] = []
    for partition in range(log.partitions):
        found += [(partition, decode(each.value, each.headers).event) async for each in log.scan(topic, partition)]
    return found


async def test_a_recorded_turn_is_written_home(log: Log) -> None:
    """The turn lands where its session lives, and the key that comes back names the same place."""
    key = await Client(log, SystemClock()).record(ORIGIN, RESPONSE)
    ((partition, event),) = await _everything(log, topics.TURNS.name)
    assert isinstance(event, TurnRecorded)
    assert ids.partition_of(key) == partition
    assert event.format == "responses"
    assert msgspec.json.decode(event.response) == RESPONSE


async def test_an_answer_may_be_what_the_openai_package_gave(log: Log) -> None:
    """A typed answer is recorded as its API sent it, without the fields that were not there."""
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    await Client(log, SystemClock()).record(ORIGIN, ChatCompletionMessage.model_validate(message))
    ((_, event),) = await _everything(log, topics.TURNS.name)
    assert isinstance(event, TurnRecorded)
    assert (event.format, msgspec.json.decode(event.response)) == ("chat_completions", message)


@pytest.mark.parametrize("answer", ["text", [1], None, 7, {"output": object()}], ids=str)
async def test_what_is_no_answer_is_refused(log: Log, answer: Any) -> None:
    """Nothing is written for it, and the way out is named."""
    with pytest.raises(BadInput, match="as its API returned it"):
        await Client(log, SystemClock()).record(answer)
    assert await _everything(log, topics.TURNS.name) == []


@pytest.mark.parametrize("options", [{"session": 5}, {"turn": 7}, {"tenant": ["acme"]}], ids=str)
async def test_names_are_texts(log: Log, options: dict[str, Any]) -> None:
    """What would name a turn and is no text is refused by its own name, as is one item where a list belongs."""
    with pytest.raises(BadInput, match=next(iter(options))):
        await Client(log, SystemClock()).run("hi", "any", **options)
    with pytest.raises(BadInput, match="input"):
        await Client(log, SystemClock()).run({"role": "user", "content": "hi"}, "any")  # type: ignore[arg-type]


async def test_what_was_sent_as_json_is_kept_byte_for_byte(log: Log) -> None:
    """The model's answer is not rewritten on its way."""
    raw = b'{ "role": "assistant",\n "content": "1.0e0 \\u00e9", "tool_calls": null }'
    await Client(log, SystemClock()).record(ORIGIN, raw)
    ((_, event),) = await _everything(log, topics.TURNS.name)
    assert isinstance(event, TurnRecorded)
    assert (event.format, bytes(event.response)) == ("chat_completions", raw)


@pytest.mark.parametrize(
    ("response", "shape"),
    [
        (b'{"output": []}', "responses"),
        (b'{"role": "assistant", "content": "hi"}', "chat_completions"),
        (b'{"choices": [{"message": {}}]}', "chat_completions"),
    ],
)
def test_the_shape_is_recognised(response: bytes, shape: str) -> None:
    """A framework's answer is taken as it is."""
    assert format_of(response) == shape


@pytest.mark.parametrize(
    "response", [b"", b"{", b"[]", b"{}", b'{"output": 1}', b'{"role": "user"}', b'{"choices": 1}']
)
def test_what_is_no_answer_is_bad_input(response: bytes) -> None:
    """What is neither shape is refused with the way out."""
    with pytest.raises(BadInput, match="response"):
        format_of(response)


_BAD: dict[str, tuple[TurnOrigin, Any]] = {
    "no session": (msgspec.structs.replace(ORIGIN, session=""), RESPONSE),
    "a session too long": (msgspec.structs.replace(ORIGIN, session="x" * 257), RESPONSE),
    "no JSON": (ORIGIN, {"output": [], "x": object()}),
    "too large": (ORIGIN, {"output": ["x" * MAX_RECORD_BYTES]}),
    "a lone surrogate": (msgspec.structs.replace(ORIGIN, session="\ud800"), RESPONSE),
}


@pytest.mark.parametrize("name", sorted(_BAD))
async def test_what_no_reader_would_take_is_not_written(log: Log, name: str) -> None:
    """The agent learns at once, instead of waiting for a reply that never comes."""
    origin, response = _BAD[name]
    with pytest.raises(BadInput):
        await Client(log, SystemClock()).record(origin, response)
    assert await _everything(log, topics.TURNS.name) == []


async def test_a_vote_is_written_where_its_approval_is_counted(log: Log) -> None:
    """The position tells where the vote stands, and a forged id is refused."""
    client = Client(log, SystemClock())
    position = await client.vote(vote())
    assert (position.topic, position.partition) == (topics.VOTES.name, ids.partition_of(APPROVAL))
    with pytest.raises(BadInput, match="vote"):
        await client.vote(vote(approval_id="apr_999_x"))


async def test_an_outcome_must_name_something(log: Log) -> None:
    """An outcome of nothing is refused here, and one that names something is written."""
    client = Client(log, SystemClock())
    outcome = OutcomeObserved(outcome_id="o", tenant="acme", status="CHURN", observed_at=0.0)
    with pytest.raises(BadInput, match="names no action"):
        await client.observe(outcome)
    position = await client.observe(msgspec.structs.replace(outcome, external_ref="ticket"))
    assert position.topic == topics.OBSERVED.name


async def test_replies_come_as_they_are_written_and_end_with_the_turn(log: Log) -> None:
    """An agent sees where each call stands, only of its own turn, and stops by itself at the end."""
    client = Client(log, SystemClock())
    key = client.turn_key(ORIGIN)
    other = ids.turn_key(ids.partition_of(key) or 0, "acme", "s-2", "1")
    await write(log, reply(other), reply(key))
    seen: list[type] = []

    async def follow() -> None:
        seen.extend([type(reply) async for reply in client.replies(key)])

    follower = asyncio.create_task(follow())
    await write(log, completed(other), completed(key))
    async with asyncio.timeout(10):
        await follower
    assert seen == [ActionReply, TurnCompleted]


async def test_waiting_finds_what_was_said_before(log: Log) -> None:
    """A wait in another process, or a second one, finds the completed turn at once."""
    client = Client(log, SystemClock())
    key = client.turn_key(ORIGIN)
    await write(log, completed(key))
    for _ in range(2):
        ended = await client.wait(key, timeout=10)
        assert ended is not None
        assert ended.turn_key == key


async def test_a_wait_that_times_out_is_no_failure(log: Log) -> None:
    """None says that the turn goes on; a later wait finds its end."""
    client = Client(log, SystemClock())
    key = client.turn_key(ORIGIN)
    assert await client.wait(key, timeout=0.01) is None
    await write(log, completed(key))
    assert await client.wait(key, timeout=10) is not None


async def test_an_unreadable_reply_is_passed_over(log: Log) -> None:
    """A broken record among the replies does not end an agent's wait."""
    client = Client(log, SystemClock())
    key = client.turn_key(ORIGIN)
    await log.publish([Outgoing(topics.REPLIES.name, ids.partition_of(key) or 0, None, b"junk", ())])
    await write(log, completed(key))
    assert await client.wait(key, timeout=10) is not None


@pytest.mark.parametrize("key", ["", "trn", "trn_999_x"])
async def test_a_key_of_no_turn_is_bad_input(log: Log, key: str) -> None:
    """Waiting for what can't exist is refused instead of timing out."""
    with pytest.raises(BadInput, match="turn_key"):
        await Client(log, SystemClock()).wait(key, timeout=1)
