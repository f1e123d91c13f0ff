"""The model's real SDK against the sandbox: every failure is one of ours, and says what it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from callgate.clock import ManualClock, SystemClock
from callgate.failures import BadInput, PermanentFailure, TemporaryFailure
from callgate.proposer.asking import KeyRefused
from callgate.proposer.openai_model import OpenaiModel
from callgate.sandbox.faults import parse_faults
from callgate.sandbox.model.script import parse_script
from callgate.sandbox.service import Sandbox
from callgate.settings import ModelSettings, Secret

BODY: Mapping[str, Any] = {"model": "m", "input": "hello", "store": False}
SECRET = "sk-very-secret"


def model(url: str, **changes: Any) -> OpenaiModel:
    return OpenaiModel(ModelSettings(url=url, key=Secret(SECRET), **changes), SystemClock())


def fault(text: str) -> Sandbox:
    """A sandbox whose model fails like this."""
    return Sandbox(faults=parse_faults(f'[[fault]]\nroute = "POST /v1/*"\n{text}'))


async def test_an_answer_comes_as_it_was_sent() -> None:
    """The bytes of the answer, whole or from the stream's last event, and each event to whoever listens."""
    heard: list[str] = []

    async def told(event: Mapping[str, Any]) -> None:
        heard.append(event["type"])

    async with Sandbox() as box, model(box.model_url) as sdk:
        whole = orjson.loads(await sdk.ask(BODY))
        streamed = orjson.loads(await sdk.ask({**BODY, "stream": True}, told))
    assert whole["status"] == streamed["status"] == "completed"
    assert [item["type"] for item in whole["output"]] == [item["type"] for item in streamed["output"]]
    assert (heard[0], heard[-1]) == ("response.created", "response.completed")
    assert [asked.attempt for asked in box.model.journal] == ["0", "0"]


@pytest.mark.parametrize(
    ("text", "kind", "delay", "part"),
    [
        ("status = 429\nretry_after = 7", TemporaryFailure, 7.0, "429"),
        ("status = 500", TemporaryFailure, None, "500"),
        ("status = 503", TemporaryFailure, None, "503"),
        ("status = 408", TemporaryFailure, None, "408"),
        ("status = 307", TemporaryFailure, None, "307"),
        ("status = 402", TemporaryFailure, None, "402"),
        ("status = 400", PermanentFailure, None, "injected_fault"),
        ("status = 404", PermanentFailure, None, "404"),
        ("status = 401", KeyRefused, None, "CALLGATE_MODEL_KEY"),
        ("status = 403", KeyRefused, None, "CALLGATE_MODEL_KEY"),
        ('body = "html"', TemporaryFailure, None, "no JSON"),
        ("delay_seconds = 5", TemporaryFailure, None, "in time"),
    ],
)
async def test_failures_are_told_apart(text: str, kind: type[Exception], delay: float | None, part: str) -> None:
    """What passes is temporary, what never will is permanent, a refused key is neither; none of them holds the key."""
    async with fault(text) as box, model(box.model_url, timeout_seconds=0.5) as sdk:
        with pytest.raises((TemporaryFailure, PermanentFailure)) as caught:
            await sdk.ask(BODY)
        assert len(box.model.journal) <= 1
        assert (sdk.refused is not None) == (kind is KeyRefused)
    assert type(caught.value) is kind
    assert part in str(caught.value)
    assert getattr(caught.value, "delay", None) == delay
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(("broken", "stream"), [("cut", True), ("no_end", True), ("cut", False)])
async def test_a_broken_answer_is_no_answer(broken: str, stream: bool) -> None:  # noqa: FBT001 - a parameter
    """A connection or stream that ends before the answer does is asked again later, whatever came of it."""
    script = parse_script(f'[[scenario]]\n[[scenario.round]]\ntext = "an answer of some length"\nfault = "{broken}"')
    async with Sandbox(script=script) as box, model(box.model_url) as sdk:
        with pytest.raises(TemporaryFailure):
            await sdk.ask({**BODY, "stream": stream})


