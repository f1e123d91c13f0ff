"""The evaluator is ready only when it could decide."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from callgate.clock import ManualClock
from callgate.evaluator.service import build
from callgate.events import topics
from callgate.failures import BadInput
from callgate.log.port import Log
from callgate.settings import ApprovalSettings, Settings, TelemetrySettings
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


def test_it_refuses_to_start_without_the_policy_that_it_was_given(tmp_path: Path) -> None:
    """A policy that can't be read is never taken for none: the refusal names the file."""
    named = str(tmp_path / "approvals.toml")
    host = Host(
        log=cast("Log", None),
        clock=ManualClock(),
        settings=Settings(approval=ApprovalSettings(policy=named)),
        metrics=Metrics(TelemetrySettings()),
        control=cast("Any", SimpleNamespace(ready=True)),
    )
    with pytest.raises(BadInput, match=r"approvals\.toml"):
        build(host, cast("Any", SimpleNamespace(refused=None)))
