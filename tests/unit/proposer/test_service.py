"""The proposer's wiring agrees with the catalogue of topics."""

from __future__ import annotations

from typing import cast

from tests.support.proposer_values import open_toolbox

from callgate.clock import ManualClock
from callgate.control.view import ControlView
from callgate.log.port import Log
from callgate.proposer.service import build
from callgate.settings import Settings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.host import Host


def test_the_proposer_reads_what_the_catalogue_says() -> None:
    """Its one group reads turns and ends, and every topic that it reads names it as a reader."""
    host = Host(
        log=cast("Log", None),
        clock=ManualClock(),
        settings=Settings(),
        metrics=Metrics(TelemetrySettings()),
        control=cast("ControlView", None),
    )
    (job,) = build(host, open_toolbox())
    assert job.group == "proposer"
    assert {"turns", "actions.finished"} <= {topic.name for topic in job.topics}
    assert all("proposer" in topic.read_by for topic in job.topics)
