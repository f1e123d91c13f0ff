"""`callgate health`: what it asks, and what it makes of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.support.command import Ran, callgate

from callgate.sandbox.service import Sandbox
from callgate.settings import TelemetrySettings
from callgate.telemetry.health import Health
from callgate.telemetry.metrics import Metrics
from callgate.telemetry.probes import serve


def asked(health: Health, *arguments: str, settings: Callable[[str], dict[str, str]]) -> Ran:
    """What the command says while a process of this health serves probes; `settings` gets their port."""

    async def run() -> Ran:
        async with serve("127.0.0.1", 0, Metrics(TelemetrySettings()), lambda: health) as url:
            return await asyncio.to_thread(callgate, "health", *arguments, **settings(url.rsplit(":", 1)[1]))

    return asyncio.run(run())


def own(port: str) -> dict[str, str]:
    """The settings of a process whose probes listen everywhere."""
    return {"CALLGATE_TELEMETRY_HOST": "0.0.0.0", "CALLGATE_TELEMETRY_PORT": port}  # noqa: S104 - asked, not bound


def test_a_ready_service_is_healthy() -> None:
    """A service that is ready gives 0; where it listens everywhere it is asked on the loopback."""
    assert asked(Health(ready=True, live=True), settings=own).code == 0


def test_what_is_not_ready_says_why() -> None:
    """A service that is not ready gives 1 and its own reasons."""
    ran = asked(Health(ready=False, live=True, reasons=("has not joined its group",)), settings=own)
    assert ran.code == 1
    assert "has not joined its group" in ran.err


def test_live_is_not_ready() -> None:
    """Asked whether it is alive, a service that is not ready yet gives 0."""
    assert asked(Health(ready=False, live=True, reasons=("waits",)), "--live", settings=own).code == 0


def test_a_proxy_is_not_asked() -> None:
    """A proxy of the environment does not come between: nothing listens at this one."""
    ran = asked(Health(ready=True, live=True), settings=lambda port: own(port) | {"http_proxy": "http://127.0.0.1:9"})
    assert ran.code == 0


def test_nobody_there() -> None:
    """Where nothing listens the answer is 1, in a sentence that names the address."""
    ran = callgate("health", "--url", "http://127.0.0.1:9/readyz")
    assert ran.code == 1
    assert "http://127.0.0.1:9/readyz does not answer" in ran.err


@pytest.mark.parametrize(
    ("arguments", "settings", "field"),
    [
        ((), {}, "CALLGATE_TELEMETRY_PORT"),
        (("--url", "file:///etc/passwd"), {}, "--url"),
        (("--url", "http://127.0.0.1:9/", "--live"), {}, "--live"),
        ((), {"CALLGATE_TELEMETRY_PORT": "many"}, "CALLGATE_TELEMETRY_PORT"),
    ],
)
def test_what_can_not_be_asked(arguments: tuple[str, ...], settings: dict[str, str], field: str) -> None:
    """Without a port, with no web address, or with two wishes at once it is bad input that names the field."""
    ran = callgate("health", *arguments, **settings)
    assert ran.code == 2
    assert field in ran.err


def test_the_sandbox_answers_without_a_key() -> None:
    """A sandbox can be asked for its health without credentials."""

    async def run() -> Ran:
        async with Sandbox() as sandbox:
            return await asyncio.to_thread(callgate, "health", "--url", f"{sandbox.url}/livez")

    assert asyncio.run(run()).code == 0
