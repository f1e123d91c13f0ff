"""What all the leases of a worker have in common: its limits, its brake, its edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from callgate.clock import Clock
from callgate.settings import WorkerSettings
from callgate.telemetry.metrics import WorkerMetrics
from callgate.worker.brake import Brake
from callgate.worker.job import Job
from callgate.worker.lanes import Lanes
from callgate.worker.ledger import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What all leases of a worker share."""

    job: Job
    settings: WorkerSettings
    clock: Clock
    metrics: WorkerMetrics
    identity: Identity
    lanes: Lanes
    brake: Brake
    jitter: Callable[[], float]
    pump: Callable[[], None]
    """Starts whatever the lanes will give."""
    beat: Callable[[], None]
    """Says that something has moved on."""
    trip: Callable[[str], None]
    """Stops the worker, with the brake's reason."""
    remaining: Callable[[], float | None]
    """Seconds until a stopping worker must be done; None while it is not stopping."""
