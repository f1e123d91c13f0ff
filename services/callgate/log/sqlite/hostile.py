"""The hostile mode: the embedded log, made as unkind as Kafka may be, by a seed.

Gaps in offsets; commits of unknown end, of which some are visible and some are not; leases lost at any await; slow
restores; late visibility; every record delivered twice. The last is the one thing in which it leaves the port, which
gives each record once per claim: it stands for producers and crashes that repeat. Nothing is lost, and the first
deliveries of a partition are in its order.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from callgate.clock import Clock
from callgate.log.port import CommitUnknown, Group, Lease, LeaseLost, Log, Outgoing, Position, Progress, Record, Unit


@dataclass(slots=True)
class Hostility:
    """How unkind, as chances between 0 and 1 for each call. One seed gives the same unkindness again."""

    seed: int = 0
    gaps: float = 0.2
    """That some offsets are left out before a record."""
    unknown: float = 0.01
    """That a commit's end is unknown; every other one of these is visible."""
    unknown_publish: float = 0.0
    """The same for what is published from outside. Its callers must try again, so it is asked for by name."""
    lost: float = 0.005
    """That the lease is lost at a fetch, commit or question."""
    slow: float = 0.3
    """That a claim takes long."""
    late: float = 0.2
    """That a fetch sees nothing yet of what is there."""
    twice: bool = True
    """Whether every record is delivered twice."""
    dice: random.Random = field(init=False)
    gap_dice: random.Random = field(init=False)
    """Of its own, because gaps are thrown in the engine's thread: the order of both must not depend on timing."""

    def __post_init__(self) -> None:
        """Seed the dice."""
        self.dice = random.Random(self.seed)  # noqa: S311 - repeatable, not secret
        self.gap_dice = random.Random(self.seed + 1)  # noqa: S311 - the same

    def gap(self) -> int:
        """How many offsets to leave out now."""
        return self.gap_dice.randrange(1, 4) if self.gap_dice.random() < self.gaps else 0

    def strikes(self, chance: float) -> bool:
        """Whether it happens this time."""
        return self.dice.random() < chance


SLOW_SECONDS = 0.05
"""How long what is slow takes: long enough to be noticed, short enough for a test."""


class HostileLog:
    """See `log.port.Log`."""

    def __init__(self, inner: Log, hostility: Hostility, clock: Clock) -> None:
        self._inner = inner
        self._hostility = hostility
        self._clock = clock

    @property
    def partitions(self) -> int:
        """See `Log.partitions`."""
        return self._inner.partitions

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        """See `Log.publish`."""
        if not self._hostility.strikes(self._hostility.unknown_publish):
            return await self._inner.publish(records)
        if self._hostility.strikes(0.5):
            await self._inner.publish(records)
        raise CommitUnknown("the hostile log does not say whether it was published")

    async def join(self, group: str, topics: Sequence[str]) -> Group:
        """See `Log.join`."""
        return HostileGroup(await self._inner.join(group, topics), self._hostility, self._clock)

    async def follow(self, topic: str, partitions: Sequence[int], start: Mapping[int, int]) -> AsyncIterator[Record]:
        """See `Log.follow`; but each record comes twice."""
        records = self._inner.follow(topic, partitions, start)
        try:
            async for record in records:
                yield record
                if self._hostility.twice:
                    yield record
        finally:
            if isinstance(records, AsyncGenerator):
                await records.aclose()

    def scan(self, topic: str, partition: int, start: int = 0) -> AsyncIterator[Record]:
        """See `Log.scan`."""
        return self._inner.scan(topic, partition, start)

    async def ends(self, topic: str) -> dict[int, int]:
        """See `Log.ends`."""
        return await self._inner.ends(topic)

    async def progress(self, group: str) -> dict[tuple[str, int], Progress]:
        """See `Log.progress`."""
        return await self._inner.progress(group)

    def tables(self, group: str) -> AsyncIterator[tuple[int, str, bytes]]:
        """See `Log.tables`."""
        return self._inner.tables(group)

    async def close(self) -> None:
        """See `Log.close`."""
        await self._inner.close()


class HostileGroup:
    """See `log.port.Group`."""

    def __init__(self, inner: Group, hostility: Hostility, clock: Clock) -> None:
        self._inner = inner
        self._hostility = hostility
        self._clock = clock
        self._claimed: Lease | None = None
        """What a cancelled claim had already got: the next one gives it."""

    @property
    def member(self) -> str:
        """See `Group.member`."""
        return self._inner.member

    async def claim(self, wait: float) -> Lease | None:
        """See `Group.claim`."""
        if self._claimed is None:
            self._claimed = await self._inner.claim(wait)
        if self._claimed is None:
            return None
        if self._hostility.strikes(self._hostility.slow):
            await self._clock.sleep(SLOW_SECONDS)
        lease, self._claimed = self._claimed, None
        return HostileLease(lease, self._hostility)

    async def leave(self) -> None:
        """See `Group.leave`."""
        await self._inner.leave()


class HostileLease:
    """See `log.port.Lease`."""

    def __init__(self, inner: Lease, hostility: Hostility) -> None:
        self._inner = inner
        self._hostility = hostility
        self._again: list[Record] = []

    @property
    def number(self) -> int:
        """See `Lease.number`."""
        return self._inner.number

    @property
    def epoch(self) -> int:
        """See `Lease.epoch`."""
        return self._inner.epoch

    @property
    def table(self) -> Mapping[str, bytes]:
        """See `Lease.table`."""
        return self._inner.table

    @property
    def progress(self) -> Mapping[str, Progress]:
        """See `Lease.progress`."""
        return self._inner.progress

    @property
    def claim_ends(self) -> Mapping[str, int]:
        """See `Lease.claim_ends`."""
        return self._inner.claim_ends

    def closing_within(self) -> float | None:
        """See `Lease.closing_within`."""
        return self._inner.closing_within()

    async def held(self) -> bool:
        """See `Lease.held`."""
        if self._hostility.strikes(self._hostility.lost):
            await self._inner.release()
        return await self._inner.held()

    async def fetch(self, limit: int, wait: float, topics: Sequence[str] | None = None) -> list[Record]:
        """See `Lease.fetch`; but each record comes twice."""
        await self._perhaps_lose()
        if self._hostility.strikes(self._hostility.late):
            return []
        again = [record for record in self._again if topics is None or record.topic in topics][:limit]
        if again and self._hostility.strikes(0.5):
            self._again = [record for record in self._again if record not in again]
            return again
        records = await self._inner.fetch(limit, min(wait, SLOW_SECONDS) if again else wait, topics)
        if self._hostility.twice:
            self._again.extend(records)
        return records

    async def commit(self, unit: Unit) -> None:
        """See `Lease.commit`."""
        await self._perhaps_lose()
        if not self._hostility.strikes(self._hostility.unknown):
            await self._inner.commit(unit)
            return
        if self._hostility.strikes(0.5):
            await self._inner.commit(unit)
        await self._inner.release()
        raise CommitUnknown("the hostile log does not say how the commit ended")

    async def release(self) -> None:
        """See `Lease.release`."""
        await self._inner.release()

    async def _perhaps_lose(self) -> None:
        self._inner.closing_within()  # an ended lease has nothing more to play with
        if self._hostility.strikes(self._hostility.lost):
            await self._inner.release()
            raise LeaseLost("the hostile log has taken the lease away")


def _conforms(log: HostileLog) -> Log:
    return log
