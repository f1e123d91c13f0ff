"""Notices that an answer in the background has ended: they bring a look forward, and nothing else whatever is sent."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import orjson
import pytest
from aiohttp import ClientSession
from broker.local import free_ports
from tests.support.memory_log import MemoryLog
from tests.support.proposer_values import open_toolbox, origin
from tests.unit.proposer.test_background import BEHIND, QUEUED
from tests.unit.proposer.test_conversing import TEXT, Loop, loop, only, turn

from callgate.clock import ManualClock, SystemClock
from callgate.control.view import ControlView
from callgate.events import ids, topics
from callgate.events.codec import decode
from callgate.events.turns import AnswerAnnounced, TurnCompleted
from callgate.failures import BadInput, PermanentFailure, TemporaryFailure
from callgate.log.port import LogUnavailable, Outgoing, Position
from callgate.proposer import background
from callgate.proposer.announcing import PATH, Notices, check, taking
from callgate.proposer.handler import ProposerHandler
from callgate.proposer.openai_model import OpenaiModel
from callgate.sandbox.model.notices import signed
from callgate.settings import ModelSettings, ProposerSettings, Secret, Settings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.host import Host

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="
KEY = ids.turn_key(0, "acme", "s", "1")
ANSWER = orjson.dumps({"metadata": {"callgate_turn": KEY}})
SETTINGS = ModelSettings(
    url="http://127.0.0.1:9", key=Secret("any"), background_seconds=60, webhook_port=1, webhook_secret=Secret(SECRET)
)


def notice(kind: str = "response.completed", name: str = "resp_b") -> bytes:
    """What the provider posts."""
    return orjson.dumps({"id": "evt_1", "object": "event", "created_at": 1, "type": kind, "data": {"id": name}})


def announced(name: str = "resp_b") -> AnswerAnnounced:
    """What comes of it on the log."""
    return AnswerAnnounced(turn_key=KEY, response_id=name, announced_at=0.0)


def due(run: Loop) -> float:
    """When the model is asked next."""
    (timer,) = [each for name, each in run.work.timers.items() if name.startswith("asked/")]
    return timer.due


async def begun() -> Loop:
    """A turn whose answer is being made in the background, and is to be looked at later."""
    run = loop(QUEUED, QUEUED, [TEXT])
    await run.work.deliver(turn(options=BEHIND))
    assert await run.ask() == []
    assert due(run) > run.work.clock.now()
    return run


async def test_what_is_announced_is_looked_at_at_once() -> None:
    """The look is due now; where the answer is not there after all, the next one is due as it would have been."""
    run = await begun()
    assert await run.work.deliver(announced()) == []
    assert due(run) == run.work.clock.now()
    assert await run.ask() == []
    assert due(run) > run.work.clock.now()
    await run.work.deliver(announced())
    (done,) = only(await run.ask(), TurnCompleted)
    assert done.status == "completed"
    assert run.model.asked[1:] == [{"look": "resp_b"}] * 2


async def test_what_the_turn_does_not_wait_for_changes_nothing() -> None:
    """Another answer's id, one that is there already, a turn that is over or unknown: the record is only done."""
    run = await begun()
    before = dict(run.work.timers)
    assert await run.work.deliver(announced("resp_other")) == []
    unknown = msgspec.structs.replace(announced(), turn_key=ids.turn_key(0, "acme", "s", "unknown"))
    assert await run.work.deliver(unknown) == []
    assert run.work.timers == before
    await run.ask()
    await run.ask()
    assert not run.waits
    assert await run.work.deliver(announced()) == []
    assert not run.waits


async def test_an_early_notice_begins_nothing() -> None:
    """Before the answer's id is known here, a notice does not ask the model a second time."""
    run = loop(QUEUED, [TEXT])
    await run.work.deliver(turn(options=BEHIND))
    before = dict(run.work.timers)
    await run.work.deliver(announced())
    assert run.work.timers == before


async def test_without_a_model_a_notice_is_no_trouble() -> None:
    """A proposer that runs no model lets it pass."""
    handler = ProposerHandler(open_toolbox(), ProposerSettings(), Metrics(TelemetrySettings()))
    work = replace((await begun()).work, handler=handler)
    assert await work.deliver(announced()) == []
    assert work.dead == []


