"""Places that take notices: a web server and a mail server on this machine, and a channel that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import orjson
from aiohttp import web
from aiosmtpd.smtp import SMTP

from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.notifier.notice import Notice


@dataclass
class Received:
    """What a web server was sent, and what it answers."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    """Statuses for the next requests; 200 after them."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of its answers."""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    """The JSON of those that were answered with 200."""

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The requests' JSON."""
        return [orjson.loads(body) for _, body in self.requests]


@asynccontextmanager
async def web_server() -> AsyncIterator[Received]:
    """A web server that keeps what it is sent."""
    received = Received()

    async def take(request: web.Request) -> web.Response:
        received.requests.append((dict(request.headers), await request.read()))
        status = received.answers.pop(0) if received.answers else 200
        if status == 200:
            received.taken.append(orjson.loads(received.requests[-1][1]))
        return web.Response(status=status, headers=received.headers)

    application = web.Application()
    application.router.add_post("/in", take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    received.url = f"http://127.0.0.1:{runner.addresses[0][1]}/in"
    try:
        yield received
    finally:
        await runner.cleanup()


@dataclass
class Mailbox:
    """What a mail server was sent, and how it answers RCPT and DATA."""

    port: int = 0
    recipient: str = "250 OK"
    data: str = "250 OK"
    mails: list[tuple[list[str], EmailMessage]] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        """The library's hook for a recipient."""
        if self.recipient.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - the library's
        """The library's hook for a mail."""
        if self.data.startswith("250"):
            mail = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            self.mails.append((list(envelope.rcpt_tos), mail))
        return self.data


@asynccontextmanager
async def mail_server() -> AsyncIterator[Mailbox]:
    """A mail server that keeps what it is sent."""
    box = Mailbox()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(box, hostname="here"), "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        await server.wait_closed()


@dataclass
class Told:
    """A channel that keeps what it is told, unless it is to fail."""

    id: str = "here"
    kind: str = "webhook"
    failures: list[TemporaryFailure | PermanentFailure] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    async def send(self, notice: Notice, now: float) -> None:
        """See `Channel.send`."""
        if self.failures:
            raise self.failures.pop(0)
        self.notices.append(notice)
