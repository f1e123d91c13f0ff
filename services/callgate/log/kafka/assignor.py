"""Who of a group's members gets which lease: sticky, even, and by partition number over all of the group's topics.

Every member tells what it holds when it joins; the group's leader shares out, and tells each which living member held
a lease before, so that the new holder can wait for it to finish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

_VERSION = 0


class Holding(msgspec.Struct, frozen=True, array_like=True):
    """What a member tells of itself when it joins."""

    member: str
    leases: dict[int, int]
    """Epoch by lease number."""


class Share(msgspec.Struct, frozen=True, array_like=True):
    """What a member is told."""

    before: dict[int, str]
    """Of the leases that it is given, those that another living member may still be working: that member's id."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """How leases are shared out."""

    leases: Mapping[str, frozenset[int]]
    before: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


def share(members: Mapping[str, Holding], numbers: Iterable[int]) -> Sharing:
    """Share out `numbers`: shares differ by one at the most, and as little as possible moves. The same for the same.

    Where two say that they hold a lease, the higher epoch is right: the other has not noticed yet that it is fenced.
    """
    wanted = sorted(set(numbers))
    holders: dict[int, str] = {}
    for name in sorted(members):
        for number, epoch in members[name].leases.items():
            other = holders.get(number)
            if other is None or epoch > members[other].leases[number]:
                holders[number] = name
    kept: dict[str, list[int]] = {
        name: [number for number in wanted if holders.get(number) == name] for name in sorted(members)
    }
    if not kept:
        return Sharing({})
    least, more = divmod(len(wanted), len(kept))
    # Whoever holds most keeps the larger shares: so nothing moves for the sake of the remainder.
    order = sorted(kept, key=lambda name: (-len(kept[name]), name))
    quota = {name: least + (1 if place < more else 0) for place, name in enumerate(order)}
    for name in order:
        del kept[name][quota[name] :]
    free = [number for number in wanted if not any(number in held for held in kept.values())]
    for name in order:
        while len(kept[name]) < quota[name]:
            kept[name].append(free.pop(0))
    before = {
        name: {
            number: members[holders[number]].member for number in held if number in holders and holders[number] != name
        }
        for name, held in kept.items()
    }
    return Sharing({name: frozenset(held) for name, held in kept.items()}, before)


class LeaseAssignor(AbstractPartitionAssignor):  # type: ignore[misc] # the library is untyped
    """One member's voice in the sharing. An object and not a class, because what it tells is the member's own."""

    name = "callgate"

    def __init__(self, partitions: int, holding: Callable[[], Holding], told: Callable[[Share], None]) -> None:
        """`holding` is asked at every join; `told` is called with what the leader says, before the assignment is."""
        self._partitions = partitions
        self._holding = holding
        self._told = told

    def metadata(self, topics: Iterable[str]) -> Any:
        """What this member tells when it joins."""
        return ConsumerProtocolMemberMetadata(_VERSION, sorted(topics), msgspec.msgpack.encode(self._holding()))

    def assign(self, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        """What the leader gives to each member.

        A member that reads fewer topics than others (an older version, while a newer one is rolled out) gets nothing:
        a lease is the right to all of the group's topics.
        """
        topics = sorted({topic for member in members.values() for topic in member.subscription})
        able = {name: _read(member) for name, member in members.items() if sorted(member.subscription) == topics}
        # A topic that was made just now may not be known to this broker yet: N was agreed on before.
        counts = [len(cluster.partitions_for_topic(topic) or range(self._partitions)) for topic in topics]
        sharing = share(able, range(min(counts, default=0)))
        return {
            name: ConsumerProtocolMemberAssignment(
                _VERSION,
                [(topic, sorted(sharing.leases.get(name, ()))) for topic in topics],
                msgspec.msgpack.encode(Share(dict(sharing.before.get(name, {})))),
            )
            for name in members
        }

    def on_assignment(self, assignment: Any) -> None:
        """What this member is told."""
        try:
            self._told(msgspec.msgpack.decode(assignment.user_data, type=Share))
        except (msgspec.MsgspecError, TypeError):
            self._told(Share({}))  # the leader is no Callgate that we know: the budget of a hand-over is not waited for


def _read(member: Any) -> Holding:
    try:
        return msgspec.msgpack.decode(member.user_data, type=Holding)
    except (msgspec.MsgspecError, TypeError):
        return Holding("", {})
