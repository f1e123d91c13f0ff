"""The log port: what every engine must do, and what its users may rely on.

The central idea is the *lease*: a group's exclusive, fenced right to work on one partition number, across all the
topics that the group reads. A lease gives records from the restored position, a table of the lease's own state, and
`commit(unit)`: outputs, state changes and progress become visible together or not at all.

A commit ends in one of three ways: done (it returns); `LeaseLost`; or `CommitUnknown`. The last two end the lease: its
tables and trackers are to be dropped, and the truth is read again at the next claim.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import msgspec

from callgate.failures import CallgateError, TemporaryFailure

Headers = tuple[tuple[str, bytes], ...]


class LeaseLost(CallgateError):  # noqa: N818 - named for what happened
    """The lease has passed to another member, or may have: nothing of the unit is visible, and nothing more will be."""


class CommitUnknown(CallgateError):  # noqa: N818 - named for what happened
    """The unit is visible in whole or not at all, and the caller can't know which. The lease has ended."""


class LogUnavailable(TemporaryFailure):
    """The log can't be read or written now (locked file, full disk, broker away). Nothing was lost; try again."""


class LogClosed(LogUnavailable):
    """Its owner has closed this log: to try again is of no use."""


class Record(msgspec.Struct, frozen=True):
    """One record as the log holds it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: float
    """Seconds since the epoch: the append time on entrances, the writer's time elsewhere."""


class Outgoing(msgspec.Struct, frozen=True):
    """One record to be written. The partition is always named."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    """None is a tombstone: compaction forgets the key."""
    headers: Headers = ()


class Position(msgspec.Struct, frozen=True):
    """Where a record was written."""

    topic: str
    partition: int
    offset: int


class Progress(msgspec.Struct, frozen=True):
    """How far a group has come in one input partition, where work completes out of order."""

    next_offset: int = 0
    """The lowest offset that is not known to be done."""
    done: tuple[tuple[int, int], ...] = ()
    """What is done beyond it: runs `[start, end)`, ascending, disjoint, all above `next_offset`."""

    def covers(self, offset: int) -> bool:
        """Whether the record at an offset is done."""
        place = bisect_right(self.done, (offset, float("inf"))) - 1
        return offset < self.next_offset or (place >= 0 and offset < self.done[place][1])


class Unit(msgspec.Struct, frozen=True):
    """What becomes visible together or not at all."""

    outputs: tuple[Outgoing, ...] = ()
    puts: Mapping[str, bytes | None] = msgspec.field(default_factory=dict)
    """Changes to the lease's table; None deletes the key."""
    progress: Mapping[str, Progress] = msgspec.field(default_factory=dict)
    """Per input topic of the lease; topics that are left out keep what they had."""


class Lease(Protocol):
    """The fenced right of one member of a group to work on one partition number.

    All methods raise `LeaseLost` once the lease has ended, for whatever reason; it never comes back to life.
    """

    @property
    def number(self) -> int:
        """The partition number, from 0."""
        ...

    @property
    def epoch(self) -> int:
        """Rises with every claim of this number by anybody in the group; the fencing token."""
        ...

    @property
    def table(self) -> Mapping[str, bytes]:
        """The state as restored at the claim. Not updated by `commit`: the worker takes it over and changes it."""
        ...

    @property
    def progress(self) -> Mapping[str, Progress]:
        """Per input topic, as restored at the claim."""
        ...

    @property
    def claim_ends(self) -> Mapping[str, int]:
        """The end offset of each input topic at the claim: timers wait until these have been passed."""
        ...

    def closing_within(self) -> float | None:
        """Seconds left to finish and release, once the engine wants the lease back; None while it does not.

        Does not block. When the time is over the lease is lost.
        """
        ...

    async def held(self) -> bool:
        """Whether the lease is still ours, as surely as can be known without a commit. May ask the log."""
        ...

    async def fetch(self, limit: int, wait: float, topics: Sequence[str] | None = None) -> list[Record]:
        """Up to `limit` records that are not done, in order per topic; waits up to `wait` seconds for the first.

        An empty list says only that there was none in time, or that the lease is now closing. Each record is given
        once per claim. `topics` restricts it to some of the lease's topics: the others keep what they have.
        """
        ...

    async def commit(self, unit: Unit) -> None:
        """Make a unit visible. Only one commit may run at a time. Must not be cancelled: shield it.

        Raises `LeaseLost`, `CommitUnknown`, or `LogUnavailable` (nothing is visible; the same unit may be tried again).
        """
        ...

    async def release(self) -> None:
        """Give the lease back, after the last commit. Idempotent; never raises for a lease that is lost already."""
        ...


class Group(Protocol):
    """One member's part in a group that shares out the partition numbers."""

    @property
    def member(self) -> str:
        """This member's id, unique over all processes."""
        ...

    async def claim(self, wait: float) -> Lease | None:
        """The next lease that this member should hold, fully restored; None if there is none within `wait` seconds.

        Must be called again and again while the member lives: shares change as others come and go.
        """
        ...

    async def leave(self) -> None:
        """Release what is held and stop being a member. Idempotent."""
        ...


class Log(Protocol):
    """A log of partitioned topics: outside leases it offers publish, follow and scan, and no more."""

    @property
    def partitions(self) -> int:
        """N: the number of partitions of every partitioned topic of this log."""
        ...

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        """Append records from outside any group: clients, operators. All or none, in order.

        Raises `LogUnavailable` where it is known that nothing was written, and `CommitUnknown` where it is not.
        """
        ...

    async def join(self, group: str, topics: Sequence[str]) -> Group:
        """Become a member of `group`, which reads `topics`. Every member of a group must name the same topics."""
        ...

    def follow(self, topic: str, partitions: Sequence[int], start: Mapping[int, int]) -> AsyncIterator[Record]:
        """Records as they come, for ever, from `start` per partition (default 0). No group, no progress kept."""
        ...

    def scan(self, topic: str, partition: int, start: int = 0) -> AsyncIterator[Record]:
        """The visible records from `start` to the end as it is now, then stops. Compacted records are left out."""
        ...

    async def ends(self, topic: str) -> dict[int, int]:
        """For each partition of `topic` the offset after its last visible record."""
        ...

    async def progress(self, group: str) -> dict[tuple[str, int], Progress]:
        """A group's committed progress per topic and partition, for lag and for checkers; read only."""
        ...

    def tables(self, group: str) -> AsyncIterator[tuple[int, str, bytes]]:
        """A group's committed tables as `(lease number, key, value)`; read only: command line and checkers."""
        ...

    async def close(self) -> None:
        """Give back what is held. Groups still joined are left. Idempotent."""
        ...
