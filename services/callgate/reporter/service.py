"""The reporter's wiring."""

from __future__ import annotations

from callgate.bighub.client import Bighub
from callgate.events import topics
from callgate.reporter.batching import Batcher
from callgate.reporter.handler import ReportHandler
from callgate.worker.host import Host
from callgate.worker.worker import Job


def build(host: Host, bighub: Bighub) -> tuple[Job, ...]:
    """The reporter's one job: ends and doubts of actions, and what observers saw."""
    batcher = Batcher(bighub.ingest_batch, host.clock)
    handler = ReportHandler(bighub, batcher, host.metrics)
    return (
        Job(
            service="reporter",
            group="reporter",
            topics=(topics.FINISHED, topics.OBSERVED),
            handler=handler,
            ready=lambda: bighub.refused,
        ),
    )
