"""From replies to what a caller is given: whatever the order in which things are heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import orjson
import pytest
from tests.support.reply_values import completed, reply, write

from callgate.client import hearing
from callgate.client.following import Followers
from callgate.client.shapes import ended, text_of, waiting
from callgate.clock import SystemClock
from callgate.events import ids, topics
from callgate.events.event import Event
from callgate.events.turns import ActionReply, ReplyStreamed
from callgate.log.address import open_log
from callgate.log.port import Log

KEY = ids.turn_key(0, "acme", "s-1", "1")


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    """An embedded log in memory."""
    opened = await open_log("sqlite://:memory:", clock=SystemClock())
    yield opened
    await opened.close()


def standing(status: str, position: int = 0) -> ActionReply:
    """Where a call of the turn stands."""
    action = ids.action_id(KEY, 0, position, "c")
    return msgspec.structs.replace(reply(KEY), status=status, action_id=action, position=position)


def streamed(kind: str, sequence: int, **data: Any) -> ReplyStreamed:
    """A step of the turn's stream."""
    return ReplyStreamed(
        turn_key=KEY,
        tenant="acme",
        session="s-1",
        turn="1",
        round=0,
        sequence=sequence,
        kind=kind,
        data=msgspec.Raw(orjson.dumps(data)),
    )


def end(**changes: Any) -> Event:
    """The turn's end, with an execution."""
    execution = msgspec.Raw(b'{"events": [], "last": null}')
    return completed(KEY, execution=execution, llm_response=msgspec.Raw(b'{"output": []}'), **changes)


async def told(log: Log, *events: Event, seconds: float = 5.0) -> list[dict[str, Any]]:
    """The steps of a turn of which all this was said."""
    followers = Followers(log)
    await write(log, *events)
    async with (
        followers.subscribed(topics.REPLIES.name, 0, KEY) as replies,
        followers.subscribed(topics.STREAM.name, 0, KEY) as stream,
    ):
        return [step async for step in hearing.steps(replies, stream, KEY, seconds)]


async def test_a_standing_is_told_once_and_never_after_the_end(log: Log) -> None:
    """What the stream and the replies both say is one step, and what was overtaken is none."""
    call = ids.action_id(KEY, 0, 0, "c")
    steps = await told(
        log,
        standing("executed"),
        standing("approval_required"),
        standing("executed"),
        streamed("execution_event", 0, action_id=call, status="executed"),
        streamed("response_done", 1),
        end(),
    )
    assert [step["type"] for step in steps] == ["execution_event", "final_response", "response_done"]


async def test_a_stream_without_an_end_does_not_keep_the_caller(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream is best effort: when the turn has ended its last pieces are waited for, and not for ever."""
    monkeypatch.setattr(hearing, "STRAGGLERS_SECONDS", 0.05)
    steps = await told(log, streamed("llm_delta", 0, delta="Hi"), end(), seconds=60.0)
    assert [step["type"] for step in steps][-2:] == ["final_response", "response_done"]


async def test_a_failed_turn_says_why(log: Log) -> None:
    """The last step bears the turn's reason."""
    steps = await told(log, streamed("response_failed", 0), end(status="failed", reason="no model"))
    assert steps[-1] == {"type": "response_failed", "error": "no model"}
    assert steps[-2]["response"]["status"] == "failed"


async def test_a_slow_caller_is_not_struck_by_the_time_limit(log: Log) -> None:
    """The limit is for waiting: a caller that takes its time between two steps gets the rest all the same."""
    followers = Followers(log)
    await write(log, streamed("llm_delta", 0, delta="Hi"), streamed("response_done", 1), standing("executed"), end())
    found: list[str] = []
    async with (
        followers.subscribed(topics.REPLIES.name, 0, KEY) as replies,
        followers.subscribed(topics.STREAM.name, 0, KEY) as stream,
    ):
        async for step in hearing.steps(replies, stream, KEY, 0.3):
            found.append(step["type"])
            if len(found) == 1:
                await asyncio.sleep(0.4)
    assert sorted(found) == ["execution_event", "final_response", "llm_delta", "response_done"]


def test_a_waiting_turn_shows_the_call_that_waits() -> None:
    """An end stays an end although an older standing is heard after it; `last` is the last call that waits."""
    heard = [standing("executed", 0), standing("approval_required", 1), standing("approval_required", 0)]
    response = waiting(KEY, [*heard, standing("executed", 2)])
    assert [event["status"] for event in response["execution"]["events"]] == [
        "executed",
        "approval_required",
        "executed",
    ]
    assert response["execution"]["last"]["position"] == 1
    assert (response["status"], response["items"]) == ("waiting", [])
    assert waiting(KEY, [])["execution"] == {"events": [], "last": None}


def test_the_response_of_an_end_has_every_key() -> None:
    """Waiting or ended, a response has the same keys."""
    done = ended(completed(KEY))
    assert done.keys() == waiting(KEY, []).keys()


@pytest.mark.parametrize("response", [None, [], "x", {}, {"output": 3}, {"output": [None, {"type": "message"}]}])
def test_a_response_without_words_has_none(response: object) -> None:
    """Any shape of answer has a text, be it empty."""
    assert text_of(response) == ""
