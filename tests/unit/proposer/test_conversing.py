"""The model loop's own steps: every answer counts once, every crash asks again, and a turn has one end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import orjson
import pytest
from tests.support.handler_bench import HandlerBench
from tests.support.memory_log import MemoryLog
from tests.support.proposer_values import NOW, finished, function_call, open_toolbox, origin

from callgate.control.scopes import Switches
from callgate.events.actions import ActionProposed
from callgate.events.control import ControlChanged
from callgate.events.event import Event
from callgate.events.topics import IDENTITY_WINDOW
from callgate.events.turns import ActionReply, TurnCompleted, TurnSubmitted
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.proposer.asking import KeyRefused, Told
from callgate.proposer.conversing import Conversing
from callgate.proposer.handler import ProposerHandler
from callgate.settings import ModelSettings, Settings, TelemetrySettings
from callgate.telemetry.metrics import Metrics

E = TypeVar("E", bound=Event)

TEXT = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Done."}]}
USAGE = {"input_tokens": 10, "output_tokens": 5}


@dataclass
class Scripted:
    """A model that answers, or fails, in turn."""

    answers: list[list[Any] | Exception | bytes]
    asked: list[dict[str, Any]] = field(default_factory=list)
    refused: str | None = None

    async def look(self, response_id: str) -> bytes:
        """See `Model.look`."""
        return await self.ask({"look": response_id})

    async def cancel(self, response_id: str) -> None:
        """See `Model.cancel`."""
        self.asked.append({"cancel": response_id})

    async def ask(self, body: Mapping[str, Any], told: Told | None = None, *, once: str | None = None) -> bytes:
        """See `Model.ask`."""
        self.asked.append(orjson.loads(orjson.dumps(body)))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            return answer
        number = len(self.asked)
        return orjson.dumps({"id": f"resp_{number}", "status": "completed", "output": answer, "usage": USAGE})


@dataclass
class Loop:
    """A proposer with a model, on a bench."""

    work: HandlerBench
    model: Scripted
    metrics: Metrics
    switches: Switches = field(default_factory=Switches)

    @property
    def waits(self) -> bool:
        """Whether the model is to be asked."""
        return any(name.startswith("asked/") for name in self.work.timers)

    async def ask(self) -> list[Event]:
        """What comes of asking the model."""
        (name,) = [name for name in self.work.timers if name.startswith("asked/")]
        timer = self.work.timers[name]
        try:
            return await self.work.fire(name)
        except TemporaryFailure:
            self.work.timers[name] = timer  # the worker keeps a timer that failed
            raise


def loop(*answers: list[Any] | Exception | bytes) -> Loop:
    """A model that gives these answers."""
    model, metrics = Scripted(list(answers)), Metrics(TelemetrySettings(tenants=("acme",)))
    box = open_toolbox()
    settings = Settings(model=ModelSettings(patience_seconds=100, background_seconds=60))
    found: list[Loop] = []
    handler = ProposerHandler(
        box,
        settings.proposer,
        metrics,
        lambda tell: Conversing(
            model, box, settings, metrics, log=MemoryLog(), switches=lambda: found[0].switches, tell=tell
        ),
    )
    found.append(Loop(HandlerBench(handler), model, metrics))
    return found[0]


def turn(said: str = "hi", **changes: Any) -> TurnSubmitted:
    """A turn for the model."""
    fields: dict[str, Any] = {"origin": origin(), "model": "m", "input": msgspec.Raw(orjson.dumps(said))}
    return TurnSubmitted(**{**fields, "submitted_at": NOW, **changes})


def only(events: list[Event], kind: type[E]) -> list[E]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


async def test_two_rounds_end_in_one_completed_turn() -> None:
    """The model hears its own items and every answer, is asked once for each round, and its tokens are added up."""
    calls = [function_call(call_id="c1", arguments='{"n":1}'), function_call(call_id="c2", arguments='{"n":2}')]
    run = loop(calls, [function_call(call_id="c3")], [TEXT])
    assert await run.work.deliver(turn()) == []
    first = only(await run.ask(), ActionProposed)
    assert [action.ref.round for action in first] == [0, 0]
    assert not run.waits
    assert [type(each) for each in await run.work.deliver(finished(first[1], output="two"))] == [ActionReply]
    assert not run.waits
    assert [type(each) for each in await run.work.deliver(finished(first[0], output="one"))] == [ActionReply]
    (second,) = only(await run.ask(), ActionProposed)
    assert second.ref.round == 1
    await run.work.deliver(finished(second, "blocked", verdict="block", told="No."))
    (done,) = only(await run.ask(), TurnCompleted)
    assert (done.status, done.rounds) == ("completed", 3)
    assert orjson.loads(bytes(done.usage or b"")) == {"input_tokens": 30, "output_tokens": 15, "total_tokens": 45}
    items = orjson.loads(bytes(done.items))
    assert [item.get("call_id") for item in items] == ["c1", "c2", "c1", "c2", "c3", "c3", None]
    assert [item.get("output") for item in items[2:4]] == ["one", "two"]
    assert run.model.asked[2]["input"] == [{"role": "user", "content": "hi"}, *items[:-1]]
    execution = orjson.loads(bytes(done.execution))
    assert [event["status"] for event in execution["events"]] == ["executed", "executed", "blocked"]
    shown = run.metrics.exposition().decode()
    assert 'callgate_model_tokens_total{agent="bot",direction="input",tenant="acme"} 30.0' in shown


async def test_nothing_of_a_completed_turn_stays_but_its_name() -> None:
    """Answers, ends and what was asked are dropped with the end; the name stays for its window, then goes too."""
    run = loop([function_call()], [TEXT])
    await run.work.deliver(turn())
    (action,) = only(await run.ask(), ActionProposed)
    await run.work.deliver(finished(action))
    await run.ask()
    (name,) = run.work.table.entries
    assert name.startswith("turn/")
    assert list(run.work.timers) == [name]
    assert await run.work.deliver(turn()) == []
    await run.work.clock.advance(IDENTITY_WINDOW)
    await run.work.fire(name)
    assert run.work.table.entries == {}


async def test_an_answer_that_was_not_committed_is_asked_for_again() -> None:
    """After a crash before the commit the next answer is the one that counts; the ids are those of its calls."""
    run = loop([function_call(call_id="lost")], [function_call(call_id="kept")], [TEXT])
    await run.work.deliver(turn())
    entries, timers = dict(run.work.table.entries), dict(run.work.timers)
    (lost,) = only(await run.ask(), ActionProposed)
    run.work.table.entries, run.work.timers = entries, timers
    (kept,) = only(await run.ask(), ActionProposed)
    assert run.model.asked[0] == run.model.asked[1]
    assert (kept.ref.call_id, kept.ref.id == lost.ref.id) == ("kept", False)
    await run.work.deliver(finished(kept))
    (done,) = only(await run.ask(), TurnCompleted)
    assert [item.get("call_id") for item in orjson.loads(bytes(done.items))] == ["kept", "kept", None]


async def test_everything_twice_is_as_once() -> None:
    """Repeats of the turn, of ends of this and of earlier rounds, and of the end change nothing."""
    run = loop([function_call(call_id="c1")], [function_call(call_id="c2")], [TEXT])
    for _ in range(2):
        await run.work.deliver(turn())
    (first,) = only(await run.ask(), ActionProposed)
    assert len(await run.work.deliver(finished(first))) == 1
    assert await run.work.deliver(finished(first)) == []
    (second,) = only(await run.ask(), ActionProposed)
    assert await run.work.deliver(finished(first)) == []
    await run.work.deliver(finished(second))
    assert len(only(await run.ask(), TurnCompleted)) == 1
    assert await run.work.deliver(finished(second)) == []
    assert await run.work.deliver(finished(first)) == []
    assert run.work.dead == []
    assert len(run.model.asked) == 3


async def test_a_model_that_can_not_be_asked_is_waited_for_and_then_given_up() -> None:
    """Within the patience the turn waits; after it the turn fails, with the reason and what it has reached so far."""
    run = loop([function_call()], TemporaryFailure("away"), TemporaryFailure("away"))
    await run.work.deliver(turn())
    (action,) = only(await run.ask(), ActionProposed)
    await run.work.deliver(finished(action))
    with pytest.raises(TemporaryFailure, match="away"):
        await run.ask()
    (name,) = [name for name in run.work.timers if name.startswith("asked/")]
    context = run.work._context(None, first_tried=run.work.clock.now() - 101)
    done = run.work._apply(await run.work.handler.on_timer(name, context))
    (end,) = only(done, TurnCompleted)
    assert (end.status, "away" in (end.reason or "")) == ("failed", True)
    assert [item["type"] for item in orjson.loads(bytes(end.items))] == ["function_call", "function_call_output"]


@pytest.mark.parametrize(
    ("answer", "status", "part"),
    [
        (PermanentFailure("the model answered 400: too long"), "failed", "too long"),
        (
            b'{"status":"failed","output":[],"error":{"code":"invalid_prompt","message":"no"}}',
            "failed",
            "invalid_prompt",
        ),
        (b'{"status":"incomplete","output":[{"type":"function_call","call_id":"c"}]}', "incomplete", "cut off"),
        (b'{"output": 1}', "failed", "can't be read"),
    ],
)
async def test_what_ends_a_turn_ends_it_once_and_runs_nothing(answer: Any, status: str, part: str) -> None:
    """An answer that can't be acted on completes the turn as what it is; none of its calls is proposed."""
    run = loop(answer)
    await run.work.deliver(turn())
    events = await run.ask()
    (done,) = only(events, TurnCompleted)
    assert (done.status, part in (done.reason or ""), len(events)) == (status, True, 1)
    assert orjson.loads(bytes(done.items)) == []
    assert not run.waits


