"""Webhook endpoints of the model's API, and the notices that they get when an answer in the background has ended.

Other than BIGHUB's, these are really sent, to this machine only: what waits for them must be woken.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp import web

from callgate.clock import Clock
from callgate.events.ids import fingerprint
from callgate.sandbox.answers import answer
from callgate.sandbox.model.conversations import body_of
from callgate.sandbox.model.items import Shape
from callgate.sandbox.model.kept import Kept
from callgate.sandbox.model.refusals import PREFIX, Invalid, refusing
from callgate.settings import LOOPBACK

EVENTS = ("response.completed", "response.failed", "response.incomplete", "response.cancelled")
"""What can be subscribed to here."""

_MOST = 100
_ONE = "{endpoint_id:[A-Za-z0-9_-]{1,128}}"
_TIMEOUT = aiohttp.ClientTimeout(total=5)
_PAUSES = (0.2, 1.0, 5.0)
"""Seconds before a delivery that was not taken is tried again."""


class Notices:
    """The endpoints of webhook endpoints, and who sends to them."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is kept beyond the process."""
        self._clock = clock
        self._kept: dict[str, Shape] = {}
        self._made = 0
        self._sending: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """The endpoints, under `/v1`."""
        root = f"{PREFIX}webhook_endpoints"
        served: list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = [
            ("POST", root, self.create),
            ("GET", root, self.listed),
            ("GET", f"{root}/{_ONE}", self.retrieve),
            ("DELETE", f"{root}/{_ONE}", self.delete),
        ]
        return [web.route(method, path, refusing(handler)) for method, path, handler in served]

    async def create(self, request: web.Request) -> web.StreamResponse:
        """A subscription. Its signing secret is told this once."""
        name, url, kinds = _checked(await body_of(request))
        if len(self._kept) >= _MOST:
            raise Invalid(f"There are {_MOST} webhook endpoints already.")
        self._made += 1
        made = fingerprint("webhook_endpoint", str(self._made), name, url)
        secret = f"whsec_{base64.b64encode(made.encode()).decode()}"
        shape = {"id": f"we_{made}", "object": "webhook_endpoint", "created_at": int(self._clock.now())}
        self._kept[f"we_{made}"] = {**shape, "event_types": kinds, "name": name, "url": url, "signing_secret": secret}
        return answer(self._kept[f"we_{made}"])

    async def listed(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002 - part of the port
        """All of them, the newest first."""
        data = [_shown(each) for each in reversed(self._kept.values())]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return answer({"object": "list", "data": data, "has_more": False, **ends})

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        """One of them."""
        return answer(_shown(self._found(request)))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """End a subscription. What is being sent is sent."""
        name = self._found(request)["id"]
        del self._kept[name]
        return answer({"id": name, "object": "webhook_endpoint.deleted", "deleted": True})

    def begun(self, kept: Kept) -> None:
        """An answer is being made in the background: where anybody has subscribed it ends in its time, unlooked at."""
        if self._kept:
            self._spawn(self._follow(kept))

    def cancelled(self, kept: Kept) -> None:
        """It was given up."""
        self._announce(kept)

    async def aclose(self) -> None:
        """Send nothing any more."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _follow(self, kept: Kept) -> None:
        await self._clock.sleep(max(0.0, kept.ready_at - self._clock.now()))
        if kept.state != "cancelled":
            kept.finish()
            self._announce(kept)

    def _announce(self, kept: Kept) -> None:
        kind = f"response.{kept.now()['status']}"
        for endpoint in self._kept.values():
            if kind in endpoint["event_types"]:
                self._spawn(self._deliver(endpoint, kind, kept.final["id"]))

    async def _deliver(self, endpoint: Shape, kind: str, response_id: str) -> None:
        """Send it until it is taken, or the attempts are over. Each attempt is signed anew."""
        name = f"evt_{fingerprint(endpoint['id'], kind, response_id)}"
        event = {"id": name, "object": "event", "type": kind, "data": {"id": response_id}}
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            for pause in (*_PAUSES, None):
                now = int(self._clock.now())
                body = orjson.dumps({**event, "created_at": now})
                headers = signed(endpoint["signing_secret"], name, now, body)
                try:
                    async with session.post(endpoint["url"], data=body, headers=headers) as taken:
                        if taken.ok:
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass
                if pause is not None:
                    await self._clock.sleep(pause)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def _found(self, request: web.Request) -> Shape:
        name = request.match_info["endpoint_id"]
        if name not in self._kept:
            raise Invalid(f"Webhook endpoint '{name}' not found.", param="webhook_endpoint_id", status=404)
        return self._kept[name]


def signed(secret: str, name: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of a delivery, as the API's SDK verifies them; `at` is in whole seconds."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = hmac.new(key, b"%s.%d.%s" % (name.encode(), at, body), hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


def _checked(body: Mapping[str, Any]) -> tuple[str, str, list[str]]:
    """Name, address and event types of a subscription. Raises `Invalid`."""
    name, url, kinds = body.get("name"), body.get("url"), body.get("event_types")
    if not isinstance(name, str) or not name:
        raise Invalid("'name' must be a text.", param="name")
    if not isinstance(kinds, list) or not kinds or not set(kinds) <= set(EVENTS):
        raise Invalid(f"'event_types' must be some of {', '.join(EVENTS)}.", param="event_types")
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or host not in LOOPBACK:
        raise Invalid("'url' must be a web address of this machine: the sandbox sends to no other.", param="url")
    return name, str(url), kinds


def _shown(endpoint: Shape) -> Shape:
    return {name: value for name, value in endpoint.items() if name != "signing_secret"}
