"""How a deadline waits for the votes that were cast in time and are still on their way. Pure.

Votes stand on any partition of the entrance, and after a downtime one partition may be read long before another. So the
deadline does not go to the ballots at once: `DeadlinePassed` goes through every partition of the entrance, one after
the other and each time behind the votes on the approval that stand there, and from the last of them to the ballots.
"""

from __future__ import annotations

from callgate.events import ids, topics
from callgate.events.approvals import ApprovalDue, DeadlinePassed
from callgate.events.routing import Address
from callgate.failures import PermanentFailure
from callgate.log.port import Record
from callgate.worker.effects import Publish

AGAIN_SECONDS = 5.0
"""How long a deadline waits at the least to come through before another is sent."""


def passed_on(passed: DeadlinePassed, record: Record, partitions: int) -> Publish | None:
    """What follows at its next place. Raises PermanentFailure for what is no approval of this log.

    Anybody can write to the entrance. A deadline before its time is stopped, so a forged one ends nothing early; a true
    one that seems to be early, as the hosts' clocks differ, is sent again by its timer.
    """
    home = ids.partition_of(passed.approval_id)
    if home is None or home >= partitions:
        raise PermanentFailure(f"the deadline names no approval of this log with {partitions} partitions")
    if record.timestamp < passed.deadline:
        return None
    following = record.partition + 1
    if following < partitions:
        return Publish(passed, Address(topics.VOTES.name, following, passed.approval_id))
    return Publish(ApprovalDue(approval_id=passed.approval_id, kind="deadline", due_at=passed.deadline))


def again_at(deadline: float, now: float) -> float:
    """When another is sent unless the approval has ended by then: seldom where something holds up the first."""
    return now + max(AGAIN_SECONDS, now - deadline)
