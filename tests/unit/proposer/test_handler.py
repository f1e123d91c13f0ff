"""The proposer's handler: turns in, actions out, ends in, replies out; everything twice is as once."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import orjson
import pytest
from tests.support.handler_bench import HandlerBench
from tests.support.proposer_values import (
    NOW,
    decision,
    finished,
    function_call,
    open_toolbox,
    origin,
    raw_turn,
    recorded_turn,
)

from callgate.events import ids
from callgate.events.actions import ActionDecided, ActionInDoubt, ActionProposed
from callgate.events.codec import MAX_RECORD_BYTES, encode
from callgate.events.event import Event
from callgate.events.home import home
from callgate.events.topics import DAY, IDENTITY_WINDOW
from callgate.events.turns import ActionReply, TurnCompleted, TurnSubmitted
from callgate.proposer.handler import ProposerHandler
from callgate.settings import ProposerSettings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.tools.toolbox import Toolbox

E = TypeVar("E", bound=Event)


def bench(toolbox: Toolbox | None = None, **changes: Any) -> HandlerBench:
    """A proposer on lease 0 of a log with one partition."""
    handler = ProposerHandler(toolbox or open_toolbox(), ProposerSettings(), Metrics(TelemetrySettings()))
    return HandlerBench(handler, **changes)


def only(events: list[Event], kind: type[E]) -> list[E]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def calls(count: int) -> list[dict[str, Any]]:
    """Distinct calls."""
    return [function_call(arguments=f'{{"n":{n}}}', call_id=f"c{n}") for n in range(count)]


async def propose(work: HandlerBench, *items: object) -> list[ActionProposed]:
    """The actions of a turn with these items."""
    return only(await work.deliver(recorded_turn(items)), ActionProposed)


async def test_a_turn_goes_its_whole_way() -> None:
    """Each call is proposed, each end is replied, and the last one completes the turn in the response's order."""
    work = bench()
    actions = await propose(work, *calls(3))
    assert [action.ref.position for action in actions] == [0, 1, 2]
    first = await work.deliver(finished(actions[2], output={"ok": 2}, request_id="req_1", risk_score=0.2))
    second = await work.deliver(finished(actions[0], "blocked", verdict="block", via="gate", told="No."))
    last = await work.deliver(finished(actions[1], "tool_error", error="boom"))
    assert [[type(event) for event in each] for each in (first, second, last)] == [
        [ActionReply],
        [ActionReply],
        [ActionReply, TurnCompleted],
    ]
    (done,) = only(last, TurnCompleted)
    assert done.status == "completed"
    assert [item["call_id"] for item in orjson.loads(bytes(done.items))] == ["c0", "c1", "c2"]
    assert orjson.loads(bytes(done.items))[2]["output"] == '{"ok":2}'
    assert bytes(done.llm_response) == bytes(recorded_turn(calls(3)).response)
    execution = orjson.loads(bytes(done.execution))
    assert [event["status"] for event in execution["events"]] == ["blocked", "tool_error", "executed"]
    assert execution["last"] == execution["events"][2]
    assert execution["last"]["decision"]["request_id"] == "req_1"
    assert execution["last"]["output"] == {"ok": 2}
    assert execution["last"]["risk_score"] == 0.2
    assert sorted(work.table.entries) == [f"turn/{actions[0].ref.turn_key}"]


async def test_everything_twice_is_as_once() -> None:
    """A record that comes again publishes nothing new and leaves the table as it was."""
    work = bench()
    turn = recorded_turn(calls(2))
    actions = only(await work.deliver(turn), ActionProposed)
    assert await work.deliver(turn) == []
    for action in actions:
        assert await work.deliver(finished(action))
        before = dict(work.table.entries)
        assert await work.deliver(finished(action)) == []
        assert await work.deliver(turn) == []
        assert work.table.entries == before
    assert work.dead == []


async def test_the_same_turn_differently_spaced_is_the_same() -> None:
    """White space in the resubmitted response does not make it another turn."""
    work = bench()
    assert await work.deliver(raw_turn(b'{"output":[]}'))
    assert await work.deliver(raw_turn(b'{ "output" : [ ] }')) == []
    assert work.dead == []


