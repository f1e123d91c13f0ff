"""The approvals service starts only where votes can be believed."""

from __future__ import annotations

from typing import cast

import pytest

from callgate.approvals.service import build
from callgate.clock import ManualClock
from callgate.control.view import ControlView
from callgate.events import topics
from callgate.failures import BadInput
from callgate.log.port import Log
from callgate.settings import ApprovalSettings, Settings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.host import Host


def _host(*, trusted: bool) -> Host:
    return Host(
        log=cast("Log", None),
        clock=ManualClock(),
        settings=Settings(approval=ApprovalSettings(trusted=trusted)),
        metrics=Metrics(TelemetrySettings()),
        control=cast("ControlView", None),
    )


def test_without_trust_it_refuses_to_start() -> None:
    """No entrance is trusted by accident: the setting must say so, and the refusal names it."""
    with pytest.raises(BadInput, match="CALLGATE_APPROVAL_TRUSTED"):
        build(_host(trusted=False))


def test_it_reads_the_entrance_and_the_ballots() -> None:
    """One group reads both, so that votes and timers of an approval are ordered by one lease."""
    (job,) = build(_host(trusted=True))
    assert (job.service, job.group, job.topics) == ("approvals", "approvals", (topics.VOTES, topics.BALLOTS))