@pytest.mark.parametrize(
    "failure", [TemporaryFailure("x"), KeyRefused("x"), b'{"type":"error","code":"server_error","message":"x"}']
)
async def test_what_passes_is_no_end(failure: Any) -> None:
    """A failure that passes leaves the turn as it was, for the worker to ask again."""
    run = loop(failure, [TEXT])
    await run.work.deliver(turn())
    with pytest.raises(TemporaryFailure):
        await run.ask()
    (done,) = only(await run.ask(), TurnCompleted)
    assert done.status == "completed"


async def test_a_refused_key_is_no_lost_patience() -> None:
    """However long a key is refused, the turn waits for it to be mended."""
    run = loop(KeyRefused("the key"), [TEXT])
    await run.work.deliver(turn())
    (name,) = [name for name in run.work.timers if name.startswith("asked/")]
    with pytest.raises(KeyRefused):
        await run.work.handler.on_timer(name, run.work._context(None, first_tried=run.work.clock.now() - 1e6))


async def test_switches_hold_the_model_too() -> None:
    """A hold keeps the model from being asked, a stop ends the turn, and neither costs a token."""
    run = loop([TEXT])
    await run.work.deliver(turn())
    hold = ControlChanged(kind="hold", active=True, agent="bot", changed_by="op", reason="look", changed_at=NOW)
    run.switches = Switches().apply(hold, 0)
    with pytest.raises(TemporaryFailure, match="held: look"):
        await run.ask()
    stop = ControlChanged(kind="stop", active=True, tenant="acme", changed_by="op", reason="no more", changed_at=NOW)
    run.switches = Switches().apply(stop, 1)
    (done,) = only(await run.ask(), TurnCompleted)
    assert (done.status, done.reason) == ("failed", "stopped: no more")
    assert run.model.asked == []


async def test_a_turn_that_can_not_be_run_is_refused_before_the_model_is_asked() -> None:
    """Options that the loop can't keep to are refused with their name."""
    run = loop()
    (done,) = only(await run.work.deliver(turn(options=msgspec.Raw(b'{"store":true}'))), TurnCompleted)
    assert (done.status, "`store`" in (done.reason or "")) == ("refused", True)


async def test_a_limit_of_no_rounds_still_lets_the_model_speak() -> None:
    """With no tool rounds the model may answer in words, and may not call."""
    run = loop([TEXT])
    await run.work.deliver(turn(max_tool_rounds=0))
    assert only(await run.ask(), TurnCompleted)[0].status == "completed"
    run = loop([function_call()])
    await run.work.deliver(turn(max_tool_rounds=0))
    assert only(await run.ask(), TurnCompleted)[0].status == "failed"
