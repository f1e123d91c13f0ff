"""The channels against servers on this machine: what arrives, and which failures are worth another attempt."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.support.approval_values import NOW, question
from tests.support.notices import Mailbox, mail_server, web_server

from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.notifier.channels import Mail, Slack, Webhook
from callgate.notifier.notice import Notice, notice_of
from callgate.settings import NotifySettings, Secret

SECRET = "not-for-anybody-else"


def _notice() -> Notice:
    found = notice_of(question())
    assert found is not None
    return found


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client whose requests end soon."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as opened:
        yield opened


def _mail(box: Mailbox) -> Mail:
    return Mail(
        NotifySettings(
            smtp_host="127.0.0.1",
            smtp_port=box.port,
            smtp_security="plain",
            smtp_from="Callgate <gate@acme.example>",
            smtp_to=("ops@acme.example", "lee@acme.example"),
            timeout_seconds=2,
        )
    )


async def test_a_webhook_gets_a_body_that_it_can_verify(session: aiohttp.ClientSession) -> None:
    """The signature that arrives fits timestamp and body as they arrive."""
    async with web_server() as received:
        await Webhook(session, received.url, Secret(SECRET)).send(_notice(), NOW)
    ((headers, body),) = received.requests
    signed = headers["Callgate-Timestamp"].encode() + b"." + body
    assert headers["Callgate-Signature"] == f"v1={hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()}"
    assert headers["Callgate-Delivery"] == received.bodies[0]["id"] == _notice().id
    assert received.bodies[0]["type"] == "approval.requested"


async def test_slack_gets_a_text(session: aiohttp.ClientSession) -> None:
    """An incoming webhook is sent what it shows, and no signature."""
    async with web_server() as received:
        await Slack(session, Secret(received.url)).send(_notice(), NOW)
    ((headers, _),) = received.requests
    assert received.bodies[0]["text"].startswith("*Approval needed: pay of bot*")
    assert not any(name.startswith("Callgate") for name in headers)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422, 301, 302, 307])
async def test_what_is_refused_is_not_tried_again(session: aiohttp.ClientSession, status: int) -> None:
    """A refusal is permanent, and so is a redirect: nothing goes where the settings do not say."""
    async with web_server() as received:
        received.answers, received.headers = [status], {"Location": received.url}
        with pytest.raises(PermanentFailure) as refused:
            await Webhook(session, received.url, Secret(SECRET)).send(_notice(), NOW)
    assert len(received.requests) == 1
    assert str(status) in refused.value.reason


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again(session: aiohttp.ClientSession, status: int) -> None:
    """Overload and faults of the other side are temporary, after as long as it asks for."""
    async with web_server() as received:
        received.answers, received.headers = [status], {"Retry-After": "7"}
        with pytest.raises(TemporaryFailure) as failed:
            await Webhook(session, received.url, Secret(SECRET)).send(_notice(), NOW)
    assert failed.value.delay == 7.0


@pytest.mark.parametrize("wait", ["soon", "-5", "nan", "inf", "1e999", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_an_odd_delay_is_no_delay(session: aiohttp.ClientSession, wait: str) -> None:
    """Nothing that the other side writes there can put a notice off for ever."""
    async with web_server() as received:
        received.answers, received.headers = [503], {"Retry-After": wait}
        with pytest.raises(TemporaryFailure) as failed:
            await Webhook(session, received.url, Secret(SECRET)).send(_notice(), NOW)
    assert not failed.value.delay


async def test_no_failure_shows_an_address_or_a_secret(session: aiohttp.ClientSession) -> None:
    """Who can't be reached is named by its host at most: the path of an incoming webhook is a secret."""
    async with web_server() as received:
        gone = received.url
    for channel in (Webhook(session, f"{gone}?t={SECRET}", Secret(SECRET)), Slack(session, Secret(f"{gone}/{SECRET}"))):
        with pytest.raises(TemporaryFailure) as failed:
            await channel.send(_notice(), NOW)
        assert SECRET not in failed.value.reason
        assert "/in" not in failed.value.reason
        assert failed.value.__cause__ is None
        assert SECRET not in channel.id


async def test_a_mail_arrives() -> None:
    """Every recipient is on the envelope, and the text says what is asked."""
    async with mail_server() as box:
        await _mail(box).send(_notice(), NOW)
    ((recipients, mail),) = box.mails
    assert recipients == ["ops@acme.example", "lee@acme.example"]
    assert mail["Subject"] == "Approval needed: pay of bot"
    assert mail["Message-ID"] == f"<{_notice().id}@callgate>"
    assert '"pin":"***"' in mail.get_content()


async def test_a_mail_that_is_refused_is_not_tried_again() -> None:
    """A server that will take no recipient, or not this mail, ends it; one that asks for patience does not."""
    async with mail_server() as box:
        for recipient, data, kind in (
            ("550 no", "250 OK", PermanentFailure),
            ("451 later", "250 OK", TemporaryFailure),
            ("250 OK", "554 no", PermanentFailure),
            ("250 OK", "452 full", TemporaryFailure),
        ):
            box.recipient, box.data = recipient, data
            with pytest.raises(kind):
                await _mail(box).send(_notice(), NOW)
    assert box.mails == []


async def test_a_mail_server_that_is_away_or_without_tls_is_tried_again() -> None:
    """Neither is the mail's fault; and where TLS is asked for nothing is sent without it."""
    async with mail_server() as box:
        channel = _mail(box)
        secured = Mail(NotifySettings(smtp_host="127.0.0.1", smtp_port=box.port, smtp_from="a@b.c", smtp_to=("d@e.f",)))
        with pytest.raises(TemporaryFailure):
            await secured.send(_notice(), NOW)
    with pytest.raises(TemporaryFailure):
        await channel.send(_notice(), NOW)
    assert box.mails == []
