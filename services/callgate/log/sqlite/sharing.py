"""Who should hold how many leases of a group: the same answer for everyone who reads the same rows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping


def share(member: str, members: Collection[str], holders: Mapping[int, str | None], partitions: int) -> int:
    """How many leases `member` should hold; 0 for one that is no member.

    Where the number does not divide, those that hold most keep one more: a newcomer then moves as few leases as it can.
    """
    if member not in members:
        return 0
    held = Counter(holder for holder in holders.values() if holder is not None)
    order = sorted(members, key=lambda name: (-held[name], name))
    whole, rest = divmod(partitions, len(order))
    return whole + (1 if order.index(member) < rest else 0)
