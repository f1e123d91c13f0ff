"""A log in memory for the worker's tests: one group, fenced leases, and faults that are planted one by one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from callgate.clock import Clock
from callgate.events.codec import encode
from callgate.events.event import Event
from callgate.log.port import (
    CommitUnknown,
    Group,
    Lease,
    LeaseLost,
    LogUnavailable,
    Outgoing,
    Position,
    Progress,
    Record,
    Unit,
)

Fault = Literal["unavailable", "lost", "unknown, kept", "unknown, dropped"]


@dataclass
class MemoryLog:
    """The whole log, and one group's state; `faults` are what the next commits end in."""

    partitions: int = 1
    topics: dict[tuple[str, int], list[Record]] = field(default_factory=dict)
    table: dict[int, dict[str, bytes]] = field(default_factory=dict)
    positions: dict[tuple[str, int], Progress] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    faults: deque[Fault] = field(default_factory=deque)
    units: list[Unit] = field(default_factory=list)
    gap: int = 1
    """The distance between two offsets: more than 1 leaves gaps."""
    twice: bool = False
    """Whether each record is delivered twice."""
    markers: Clock | None = None
    """As on Kafka a marker lies before each claim's ends, which only a fetch shows that has waited by this clock."""
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Commits wait for it; set at first."""

    def __post_init__(self) -> None:
        self.gate.set()

    def append(self, topic: str, event: Event | bytes, *, partition: int = 0, headers: Iterable[str] = ()) -> Record:
        """Put a record at the end of a partition: an event, or bytes that are none."""
        value, own = (event, ()) if isinstance(event, bytes) else encode(event, source="test", time=0.0)
        extra = tuple((name, b"x") for name in headers)
        return self._append(Outgoing(topic, partition, b"key", value, (*own, *extra)))

    def _append(self, outgoing: Outgoing) -> Record:
        records = self.topics.setdefault((outgoing.topic, outgoing.partition), [])
        offset = records[-1].offset + self.gap if records else 0
        record = Record(outgoing.topic, outgoing.partition, offset, outgoing.key, outgoing.value, outgoing.headers, 0.0)
        records.append(record)
        self.wake()
        return record

    def wake(self) -> None:
        """Let whoever waits for the log look again."""
        self.moved.set()
        self.moved = asyncio.Event()

    def written(self, topic: str, partition: int = 0) -> list[Record]:
        """The records of a partition."""
        return self.topics.get((topic, partition), [])

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        written = [self._append(record) for record in records]
        return [Position(record.topic, record.partition, record.offset) for record in written]

    async def join(self, group: str, topics: Sequence[str]) -> Group:
        return MemoryGroup(self, tuple(topics))

    async def ends(self, topic: str) -> dict[int, int]:
        return {number: self.end(topic, number) for number in range(self.partitions)}

    def end(self, topic: str, partition: int) -> int:
        records = self.written(topic, partition)
        return records[-1].offset + 1 if records else 0

    def follow(self, topic: str, partitions: Sequence[int], start: Mapping[int, int]) -> AsyncIterator[Record]:
        raise NotImplementedError

    def scan(self, topic: str, partition: int, start: int = 0) -> AsyncIterator[Record]:
        raise NotImplementedError

    async def progress(self, group: str) -> dict[tuple[str, int], Progress]:
        return dict(self.positions)

    def tables(self, group: str) -> AsyncIterator[tuple[int, str, bytes]]:
        raise NotImplementedError

    async def close(self) -> None:
        return None


class MemoryGroup:
    """The one member; it claims each number again when its lease has ended."""

    def __init__(self, log: MemoryLog, topics: tuple[str, ...]) -> None:
        self.member = "member-1"
        self._log = log
        self._topics = topics
        self.leases: dict[int, MemoryLease] = {}
        self.left = False

    async def claim(self, wait: float) -> Lease | None:
        while True:
            for number in range(self._log.partitions):
                held = self.leases.get(number)
                if held is None or held.ended:
                    self.leases[number] = MemoryLease(self._log, number, self._topics)
                    return self.leases[number]
            await self._log.moved.wait()

    async def leave(self) -> None:
        self.left = True


class MemoryLease:
    """See `log.port.Lease`."""

    def __init__(self, log: MemoryLog, number: int, topics: tuple[str, ...]) -> None:
        self._log = log
        self.number = number
        self.epoch = log.epochs[number] = log.epochs.get(number, 0) + 1
        self.table: Mapping[str, bytes] = dict(log.table.get(number, {}))
        self.progress = {topic: log.positions.get((topic, number), Progress()) for topic in topics}
        marked = 0 if log.markers is None else 1
        self.claim_ends = {topic: log.end(topic, number) + marked for topic in topics}
        self._passed = log.markers is None
        self.closing: float | None = None
        self.ended = False
        self.released = False
        self.committing = 0
        self._next = {topic: progress.next_offset for topic, progress in self.progress.items()}

    def _check(self) -> None:
        if self.ended:
            raise LeaseLost("the test took it away")

    def closing_within(self) -> float | None:
        self._check()
        return self.closing

    def take_away(self) -> None:
        """End it, as a new holder would."""
        self.ended = True
        self._log.wake()

    async def held(self) -> bool:
        return not self.ended

    async def fetch(self, limit: int, wait: float, topics: Sequence[str] | None = None) -> list[Record]:
        while True:
            self._check()
            found = self._ready(limit, topics or tuple(self._next))
            if found or self.closing is not None:
                return [record for record in found for _ in range(2 if self._log.twice else 1)]
            if self._log.markers is not None and not self._passed:
                await self._log.markers.sleep(wait)
                self._passed, self.claim_ends = True, dict(self._next)
                return []
            await self._log.moved.wait()

    def _ready(self, limit: int, topics: Sequence[str]) -> list[Record]:
        found: list[Record] = []
        for topic in topics:
            done = self.progress[topic].done
            for record in self._log.written(topic, self.number):
                if record.offset < self._next[topic] or any(a <= record.offset < b for a, b in done):
                    continue
                if len(found) == limit:
                    return found
                found.append(record)
                self._next[topic] = record.offset + 1
        return found

    async def commit(self, unit: Unit) -> None:
        self._check()
        self.committing += 1
        assert self.committing == 1, "two commits at once"
        try:
            await self._log.gate.wait()
            await asyncio.sleep(0)
            self._end_in(self._log.faults.popleft() if self._log.faults else None, unit)
        finally:
            self.committing -= 1

    def _end_in(self, fault: Fault | None, unit: Unit) -> None:
        self._check()
        if fault == "unavailable":
            raise LogUnavailable("the test says so")
        if fault == "lost":
            self.take_away()
            raise LeaseLost("the test says so")
        if fault != "unknown, dropped":
            self._apply(unit)
        if fault is not None:
            self.take_away()
            raise CommitUnknown("the test says so")

    def _apply(self, unit: Unit) -> None:
        self._log.units.append(unit)
        table = self._log.table.setdefault(self.number, {})
        for key, value in unit.puts.items():
            if value is None:
                table.pop(key, None)
            else:
                table[key] = value
        for topic, progress in unit.progress.items():
            self._log.positions[topic, self.number] = progress
        for outgoing in unit.outputs:
            self._log._append(outgoing)

    async def release(self) -> None:
        self.released = True
        self.ended = True
        self._log.wake()
