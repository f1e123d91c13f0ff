"""The evaluator's wiring."""

from __future__ import annotations

from pathlib import Path

from callgate.bighub.batching import Batches
from callgate.bighub.client import Bighub
from callgate.evaluator.handler import EvaluationHandler
from callgate.events import topics
from callgate.policy.file import PolicyFile
from callgate.worker.host import Host
from callgate.worker.worker import Job


def build(host: Host, bighub: Bighub) -> tuple[Job, ...]:
    """The evaluator's one job. It is unready while BIGHUB refuses the key, or the switches can't be read.

    Raises BadInput where the approval policy can't be used.
    """
    named = host.settings.approval.policy
    policy = PolicyFile(Path(named) if named else None)
    most = host.settings.bighub.batch
    evaluations = Batches(bighub, most) if most > 1 else bighub
    handler = EvaluationHandler(evaluations, host.settings, lambda: host.control.switches, host.metrics, policy.current)
    return (
        Job(
            service="evaluator",
            group="evaluator",
            topics=(topics.PROPOSED,),
            handler=handler,
            ready=lambda: bighub.refused or (None if host.control.ready else "the switches can't be read"),
        ),
    )
