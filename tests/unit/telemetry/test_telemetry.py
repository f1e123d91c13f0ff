"""Metrics with bounded labels, logs that are JSON, and probes that answer."""

from __future__ import annotations

import json

import aiohttp
import pytest
import structlog

from callgate.failures import BadInput
from callgate.settings import Secret, TelemetrySettings
from callgate.telemetry import logs, probes
from callgate.telemetry.catalogue import CATALOGUE
from callgate.telemetry.health import Health, together
from callgate.telemetry.metrics import DOMAINS, Metrics


def test_tools_and_tenants_beyond_the_list_are_other() -> None:
    """Names that come from outside must not make labels of their own."""
    metrics = Metrics(TelemetrySettings(tools=("refund",), tenants=("acme",)))
    metrics.decided("allow", "refund", "payments", "acme")
    metrics.decided("block", "x" * 200, None, "stranger")
    text = metrics.exposition().decode()
    assert 'callgate_actions_decided_total{domain="payments",tenant="acme",tool="refund",verdict="allow"} 1.0' in text
    assert 'callgate_actions_decided_total{domain="",tenant="other",tool="other",verdict="block"} 1.0' in text
    assert "xxx" not in text


def test_domains_are_bounded_too() -> None:
    """However many domains agents name, only so many may become labels."""
    metrics = Metrics(TelemetrySettings())
    for number in range(DOMAINS * 3):
        metrics.finished("executed", "run", "t", f"domain {number}", "a")
    lines = [line for line in metrics.exposition().decode().splitlines() if "actions_finished_total{" in line]
    assert len(lines) == DOMAINS + 1


def test_every_metric_is_documented_and_consistently_named() -> None:
    """The catalogue must hold each name once, with our prefix, a help text, and seconds for durations."""
    names = [metric.name for metric in CATALOGUE]
    assert len(set(names)) == len(names)
    for metric in CATALOGUE:
        assert metric.name.startswith("callgate_")
        assert len(metric.help) > 10
        assert (metric.kind == "histogram") <= metric.name.endswith("_seconds")


def test_each_typed_method_counts_what_it_says() -> None:
    """Every method that services call must reach a metric of the catalogue."""
    metrics = Metrics(TelemetrySettings())
    metrics.proposed("", "t", None, "a")
    metrics.doubted("t", None, "a")
    metrics.refused_transition("finished", "claim")
    metrics.started(-1.0)
    metrics.tool_ran("t", 0.2)
    metrics.bighub_answered("evaluate", "ok", 0.1)
    metrics.approval_resolved("expired", 12.0)
    metrics.reported("ingest", 5)
    text = metrics.exposition().decode()
    for line in (
        'callgate_actions_proposed_total{domain="",fault="",tenant="other",tool="other"} 1.0',
        'callgate_transitions_refused_total{state="finished",step="claim"} 1.0',
        "callgate_added_seconds_sum 0.0",
        'callgate_tool_seconds_count{tool="other"} 1.0',
        'callgate_bighub_seconds_count{outcome="ok",request="evaluate"} 1.0',
        'callgate_approval_seconds_sum{resolution="expired"} 12.0',
        'callgate_reported_total{kind="ingest"} 5.0',
    ):
        assert line in text


def test_logs_are_json_lines_on_stderr_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output must stay free, and a secret must show only stars."""
    before = structlog.get_config()
    try:
        logs.configure("info", json=True)
        structlog.get_logger("x").info("hello", key=repr(Secret("hunter2")), n=1)
        structlog.get_logger("x").debug("not shown")
    finally:
        structlog.configure(**before)
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["level"], entry["n"], entry["key"]) == ("hello", "info", 1, "Secret(***)")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_shows_no_values(capsys: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    """What a defect had in its hands may be arguments and keys: places are shown, also on a terminal, and no values."""

    def defect(held: str) -> None:
        raise KeyError(len(held))

    secret = "hunter2"
    before = structlog.get_config()
    try:
        logs.configure("info", json=as_json)
        try:
            defect(secret)
        except KeyError as error:
            structlog.get_logger("x").warning("given up", exc_info=error)
    finally:
        structlog.configure(**before)
    shown = capsys.readouterr().err
    assert "KeyError" in shown
    assert "in defect" in shown
    assert "hunter2" not in shown


async def test_the_probes_tell_readiness_from_liveness() -> None:
    """/readyz and /livez must answer 503 each for its own reason, and say why."""
    health = Health(ready=True, live=True)
    async with (
        probes.serve("127.0.0.1", 0, Metrics(TelemetrySettings()), lambda: health) as url,
        aiohttp.ClientSession() as session,
    ):

        async def ask(path: str) -> tuple[int, str]:
            async with session.get(url + path) as answer:
                return answer.status, await answer.text()

        assert [(await ask(path))[0] for path in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]
        health = Health(ready=False, live=True, reasons=("executor: stopping",))
        assert (await ask("/livez"))[0] == 200
        status, body = await ask("/readyz")
        assert status == 503
        assert json.loads(body)["reasons"] == ["executor: stopping"]
        health = Health(ready=False, live=False)
        assert (await ask("/livez"))[0] == 503


async def test_a_port_in_use_is_a_clear_error() -> None:
    """A second server on the same port must name the setting."""
    metrics = Metrics(TelemetrySettings())
    async with probes.serve("127.0.0.1", 0, metrics, lambda: Health(ready=True, live=True)) as url:
        port = int(url.rsplit(":", 1)[1])
        with pytest.raises(BadInput, match="CALLGATE_TELEMETRY_PORT"):
            async with probes.serve("127.0.0.1", port, metrics, lambda: Health(ready=True, live=True)):
                pass


def test_a_process_is_as_well_as_its_worst_service() -> None:
    """The health of several services must be that of the worst, with all reasons."""
    good, bad = Health(ready=True, live=True), Health(ready=False, live=True, reasons=("why",))
    assert together((good, bad)) == Health(ready=False, live=True, reasons=("why",))
    assert together((good, good)) == Health(ready=True, live=True)
