"""The notifier's wiring: which channels the settings name, and whether they may be used."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp

from callgate.events import topics
from callgate.failures import BadInput
from callgate.notifier.channels import Channel, Mail, Slack, Webhook
from callgate.notifier.handler import NotifyHandler
from callgate.settings import NotifySettings
from callgate.worker.host import Host
from callgate.worker.worker import Job

SECRET_LEAST = 16
"""Characters of a webhook's secret: a shorter one can be found by trying."""


def configured(settings: NotifySettings) -> bool:
    """Whether there is anybody to tell."""
    return bool(settings.webhooks or settings.slack_url or settings.smtp_host)


def check(settings: NotifySettings) -> None:
    """Raise BadInput where there is no channel, or one that can't be used. No message quotes an address."""
    if not configured(settings):
        raise BadInput(
            "CALLGATE_NOTIFY_WEBHOOKS",
            "is not set, and no other channel either",
            "Set it, CALLGATE_NOTIFY_SLACK_URL_FILE or CALLGATE_NOTIFY_SMTP_HOST",
        )
    for url in settings.webhooks:
        _hold("CALLGATE_NOTIFY_WEBHOOKS", url)
    if settings.webhooks and len(settings.webhook_secret.reveal()) < SECRET_LEAST:
        raise BadInput(
            "CALLGATE_NOTIFY_WEBHOOK_SECRET",
            f"has fewer than {SECRET_LEAST} characters, or is not set",
            "Set it, or CALLGATE_NOTIFY_WEBHOOK_SECRET_FILE, so that receivers can tell us from others",
        )
    if settings.slack_url:
        _hold("CALLGATE_NOTIFY_SLACK_URL", settings.slack_url.reveal())
    if settings.smtp_host:
        _hold_mail(settings)


@asynccontextmanager
async def opened(settings: NotifySettings) -> AsyncIterator[tuple[Channel, ...]]:
    """The channels, until the context ends. Raises BadInput; nothing is sent before the first notice."""
    check(settings)
    timeout = aiohttp.ClientTimeout(total=settings.timeout_seconds)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
        channels: list[Channel] = [Webhook(session, url, settings.webhook_secret) for url in settings.webhooks]
        if settings.slack_url:
            channels.append(Slack(session, settings.slack_url))
        if settings.smtp_host:
            channels.append(Mail(settings))
        yield tuple(channels)


def build(host: Host, channels: tuple[Channel, ...]) -> tuple[Job, ...]:
    """The notifier's one job: questions, and what becomes of them."""
    handler = NotifyHandler(channels, host.metrics, patience_seconds=host.settings.notify.patience_seconds)
    return (Job(service="notifier", group="notifier", topics=(topics.BALLOTS, topics.RESOLVED), handler=handler),)


def _hold(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not host:
        raise BadInput(name, "is no web address", "Use https://host/path")
    if parts.scheme != "https" and not _loopback(host):
        raise BadInput(name, "is plain http to another host", "Use https; plain http only to this machine")


def _hold_mail(settings: NotifySettings) -> None:
    for name, given in (("FROM", settings.smtp_from), *(("TO", each) for each in settings.smtp_to or ("",))):
        if "@" not in given or not given.isprintable():
            raise BadInput(f"CALLGATE_NOTIFY_SMTP_{name}", "is no mail address", "Use a name like ops@example.org")
    if settings.smtp_security == "plain" and not _loopback(settings.smtp_host):
        raise BadInput("CALLGATE_NOTIFY_SMTP_SECURITY", "is plain to another host", "Use starttls or tls")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
