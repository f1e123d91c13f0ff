"""The evaluator is ready only when it could decide."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from callgate.clock import ManualClock
from callgate.evaluator.service import build
from callgate.events import topics
from callgate.log.port import Log
from callgate.settings import Settings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.host import Host


def test_it_is_unready_while_the_key_is_refused_or_the_switches_are_unknown() -> None:
    """Readiness names what is missing, and comes back by itself."""
    control, bighub = SimpleNamespace(ready=True), SimpleNamespace(refused=None)
    host = Host(
        log=cast("Log", None),
        clock=ManualClock(),
        settings=Settings(),
        metrics=Metrics(TelemetrySettings()),
        control=cast("Any", control),
    )
    (job,) = build(host, cast("Any", bighub))
    assert (job.group, job.topics) == ("evaluator", (topics.PROPOSED,))
    assert job.ready() is None
    bighub.refused = "BIGHUB refuses the credentials"
    assert job.ready() == "BIGHUB refuses the credentials"
    bighub.refused = None
    control.ready = False
    assert "switches" in (job.ready() or "")