async def test_a_reused_turn_id_changes_nothing() -> None:
    """Other content under a turn's id is a dead letter, and the first turn goes on as if it had not come."""
    work = bench()
    (action,) = await propose(work, function_call())
    assert await work.deliver(recorded_turn([function_call(name="steal")])) == []
    assert work.dead == ["the turn's id was used before, with other content"]
    (done,) = only(await work.deliver(finished(action)), TurnCompleted)
    assert done.status == "completed"


async def test_a_turn_away_from_home_is_forwarded() -> None:
    """On a lease that is not the session's home the turn is only passed on, unchanged; at home it is read."""
    at = home("acme", "s", 8)
    turn = recorded_turn([function_call()])
    away = bench(lease=(at + 1) % 8, partitions=8)
    assert await away.deliver(turn) == [turn]
    assert away.table.entries == {}
    assert only(await bench(lease=at, partitions=8).deliver(turn), ActionProposed)


@pytest.mark.parametrize(
    ("raw", "format_"),
    [
        (b'{"error":{"code":"server_error"}}', "responses"),
        (b"[]", "responses"),
        (b"\xff", "responses"),
        (b"{}", "chat_completions"),
    ],
)
async def test_an_unreadable_turn_is_refused(raw: bytes, format_: str) -> None:
    """A response that can't be read ends its turn at once, with the reason, and only once."""
    work = bench()
    turn = raw_turn(raw, format_=format_)
    (done,) = only(await work.deliver(turn), TurnCompleted)
    assert done.status == "refused"
    assert done.reason
    assert bytes(done.items) == b"[]"
    assert await work.deliver(turn) == []


async def test_a_turn_without_calls_is_completed_at_once() -> None:
    """Nothing to run is complete, and what the provider carried out is recorded."""
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    (done,) = only(await bench().deliver(recorded_turn([search])), TurnCompleted)
    execution = orjson.loads(bytes(done.execution))
    assert done.status == "completed"
    assert execution == {
        "events": [
            {"tool": "web_search_call", "type": "web_search_call", "call_id": "ws_1", "status": "recorded"},
        ],
        "last": None,
    }


async def test_waiting_is_told_once_it_is_known_and_not_after_the_end() -> None:
    """A review and a doubt are told while the call waits; after its end they are old news."""
    work = bench()
    (action,) = await propose(work, function_call())
    review = ActionDecided(
        action=action, decision=decision("review", approval_id=ids.approval_id(0, action.ref.id, 1, 0, "action"))
    )
    doubt = ActionInDoubt(
        action=action,
        decision=decision(),
        token="tok_1",
        reason="timed out",
        claimed_at=NOW,
        horizon=None,
        doubted_at=NOW,
    )
    (asked,) = only(await work.deliver(review), ActionReply)
    (unsure,) = only(await work.deliver(doubt), ActionReply)
    assert (asked.status, asked.approval_id, asked.item) == ("approval_required", review.decision.approval_id, None)
    assert (unsure.status, unsure.item) == ("in_doubt", None)
    assert await work.deliver(ActionDecided(action=action, decision=decision())) == []
    await work.deliver(finished(action))
    assert await work.deliver(review) == []
    assert await work.deliver(doubt) == []


@pytest.mark.parametrize("age", [IDENTITY_WINDOW + 1, -2 * DAY])
async def test_a_turn_outside_the_window_is_refused(age: float) -> None:
    """A turn that is too old to be known, or dated into the future, runs nothing and is told so."""
    (done,) = only(await bench().deliver(recorded_turn([function_call()], submitted_at=NOW - age)), TurnCompleted)
    assert done.status == "refused"


async def test_a_turn_is_forgotten_after_the_window() -> None:
    """Its timer removes a completed turn; a turn that still waits is kept for another day."""
    work = bench()
    (action,) = await propose(work, function_call())
    name = f"turn/{action.ref.turn_key}"
    assert work.timers[name].due == NOW + IDENTITY_WINDOW
    await work.clock.advance(IDENTITY_WINDOW)
    await work.fire(name)
    assert work.timers[name].due == NOW + IDENTITY_WINDOW + DAY
    await work.deliver(finished(action))
    await work.fire(name)
    assert work.table.entries == {}
    assert work.timers == {}


async def test_a_given_up_turn_is_refused() -> None:
    """Whatever makes the worker give a turn up, its agent gets an end; a running turn is not disturbed."""
    work = bench()
    turn = recorded_turn([function_call()])
    (done,) = only(await work.give_up(turn, "defect"), TurnCompleted)
    assert (done.status, "defect" in (done.reason or "")) == ("refused", True)
    assert await work.deliver(turn) == []
    running = bench()
    await running.deliver(turn)
    assert await running.give_up(turn, "defect") == []


