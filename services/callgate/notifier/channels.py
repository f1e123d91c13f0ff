"""The edges of the notifier: a webhook, a Slack-compatible incoming webhook, and mail.

Each raises `TemporaryFailure` for what may work later and `PermanentFailure` for what the other side will never take.
No message holds an address's path, a secret or what the other side has answered.
"""

from __future__ import annotations

import email.utils
import math
from collections.abc import Mapping
from typing import Protocol

import aiohttp
import aiosmtplib
from yarl import URL

from callgate.events import ids
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.notifier import rendering
from callgate.notifier.notice import Notice
from callgate.settings import NotifySettings, Secret

_AGAIN = frozenset({408, 425, 429})
_OK = range(200, 300)
_REFUSED = range(400, 500)
_NEVER = range(500, 600)
_DELAY_MOST = 3600.0


class Channel(Protocol):
    """One place where notices go."""

    @property
    def kind(self) -> str:
        """webhook, slack or mail: a metric's label."""
        ...

    @property
    def id(self) -> str:
        """The same for the same place after every restart; it holds no part of the address."""
        ...

    async def send(self, notice: Notice, now: float) -> None:
        """Deliver once; `now` is the wall time in seconds."""
        ...


class Webhook:
    """A signed JSON body for a program."""

    kind = "webhook"

    def __init__(self, session: aiohttp.ClientSession, url: str, secret: Secret) -> None:
        """`secret` signs every delivery."""
        self.id = ids.fingerprint(self.kind, url)
        self._session = session
        self._url = URL(url)
        self._secret = secret

    async def send(self, notice: Notice, now: float) -> None:
        """See `Channel.send`."""
        body = rendering.webhook_body(notice)
        headers = rendering.signed_headers(notice, body, self._secret.reveal(), now)
        await _post(self._session, self._url, body, headers, f"the webhook at {self._url.host}")


class Slack:
    """A text for an incoming webhook, whose address is itself the secret."""

    kind = "slack"

    def __init__(self, session: aiohttp.ClientSession, url: Secret) -> None:
        """`url` is shown nowhere."""
        self.id = ids.fingerprint(self.kind, url.reveal())
        self._session = session
        self._url = url

    async def send(self, notice: Notice, now: float) -> None:  # noqa: ARG002 - the port's
        """See `Channel.send`."""
        headers = {"Content-Type": "application/json"}
        await _post(self._session, URL(self._url.reveal()), rendering.slack_body(notice), headers, "Slack's webhook")


class Mail:
    """A plain text mail to a list of people."""

    kind = "mail"

    def __init__(self, settings: NotifySettings) -> None:
        """Every mail has a connection of its own: there are few."""
        self.id = ids.fingerprint(self.kind, settings.smtp_host, settings.smtp_port, *settings.smtp_to)
        self._settings = settings

    async def send(self, notice: Notice, now: float) -> None:  # noqa: ARG002 - the port's
        """See `Channel.send`. It counts as sent when the server has taken it for one recipient at the least."""
        settings = self._settings
        message = rendering.mail(notice, settings.smtp_from, settings.smtp_to)
        try:
            await aiosmtplib.send(
                message,
                sender=email.utils.parseaddr(settings.smtp_from)[1],
                recipients=list(settings.smtp_to),
                hostname=settings.smtp_host,
                port=settings.smtp_port,
                username=settings.smtp_user or None,
                password=settings.smtp_password.reveal() or None,
                use_tls=settings.smtp_security == "tls",
                start_tls=settings.smtp_security == "starttls",
                timeout=settings.timeout_seconds,
            )
        except (aiosmtplib.SMTPException, OSError, UnicodeError) as error:
            raise _mail_failure(error) from None


async def _post(session: aiohttp.ClientSession, url: URL, body: bytes, headers: Mapping[str, str], whom: str) -> None:
    """One attempt. A redirect is refused: whoever is told of actions is named in the settings, and nobody else."""
    try:
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            status, wait = response.status, response.headers.get("Retry-After")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # The library's message may hold the address, which may be a secret.
        raise TemporaryFailure(f"{whom} can't be reached ({type(error).__name__})") from None
    if status in _OK:
        return
    if (status in _REFUSED and status not in _AGAIN) or status in range(300, 400):
        raise PermanentFailure(f"{whom} refused the notice with {status}")
    raise TemporaryFailure(f"{whom} answered {status}", delay=_delay(wait))


def _delay(wait: str | None) -> float | None:
    """Seconds that the other side asks for. A date is left to the worker's own back-off."""
    try:
        seconds = float(wait or "")
    except ValueError:
        return None
    return min(max(0.0, seconds), _DELAY_MOST) if math.isfinite(seconds) else None


def _mail_failure(error: Exception) -> TemporaryFailure | PermanentFailure:
    """Only a mail that this server will never take is permanent; refused credentials wait until somebody mends them."""
    match error:
        case aiosmtplib.SMTPRecipientsRefused():
            if all(each.code in _NEVER for each in error.recipients):
                return PermanentFailure("the mail server refuses every recipient")
            return TemporaryFailure("the mail server takes no recipient now")
        case aiosmtplib.SMTPAuthenticationError():
            return TemporaryFailure(f"the mail server refuses the credentials with {error.code}")
        case aiosmtplib.SMTPSenderRefused() | aiosmtplib.SMTPDataError() if error.code in _NEVER:
            return PermanentFailure(f"the mail server refuses the mail with {error.code}")
        case UnicodeError():
            return PermanentFailure("an address can't be written in a mail")
        case _:
            return TemporaryFailure(f"the mail server can't be used ({type(error).__name__})")