async def test_an_error_event_is_the_answer() -> None:
    """An error in the stream is returned as it is, for the rules of rounds to judge."""
    script = parse_script('[[scenario]]\n[[scenario.round]]\ntext = "x"\nfault = "error_event"')
    async with Sandbox(script=script) as box, model(box.model_url) as sdk:
        assert orjson.loads(await sdk.ask({**BODY, "stream": True}))["code"] == "server_error"


async def test_a_model_that_fails_again_and_again_is_left_alone() -> None:
    """The breaker opens after so many failures, lets nothing through for its time, and then tries again."""
    clock = ManualClock()
    async with fault("status = 500\ntimes = 2") as box:
        found = ModelSettings(url=box.model_url, key=Secret("any"), breaker_failures=2, breaker_seconds=15)
        async with OpenaiModel(found, clock) as sdk:
            for _ in range(2):
                with pytest.raises(TemporaryFailure, match="500"):
                    await sdk.ask(BODY)
            with pytest.raises(TemporaryFailure, match="left alone") as alone:
                await sdk.ask(BODY)
            assert alone.value.delay == pytest.approx(15)
            await clock.advance(15)
            assert orjson.loads(await sdk.ask(BODY))["status"] == "completed"


async def test_nobody_there_is_temporary() -> None:
    """A model that can't be reached is asked again later."""
    async with asyncio.timeout(10), model("http://127.0.0.1:9/v1") as sdk:
        with pytest.raises(TemporaryFailure, match="reached"):
            await sdk.ask(BODY)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": "http://gateway.example/v1"}, "CALLGATE_MODEL_URL"),
        ({"url": "ftp://example.org"}, "CALLGATE_MODEL_URL"),
        ({"url": "nonsense"}, "CALLGATE_MODEL_URL"),
        ({"key": Secret("a\nb")}, "CALLGATE_MODEL_KEY"),
    ],
)
def test_what_can_not_be_used_is_said_at_the_start(changes: dict[str, Any], field: str) -> None:
    """Plain http to another host, what is no address, and a key that can't be sent name themselves."""
    with pytest.raises(BadInput) as caught:
        OpenaiModel(ModelSettings(**{"key": Secret("any"), **changes}), SystemClock())
    assert caught.value.field == field


async def test_a_gateway_of_ones_own_may_be_plain() -> None:
    """A host that the operator names may be asked over plain http."""
    named = ModelSettings(url="http://gateway:4000/v1", key=Secret("any"), plain_hosts=("gateway",))
    async with OpenaiModel(named, SystemClock()) as sdk:
        assert sdk.refused is None


async def test_an_answer_in_the_background_is_fetched_and_cancelled() -> None:
    """A repeat of one name begins nothing new; it runs until it is there, and one that is given up stays given up."""
    body = {**BODY, "background": True, "store": True}
    script = parse_script('[[scenario]]\n[[scenario.round]]\ntext = "late"\ndelay_seconds = 0.3')
    async with Sandbox(script=script) as box, model(box.model_url) as sdk:
        begun, again = [orjson.loads(await sdk.ask(body, once="one")) for _ in range(2)]
        assert (begun["status"], begun["output"], again["id"]) == ("queued", [], begun["id"])
        assert orjson.loads(await sdk.look(begun["id"]))["status"] == "in_progress"
        await asyncio.sleep(0.35)
        done = orjson.loads(await sdk.look(begun["id"]))
        assert (done["status"], done["output"][0]["content"][0]["text"]) == ("completed", "late")
        other = orjson.loads(await sdk.ask(body, once="two"))
        await sdk.cancel(other["id"])
        assert orjson.loads(await sdk.look(other["id"]))["status"] == "cancelled"
        with pytest.raises(PermanentFailure, match="404"):
            await sdk.look("resp_unknown")
