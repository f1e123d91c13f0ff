"""What the notifier needs before it starts, and how it says so."""

from __future__ import annotations

from typing import Any

import pytest

from callgate.failures import BadInput
from callgate.notifier.service import check, configured, opened
from callgate.settings import NotifySettings, Secret

HOOK = {"webhooks": ("https://hooks.acme.example/in",), "webhook_secret": Secret("0123456789abcdef")}
MAIL = {"smtp_host": "mail.acme.example", "smtp_from": "gate@acme.example", "smtp_to": ("ops@acme.example",)}

_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "CALLGATE_NOTIFY_WEBHOOKS"),
    "no secret": ({"webhooks": HOOK["webhooks"]}, "CALLGATE_NOTIFY_WEBHOOK_SECRET"),
    "a short secret": ({**HOOK, "webhook_secret": Secret("short")}, "CALLGATE_NOTIFY_WEBHOOK_SECRET"),
    "plain http": ({**HOOK, "webhooks": ("http://hidden.example/in",)}, "CALLGATE_NOTIFY_WEBHOOKS"),
    "no address": ({**HOOK, "webhooks": ("hidden",)}, "CALLGATE_NOTIFY_WEBHOOKS"),
    "an odd port": ({**HOOK, "webhooks": ("https://hidden:port/",)}, "CALLGATE_NOTIFY_WEBHOOKS"),
    "another scheme": ({**HOOK, "webhooks": ("file:///hidden",)}, "CALLGATE_NOTIFY_WEBHOOKS"),
    "plain slack": ({"slack_url": Secret("http://hidden.example/x")}, "CALLGATE_NOTIFY_SLACK_URL"),
    "no sender": ({**MAIL, "smtp_from": ""}, "CALLGATE_NOTIFY_SMTP_FROM"),
    "nobody": ({**MAIL, "smtp_to": ()}, "CALLGATE_NOTIFY_SMTP_TO"),
    "a recipient with a line end": ({**MAIL, "smtp_to": ("a@b.c\nBcc: hidden@e.f",)}, "CALLGATE_NOTIFY_SMTP_TO"),
    "plain mail": ({**MAIL, "smtp_security": "plain"}, "CALLGATE_NOTIFY_SMTP_SECURITY"),
}


@pytest.mark.parametrize("name", sorted(_FAULTS))
def test_what_cannot_be_used_names_its_setting(name: str) -> None:
    """It refuses to start with the setting's name and a way out, and quotes no address."""
    given, field = _FAULTS[name]
    with pytest.raises(BadInput) as refused:
        check(NotifySettings(**given))
    assert refused.value.field == field
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        HOOK,
        {**HOOK, "webhooks": ("http://127.0.0.1:8000/in", "http://localhost/in", "http://[::1]/in")},
        {"slack_url": Secret("https://hooks.slack.example/x")},
        MAIL,
        {**MAIL, "smtp_host": "127.0.0.1", "smtp_security": "plain"},
    ],
    ids=["webhook", "this machine", "slack", "mail", "mail on this machine"],
)
def test_what_can_be_used_is_taken(given: dict[str, Any]) -> None:
    """Each channel alone is enough; this machine may be spoken to in plain."""
    check(NotifySettings(**given))


def test_without_a_channel_it_is_not_one_of_all() -> None:
    """`run --all` and `dev` leave it out where there is nobody to tell."""
    assert not configured(NotifySettings())
    assert configured(NotifySettings(slack_url=Secret("https://x.example")))


async def test_every_channel_that_is_named_is_opened() -> None:
    """Several webhooks are several channels, each with an id of its own."""
    settings = NotifySettings(
        webhooks=("https://a.example/", "https://b.example/"),
        webhook_secret=Secret("0123456789abcdef"),
        slack_url=Secret("https://c.example/"),
        smtp_host="mail.acme.example",
        smtp_from="gate@acme.example",
        smtp_to=("ops@acme.example",),
    )
    async with opened(settings) as channels:
        assert [channel.kind for channel in channels] == ["webhook", "webhook", "slack", "mail"]
        assert len({channel.id for channel in channels}) == 4