async def test_the_notice_waits_behind_what_is_being_asked() -> None:
    """It is in the lane in which the model is asked, so that it finds the id that this leaves."""
    run = await begun()
    (timer,) = [each for name, each in run.work.timers.items() if name.startswith("asked/")]
    assert run.work.handler.lane(announced(), None) == timer.lane  # type: ignore[arg-type]


async def test_the_answer_says_whose_it_is() -> None:
    """A request for the background names its turn beside the agent's own labels; no other request does."""
    run = loop(QUEUED)
    await run.work.deliver(turn(options=msgspec.Raw(b'{"background": true, "metadata": {"a": "b"}}')))
    await run.ask()
    assert run.model.asked[0]["metadata"] == {"a": "b", "callgate_turn": KEY}
    plain = loop([TEXT])
    await plain.work.deliver(turn())
    await plain.ask()
    assert "metadata" not in plain.model.asked[0]


def test_labels_keep_to_the_providers_limit() -> None:
    """With sixteen labels of the agent's own there is no room, and the request stays as it was."""
    full = {"metadata": {str(number): "" for number in range(16)}}
    assert background.labelled(full, KEY) == full
    assert background.labelled({"metadata": "odd"}, KEY) == {"metadata": "odd"}
    assert background.turn_of(orjson.dumps(background.labelled({"metadata": None}, KEY))) == KEY


@pytest.mark.parametrize(
    "response", [b"", b"[]", b"{}", b'{"metadata":[]}', b'{"metadata":{"callgate_turn":7}}', b'{"metadata":null}']
)
def test_an_answer_may_name_no_turn(response: bytes) -> None:
    """Whatever the provider answers, there is a turn's key in it or none."""
    assert background.turn_of(response) is None


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (notice(), "resp_b"),
        (notice("response.cancelled"), "resp_b"),
        (notice("response.queued"), None),
        (notice("batch.completed"), None),
        (notice(name="../models"), None),
        (b"[]", None),
        (b"", None),
        (b'{"type": "response.completed"}', None),
    ],
)
def test_only_ends_of_answers_are_read(body: bytes, found: str | None) -> None:
    """Everything else that a provider may post is not about an answer that is waited for."""
    assert background.ended(body) == found


@dataclass
class Fake:
    """A provider that answers, or fails, every look in the same way."""

    answer: bytes | Exception = ANSWER
    authentic: bool = True
    looked: list[str] = field(default_factory=list)

    def genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        """See `Provider.genuine`."""
        return self.authentic

    async def look(self, response_id: str) -> bytes:
        """See `Provider.look`."""
        self.looked.append(response_id)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Down(MemoryLog):
    """A log that can't be written."""

    async def publish(self, records: Any) -> list[Position]:
        """See `Log.publish`."""
        raise LogUnavailable("full")


async def test_a_notice_comes_to_its_turns_home() -> None:
    """It is written once, where the turn is, and says which answer has ended."""
    written: list[Outgoing] = []

    class Written(MemoryLog):
        async def publish(self, records: Any) -> list[Position]:
            written.extend(records)
            return []

    key = ids.turn_key(5, "acme", "s", "1")
    provider = Fake(orjson.dumps({"metadata": {"callgate_turn": key}}))
    assert await Notices(provider, Written(partitions=8), ManualClock()).take({}, notice()) == "passed"
    (record,) = written
    assert (record.topic, record.partition) == (topics.TURNS.name, 5)
    event = decode(record.value or b"", record.headers).event
    assert isinstance(event, AnswerAnnounced)
    assert (event.turn_key, event.response_id) == (key, "resp_b")


async def test_of_a_forged_notice_nothing_is_read() -> None:
    """Nobody is asked about it, and nothing is written."""
    provider, log = Fake(authentic=False), Down()
    assert await Notices(provider, log, ManualClock()).take({}, notice()) == "forged"
    assert provider.looked == []


@pytest.mark.parametrize(
    ("provider", "body", "outcome"),
    [
        (Fake(), notice("batch.completed"), "ignored"),
        (Fake(PermanentFailure("404")), notice(), "ignored"),
        (Fake(b"{}"), notice(), "ignored"),
        (Fake(orjson.dumps({"metadata": {"callgate_turn": ids.turn_key(7, "a", "s", "1")}})), notice(), "ignored"),
        (Fake(TemporaryFailure("busy")), notice(), "failed"),
        (Fake(), notice(), "failed"),
    ],
    ids=["another kind", "unknown there", "no turn", "a turn of another log", "the provider fails", "the log is down"],
)
async def test_what_can_not_be_passed_on(provider: Fake, body: bytes, outcome: str) -> None:
    """What is nobody's is taken and forgotten; only what may work later is asked for again."""
    assert await Notices(provider, Down(), ManualClock()).take({}, body) == outcome


