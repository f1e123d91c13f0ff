"""A notice in the words of each channel. Pure: the same notice is the same bytes, at every attempt."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

import orjson

from callgate.notifier.notice import Notice

VERSION = 1
"""Of the webhook's body. Fields may be added within a version."""


def webhook_body(notice: Notice) -> bytes:
    """What a program reads: the notice's id and kind, and its facts as they are."""
    return orjson.dumps(
        {
            "version": VERSION,
            "id": notice.id,
            "type": f"approval.{notice.kind}",
            "at": notice.at,
            "subject": notice.subject,
            **notice.facts,
        }
    )


def signed_headers(notice: Notice, body: bytes, secret: str, now: float) -> Mapping[str, str]:
    """The headers of a webhook: the signature is over timestamp and body, so that neither can be used again alone."""
    timestamp = str(int(now))
    signature = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "Callgate-Delivery": notice.id,
        "Callgate-Timestamp": timestamp,
        "Callgate-Signature": f"v1={signature}",
    }


def slack_body(notice: Notice) -> bytes:
    """A text for an incoming webhook. No fact can mention people, make a link or leave its place.

    Slack makes links of bare addresses too, unless it is told to look for none; in code it shows what is there.
    """
    lines = [f"*{_escaped(notice.subject)}*"]
    lines += [f"{label}: `{_escaped(text)}`" for label, text in notice.facts.items() if label != "arguments"]
    if "arguments" in notice.facts:
        lines.insert(1, f"```{_escaped(notice.facts['arguments'])}```")
    return orjson.dumps({"text": "\n".join(lines), "mrkdwn": True, "parse": "none", "unfurl_links": False})


def mail(notice: Notice, sender: str, recipients: tuple[str, ...]) -> EmailMessage:
    """A plain text mail whose id is the notice's: a mail program that gets it twice can show it once."""
    message = EmailMessage()
    message["Subject"] = notice.subject
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(datetime.fromtimestamp(notice.at, UTC))
    message["Message-ID"] = f"<{notice.id}@callgate>"
    message["Auto-Submitted"] = "auto-generated"
    width = max(map(len, notice.facts), default=0)
    message.set_content("\n".join(f"{label:{width}}  {text}" for label, text in notice.facts.items()) + "\n")
    return message


def _escaped(text: str) -> str:
    """Slack's three, and the back-tick, which would end a block."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "'")
