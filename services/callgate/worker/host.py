"""What a process gives to the services that it runs."""

from __future__ import annotations

from dataclasses import dataclass

from callgate.clock import Clock
from callgate.control.view import ControlView
from callgate.log.port import Log
from callgate.settings import Settings
from callgate.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Host:
    """The one set of edges that a process opens, and closes, for all of its services."""

    log: Log
    clock: Clock
    settings: Settings
    metrics: Metrics
    control: ControlView
