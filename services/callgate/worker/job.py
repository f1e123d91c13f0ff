"""What a service hands to its worker: who it is, what it reads, and the handler that does its work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from callgate.events.topics import Topic
from callgate.worker.effects import Handler


def _always() -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Job:
    """One service's part in a process."""

    service: str
    """Its name in metrics, logs, dead letters and the fleet."""
    group: str
    """The log's group: its members share out the leases, and its state is kept under this name."""
    topics: tuple[Topic, ...]
    handler: Handler
    ready: Callable[[], str | None] = _always
    """A reason why the service can't do its work now, or None; asked at each probe, so it must be quick."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Tenants' weights in the sharing of slots; 1.0 for those that are not named."""