async def test_without_a_model_its_turns_are_refused_with_a_reason() -> None:
    """A turn that asks for the model to be run is dead-lettered and ended where no model is set up."""
    work = bench()
    turn = TurnSubmitted(origin=origin(), model="m", input=msgspec.Raw(b'"hi"'), submitted_at=NOW)
    (done,) = only(await work.deliver(turn), TurnCompleted)
    assert done.status == "refused"
    assert "CALLGATE_MODEL_KEY" in work.dead[0]


async def test_an_end_without_its_turn_is_a_dead_letter() -> None:
    """An end whose turn or position is unknown changes nothing."""
    (action,) = await propose(bench(), function_call())
    work = bench()
    assert await work.deliver(finished(action)) == []
    (known,) = await propose(work, function_call())
    astray = msgspec.structs.replace(known, ref=msgspec.structs.replace(known.ref, position=7))
    assert await work.deliver(finished(astray)) == []
    assert len(work.dead) == 2


async def test_a_result_that_cannot_be_delivered_still_ends_its_turn() -> None:
    """When a reply is given up, the turn is completed with what became of the call, without the result."""
    work = bench()
    (action,) = await propose(work, function_call())
    reply, done = await work.give_up(finished(action, output="x" * 1000), "too large")
    assert isinstance(reply, ActionReply)
    assert isinstance(done, TurnCompleted)
    assert "too large" in orjson.loads(bytes(done.items))[0]["output"]


@pytest.mark.parametrize(
    ("output", "told", "shown"),
    [
        ({"x": '"' * 200_000}, True, False),
        ({"x": "\\" * 390_000}, False, False),
        ({"x": "y" * 200_000}, True, True),
    ],
)
async def test_a_large_result_never_makes_a_record_that_cannot_be_written(
    *, output: object, told: bool, shown: bool
) -> None:
    """Escaping can double a result twice over: the model's answer is kept before the copy, and the end before both."""
    work = bench()
    (action, _) = await propose(work, *calls(2))
    (reply,) = only(await work.deliver(finished(action, output=output)), ActionReply)
    assert reply.item is not None
    assert ("too large" not in orjson.loads(bytes(reply.item))["output"]) == told
    (entry,) = [value for key, value in work.table.entries.items() if key.startswith("end/")]
    assert len(entry) <= MAX_RECORD_BYTES
    assert (orjson.loads(entry)["event"]["output"] is not None) == shown
    assert work.dead == []


@pytest.mark.parametrize(
    ("count", "size", "omitted"),
    [(2, 100, None), (3, 240_000, ["outputs"]), (5, 240_000, ["outputs", "llm_response", "items"])],
)
async def test_a_completed_turn_always_fits(count: int, size: int, omitted: list[str] | None) -> None:
    """Large results leave out what the agent has elsewhere, and never make a record that can't be written."""
    work = bench()
    events: list[Event] = []
    for action in await propose(work, *calls(count)):
        events = await work.deliver(finished(action, output="x" * size))
    (done,) = only(events, TurnCompleted)
    assert len(encode(done, source="t", time=NOW)[0]) <= MAX_RECORD_BYTES
    execution = orjson.loads(bytes(done.execution))
    assert execution.get("omitted") == omitted
    assert len(execution["events"]) == count


async def test_callers_are_answered() -> None:
    """A call that a program of the model made is answered with that program's name."""
    caller = {"type": "program", "caller_id": "p1"}
    work = bench()
    (action,) = await propose(work, function_call(caller=caller))
    (reply, _) = await work.deliver(finished(action, output=1))
    assert isinstance(reply, ActionReply)
    assert reply.item is not None
    assert orjson.loads(bytes(reply.item))["caller"] == caller


async def test_an_open_chat_turn_is_answered_as_chat() -> None:
    """A Chat Completions turn gets tool messages."""
    work = bench()
    message = {
        "role": "assistant",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "pay", "arguments": "{}"}}],
    }
    turn = raw_turn(orjson.dumps(message), format_="chat_completions")
    (action,) = only(await work.deliver(turn), ActionProposed)
    done = only(await work.deliver(finished(action, output="ok")), TurnCompleted)[0]
    assert orjson.loads(bytes(done.items)) == [{"role": "tool", "tool_call_id": "c1", "content": "ok"}]
