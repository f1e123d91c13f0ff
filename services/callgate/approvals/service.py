"""The approvals service's wiring."""

from __future__ import annotations

from callgate.approvals.handler import ApprovalHandler
from callgate.events import topics
from callgate.failures import BadInput
from callgate.worker.host import Host
from callgate.worker.worker import Job


def build(host: Host) -> tuple[Job, ...]:
    """The approvals' one job: the entrance and the ballots. Raises BadInput where votes could not be believed."""
    if not host.settings.approval.trusted:
        raise BadInput(
            "CALLGATE_APPROVAL_TRUSTED",
            "is not set, and signed votes are not verified yet",
            "Set it to true if only trusted programs can write to approvals.votes",
        )
    handler = ApprovalHandler(host.settings.approval, host.metrics)
    return (Job(service="approvals", group="approvals", topics=(topics.VOTES, topics.BALLOTS), handler=handler),)
