"""The sandbox's webhook endpoints and notices, by the real SDK: created, delivered, verified and ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI
from tests.support.strict_sdk import strict_sdk

from callgate.clock import SystemClock
from callgate.listening import listening
from callgate.sandbox.model.script import parse_script
from callgate.sandbox.service import Sandbox

SCRIPT = parse_script("""
[[scenario]]
text = "slow*"
[[scenario.round]]
text = "at last"
delay_seconds = 60

[[scenario]]
text = "fail*"
[[scenario.round]]
error = { code = "server_error", message = "no" }
""")
ENDS = ["response.completed", "response.failed", "response.incomplete", "response.cancelled"]


@pytest.fixture
async def sdk() -> AsyncIterator[AsyncOpenAI]:
    """The SDK, which refuses what does not fit its types."""
    async with (
        Sandbox(script=SCRIPT, clock=SystemClock()) as box,
        strict_sdk(box) as made,
    ):
        yield made


@dataclass
class Receiver:
    """Somebody who takes notices, after having refused some."""

    refusals: int = 0
    url: str = ""
    taken: asyncio.Queue[tuple[Mapping[str, str], bytes]] = field(default_factory=asyncio.Queue)

    async def take(self, request: web.Request) -> web.Response:
        """Take one."""
        body = await request.read()
        if self.refusals:
            self.refusals -= 1
            return web.Response(status=503)
        self.taken.put_nowait((dict(request.headers), body))
        return web.Response(status=204)


@asynccontextmanager
async def receiving(refusals: int = 0) -> AsyncIterator[Receiver]:
    """A receiver on this machine."""
    receiver = Receiver(refusals)
    app = web.Application()
    app.router.add_post("/in", receiver.take)
    async with listening(app, "127.0.0.1", 0, field="port") as where:
        receiver.url = f"{where}/in"
        yield receiver


async def told(sdk: AsyncOpenAI, receiver: Receiver, secret: str) -> tuple[str, str]:
    """Type and answer's id of the next notice, which the SDK must take for genuine."""
    async with asyncio.timeout(20):
        headers, body = await receiver.taken.get()
    event = sdk.webhooks.unwrap(body, headers, secret=secret)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        sdk.webhooks.unwrap(body + b" ", headers, secret=secret)
    assert event.type in ENDS
    return event.type, event.data.id  # type: ignore[union-attr]  # all of ENDS have one


async def test_each_end_is_told_once(sdk: AsyncOpenAI) -> None:
    """Completed, failed and cancelled answers are told under their names, and the first is then there at a look."""
    async with receiving() as receiver:
        made = await sdk.webhooks.create(name="n", url=receiver.url, event_types=ENDS)  # type: ignore[arg-type]
        done = await sdk.responses.create(model="m", input="hello", background=True)
        assert done.status == "queued"
        assert await told(sdk, receiver, made.signing_secret) == ("response.completed", done.id)
        assert (await sdk.responses.retrieve(done.id)).status == "completed"
        failed = await sdk.responses.create(model="m", input="fail", background=True)
        assert await told(sdk, receiver, made.signing_secret) == ("response.failed", failed.id)
        slow = await sdk.responses.create(model="m", input="slow", background=True)
        for _ in range(2):
            await sdk.responses.cancel(slow.id)
        assert await told(sdk, receiver, made.signing_secret) == ("response.cancelled", slow.id)
        await sdk.responses.create(model="m", input="in the foreground")
        assert receiver.taken.empty()


async def test_a_notice_that_is_not_taken_comes_again(sdk: AsyncOpenAI) -> None:
    """It has the same id, and a signature that still holds."""
    async with receiving(refusals=1) as receiver:
        made = await sdk.webhooks.create(name="n", url=receiver.url, event_types=["response.completed"])
        done = await sdk.responses.create(model="m", input="hello", background=True)
        assert await told(sdk, receiver, made.signing_secret) == ("response.completed", done.id)


async def test_only_what_was_subscribed_is_sent(sdk: AsyncOpenAI) -> None:
    """Other kinds are not told, and after the end of a subscription nothing is."""
    async with receiving() as receiver, receiving() as other:
        failures = await sdk.webhooks.create(name="f", url=receiver.url, event_types=["response.failed"])
        await sdk.webhooks.create(name="a", url=other.url, event_types=ENDS)  # type: ignore[arg-type]
        await sdk.responses.create(model="m", input="hello", background=True)
        await other.taken.get()
        assert receiver.taken.empty()
        assert (await sdk.webhooks.delete(failures.id)).deleted is True
        await sdk.responses.create(model="m", input="fail", background=True)
        await other.taken.get()
        assert receiver.taken.empty()


async def test_endpoints_are_kept(sdk: AsyncOpenAI) -> None:
    """They are listed and found, their secret is told once, and what is unknown is not found."""
    first = await sdk.webhooks.create(name="a", url="http://127.0.0.1:9/a", event_types=["response.completed"])
    second = await sdk.webhooks.create(name="a", url="http://127.0.0.1:9/a", event_types=["response.completed"])
    assert first.signing_secret.startswith("whsec_")
    assert first.signing_secret != second.signing_secret
    assert [each.id async for each in sdk.webhooks.list()] == [second.id, first.id]
    found = await sdk.webhooks.retrieve(first.id)
    assert (found.name, found.url, found.event_types) == ("a", "http://127.0.0.1:9/a", ["response.completed"])
    assert not hasattr(found, "signing_secret")
    with pytest.raises(openai.NotFoundError):
        await sdk.webhooks.retrieve("we_none")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"url": "https://hooks.example/in"}, "url"),
        ({"url": "http://[broken"}, "url"),
        ({"url": "ftp://127.0.0.1/"}, "url"),
        ({"event_types": ["batch.completed"]}, "event_types"),
        ({"event_types": []}, "event_types"),
        ({"name": ""}, "name"),
    ],
)
async def test_what_can_not_be_sent_is_refused(sdk: AsyncOpenAI, change: dict[str, object], param: str) -> None:
    """The sandbox sends to this machine only, and only what it knows."""
    given = {"name": "n", "url": "http://127.0.0.1:9/", "event_types": ["response.completed"], **change}
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.webhooks.create(**given)  # type: ignore[arg-type]
    assert caught.value.param == param
