"""The reporter's wiring."""

from __future__ import annotations

from callgate.bighub.client import Bighub
from callgate.events import topics
from callgate.reporter.batching import Batcher
from callgate.reporter.bridge import BridgeHandler
from callgate.reporter.handler import ReportHandler
from callgate.worker.host import Host
from callgate.worker.worker import Job


def build(host: Host, bighub: Bighub) -> tuple[Job, ...]:
    """Ends and doubts of actions, what observers saw, and what people answered; and, where it is wanted, the bridge."""
    batcher = Batcher(bighub.ingest_batch, host.clock)
    handler = ReportHandler(bighub, batcher, host.metrics)
    jobs = [
        Job(
            service="reporter",
            group="reporter",
            topics=(topics.FINISHED, topics.OBSERVED, topics.RESOLVED),
            handler=handler,
            ready=lambda: bighub.refused,
        )
    ]
    approval = host.settings.approval
    if approval.bighub_identity:
        bridge = BridgeHandler(
            bighub, host.clock, identity=approval.bighub_identity, seconds=approval.bighub_poll_seconds
        )
        jobs.append(Job(service="bridge", group="bridge", topics=(topics.BALLOTS,), handler=bridge))
    return tuple(jobs)
