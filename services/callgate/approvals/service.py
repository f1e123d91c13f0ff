"""The approvals service's wiring."""

from __future__ import annotations

from callgate.approvals.handler import ApprovalHandler
from callgate.approvers.entrance import open_entrance
from callgate.events import topics
from callgate.worker.host import Host
from callgate.worker.worker import Job


def build(host: Host) -> tuple[Job, ...]:
    """The approvals' one job: the entrance and the ballots. Unready while the approvers' keys can't be had.

    Raises BadInput where votes could not be believed.
    """
    entrance = open_entrance(host.settings.approval, host.clock)
    return (
        Job(
            service="approvals",
            group="approvals",
            topics=(topics.VOTES, topics.BALLOTS),
            handler=ApprovalHandler(host.settings.approval, host.metrics, entrance),
            ready=entrance.unready,
        ),
    )
