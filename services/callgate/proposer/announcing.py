"""The provider's notices that an answer in the background has ended: verified, and passed to the turn that waits.

A notice says no more than an id. The provider is asked what that is, and the answer says which turn it is for. Who has
the turn, which may be another process, then only looks earlier than it would have: polling goes on, so that a notice
that is lost costs time, and a forged one does nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Literal, Protocol

import structlog
from aiohttp import web

from callgate.clock import Clock
from callgate.events import ids
from callgate.events.codec import encode
from callgate.events.routing import address
from callgate.events.turns import AnswerAnnounced
from callgate.failures import BadInput, PermanentFailure, TemporaryFailure
from callgate.listening import listening
from callgate.log.port import CommitUnknown, Log, LogUnavailable, Outgoing
from callgate.proposer import background
from callgate.settings import ModelSettings
from callgate.telemetry import catalogue
from callgate.worker.host import Host

PATH = "/model/notices"
"""Where the provider posts them."""

SECRET_LEAST = 16
"""Characters of the signing secret: a shorter one can be found by trying."""

_BODY_MOST = 65_536
_PREFIX = "whsec_"

Outcome = Literal["passed", "ignored", "failed", "forged"]
"""What became of a notice. Of these only `failed` is worth the provider's trying again."""

_STATUS: Mapping[Outcome, int] = {"passed": 204, "ignored": 204, "failed": 503, "forged": 400}

_log = structlog.get_logger(__name__)


class Provider(Protocol):
    """What is needed of the model's side."""

    def genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether a notice is the provider's own. Never raises."""
        ...

    async def look(self, response_id: str) -> bytes:
        """See `Model.look`."""
        ...


def check(settings: ModelSettings) -> None:
    """Raise BadInput where notices are to be taken and can't be. No message quotes the secret."""
    if not settings.webhook_port:
        return
    if not settings.key:
        raise BadInput("CALLGATE_MODEL_WEBHOOK_PORT", "is set, but no model is", "Set CALLGATE_MODEL_KEY_FILE too")
    if not settings.background_seconds:
        way_out = "Set CALLGATE_MODEL_BACKGROUND_SECONDS, or leave the port out"
        raise BadInput("CALLGATE_MODEL_WEBHOOK_PORT", "is set, but no answer may be made in the background", way_out)
    name, secret = "CALLGATE_MODEL_WEBHOOK_SECRET", settings.webhook_secret.reveal()
    if len(secret.removeprefix(_PREFIX)) < SECRET_LEAST:
        way_out = f"Set it, or {name}_FILE, to the secret that the provider has given out for the endpoint"
        raise BadInput(name, f"has fewer than {SECRET_LEAST} characters, or is not set", way_out)
    if secret.startswith(_PREFIX):
        try:
            base64.b64decode(secret.removeprefix(_PREFIX))
        except (binascii.Error, ValueError):
            raise BadInput(name, "is damaged: what follows whsec_ is no base64", "Copy all of it") from None


class Notices:
    """Takes notices, each by itself."""

    def __init__(self, provider: Provider, log: Log, clock: Clock) -> None:
        """What is passed on is written to `log`."""
        self._provider = provider
        self._log = log
        self._clock = clock

    async def take(self, headers: Mapping[str, str], body: bytes) -> Outcome:
        """What becomes of a notice. Nothing is read from one that is not the provider's own."""
        if not self._provider.genuine(headers, body):
            return "forged"
        response_id = background.ended(body)
        if response_id is None:
            return "ignored"
        try:
            turn_key = background.turn_of(await self._provider.look(response_id))
        except PermanentFailure:
            return "ignored"
        except TemporaryFailure as failure:
            _log.info("a notice could not be followed up", failure=failure.reason)
            return "failed"
        partition = ids.partition_of(turn_key or "")
        if turn_key is None or partition is None or partition >= self._log.partitions:
            return "ignored"
        return await self._pass(
            AnswerAnnounced(turn_key=turn_key, response_id=response_id, announced_at=self._clock.now())
        )

    async def _pass(self, event: AnswerAnnounced) -> Outcome:
        at = address(event, self._log.partitions)
        value, headers = encode(event, source="callgate-proposer", time=event.announced_at)
        try:
            await self._log.publish([Outgoing(at.topic, at.partition, at.key.encode(), value, headers)])
        except (LogUnavailable, CommitUnknown) as failure:
            _log.info("a notice could not be written down", failure=str(failure))
            return "failed"
        return "passed"


@asynccontextmanager
async def taking(host: Host, provider: Provider) -> AsyncIterator[str | None]:
    """Take notices while the context lasts; gives the endpoint's URL, or None where the settings name no port.

    Raises BadInput, as `check` does, and where the address can't be listened on.
    """
    settings = host.settings.model
    check(settings)
    if not settings.webhook_port:
        yield None
        return
    notices = Notices(provider, host.log, host.clock)

    async def take(request: web.Request) -> web.Response:
        outcome = await notices.take(request.headers, await request.read())
        host.metrics.count(catalogue.ANNOUNCED, outcome)
        return web.Response(status=_STATUS[outcome])

    app = web.Application(client_max_size=_BODY_MOST)
    app.router.add_post(PATH, take)
    place = settings.webhook_host, settings.webhook_port
    async with listening(app, *place, field="CALLGATE_MODEL_WEBHOOK_PORT") as where:
        _log.info("notices of the model's provider are taken", url=f"{where}{PATH}")
        yield f"{where}{PATH}"