def _headers(body: bytes, *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    return signed(secret, "evt_1", int(time.time() if at is None else at), body)


def test_the_sdk_tells_the_provider_from_others() -> None:
    """Only an untouched body under our secret and of these minutes is genuine, and no header or body makes it raise."""
    model, body = OpenaiModel(SETTINGS, SystemClock()), notice()
    good = _headers(body)
    assert model.genuine(good, body)
    assert model.genuine({name.title(): value for name, value in good.items()}, body)
    assert not model.genuine(good, body + b" ")
    assert not model.genuine(_headers(body, secret="whsec_b3RoZXItb3RoZXItb3RoZXI="), body)
    assert not model.genuine(_headers(body, at=time.time() - 600), body)
    assert not model.genuine(_headers(body, at=time.time() + 600), body)
    assert not model.genuine({}, body)
    for name in good:
        if name.startswith("webhook"):
            assert not model.genuine({each: value for each, value in good.items() if each != name}, body)
            for odd in ("", "é", "9" * 5000, "v1,", "\udcff"):
                assert not model.genuine({**good, name: odd}, body)
    assert not model.genuine(_headers(b"\xff\xfe"), b"\xff\xfe")


@pytest.mark.parametrize(
    ("change", "field_", "problem"),
    [
        ({"key": Secret("")}, "PORT", "no model is"),
        ({"background_seconds": 0.0}, "PORT", "no answer may be made"),
        ({"webhook_secret": Secret("")}, "SECRET", "not set"),
        ({"webhook_secret": Secret("whsec_short")}, "SECRET", "fewer than"),
        ({"webhook_secret": Secret("whsec_abcdefghijklmnopqrstu")}, "SECRET", "no base64"),
    ],
)
def test_settings_that_can_not_work_are_refused(change: dict[str, Any], field_: str, problem: str) -> None:
    """Who opens the port is told what is missing, and no message quotes a secret."""
    with pytest.raises(BadInput) as caught:
        check(replace(SETTINGS, **change))
    assert caught.value.field == f"CALLGATE_MODEL_WEBHOOK_{field_}"
    assert problem in str(caught.value)
    assert "abcdef" not in str(caught.value)
    check(replace(SETTINGS, webhook_port=0, **change))
    check(SETTINGS)


async def test_the_endpoint_answers_by_what_became_of_it() -> None:
    """Taken is 204, forged 400, to be sent again 503; no other path and method is there, and nothing large is read."""
    (port,) = free_ports(1)
    metrics, log = Metrics(TelemetrySettings()), Down()
    host = Host(
        log=log,
        clock=SystemClock(),
        settings=Settings(model=replace(SETTINGS, webhook_port=port)),
        metrics=metrics,
        control=ControlView(log),
    )
    provider = Fake()
    async with taking(host, provider) as url, ClientSession() as session:
        assert url == f"http://127.0.0.1:{port}{PATH}"

        async def posted(body: bytes, to: str = url) -> int:
            async with session.post(to, data=body) as answered:
                return answered.status

        assert await posted(notice()) == 503
        assert await posted(notice("batch.completed")) == 204
        provider.authentic = False
        assert await posted(notice()) == 400
        assert await posted(b"x" * 100_000) == 413
        assert await posted(b"", f"http://127.0.0.1:{port}/") == 404
        async with session.get(url) as answered:
            assert answered.status == 405
        with pytest.raises(BadInput, match="can't be listened on"):
            async with taking(host, provider):
                pass
    shown = metrics.exposition().decode()
    for outcome in ("failed", "ignored", "forged"):
        assert f'callgate_model_notices_total{{outcome="{outcome}"}} 1.0' in shown


async def test_without_a_port_nothing_listens() -> None:
    """Notices are off until they are asked for."""
    log = MemoryLog()
    host = Host(
        log=log,
        clock=SystemClock(),
        settings=Settings(),
        metrics=Metrics(TelemetrySettings()),
        control=ControlView(log),
    )
    async with taking(host, Fake()) as url:
        assert url is None


def test_a_turn_is_where_its_key_says() -> None:
    """The key that these tests use is the one of the turn that they submit."""
    given = origin()
    assert ids.turn_key(0, given.tenant, given.session, given.turn) == KEY
