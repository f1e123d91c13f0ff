"""A lease on Kafka: a transactional producer that fences every earlier holder, and a reader of the lease's partitions.

It never restarts its producer: a fatal error ends it. A zombie that replaced its fenced producer would fence the
rightful holder, and commit from tables that are out of date.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from aiokafka import TopicPartition

from callgate.clock import Clock
from callgate.log.bounds import UNIT_RECORD_BYTES, check
from callgate.log.kafka import state
from callgate.log.kafka.names import Names
from callgate.log.kafka.reading import Reader
from callgate.log.kafka.transactions import Transactions, Write
from callgate.log.port import CommitUnknown, LeaseLost, LogUnavailable, Outgoing, Progress, Record, Unit

READ_SECONDS = 0.5
"""How long one read waits at the most, so that a lease that is wanted back says so soon."""

ENDING_SECONDS = 2.0
"""How long a lease that has ended lets a commit go on that is under way. With brokers that answer that is enough for it
to say how it ended; with brokers that are gone it would keep its connections for half a minute."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim has made and found."""

    group: str
    number: int
    owner: state.Owner
    topics: tuple[str, ...]
    partitions: int
    table: Mapping[str, bytes]
    progress: Mapping[str, Progress]
    ends: Mapping[str, int]
    transactions: Transactions
    reader: Reader


class KafkaLease:
    """See `log.port.Lease`."""

    def __init__(
        self,
        claimed: Claimed,
        names: Names,
        clock: Clock,
        *,
        confirmed: Callable[[], Awaitable[bool]],
        ended: Callable[[KafkaLease], None],
    ) -> None:
        """`confirmed` asks whether the group still counts us as a member; `ended` is told once, when it is over."""
        self._claimed = claimed
        self._names = names
        self._state = names.state(claimed.group)
        self._clock = clock
        self._confirmed = confirmed
        self._ended = ended
        self._places = {topic: TopicPartition(names.topic(topic), claimed.number) for topic in claimed.topics}
        self._ends = dict(claimed.ends)
        self._given = {topic: claimed.progress[topic].next_offset for topic in claimed.topics}
        self._done = dict(claimed.progress)
        self._closing: float | None = None
        self._over = False
        self.worked = False
        """Whether anything was committed, or it was given back: one that ended before that is not claimed at once."""
        self._writing = asyncio.Lock()
        self._committing: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    @property
    def number(self) -> int:
        """See `Lease.number`."""
        return self._claimed.number

    @property
    def epoch(self) -> int:
        """See `Lease.epoch`."""
        return self._claimed.owner.epoch

    @property
    def table(self) -> Mapping[str, bytes]:
        """See `Lease.table`."""
        return self._claimed.table

    @property
    def progress(self) -> Mapping[str, Progress]:
        """See `Lease.progress`."""
        return self._claimed.progress

    @property
    def claim_ends(self) -> Mapping[str, int]:
        """See `Lease.claim_ends`. An end that only markers lie before is lowered to the last record before it."""
        for topic, end in self._ends.items():
            if self._given[topic] < end <= self._claimed.reader.position(self._places[topic]):
                self._ends[topic] = self._given[topic]
        return self._ends

    @property
    def closing(self) -> bool:
        """Whether it has been asked for."""
        return self._closing is not None

    @property
    def overdue(self) -> bool:
        """Whether the time to give it back is over."""
        return self._closing is not None and self._clock.monotonic() >= self._closing

    @property
    def over(self) -> bool:
        """Whether it has ended, for whatever reason."""
        return self._over

    def closing_within(self) -> float | None:
        """See `Lease.closing_within`."""
        self._check()
        return None if self._closing is None else max(0.0, self._closing - self._clock.monotonic())

    def close_within(self, seconds: float) -> None:
        """Somebody else is to have it."""
        if self._closing is None:
            self._closing = self._clock.monotonic() + seconds

    def end(self) -> None:
        """It is over, whatever the reason. Its connections are given back beside."""
        if self._over:
            return
        self._over = True
        self._stopping = asyncio.ensure_future(self._stop())
        self._ended(self)

    async def stopped(self) -> None:
        """Wait until its connections are given back."""
        if self._stopping is not None:
            await asyncio.wait((self._stopping,))

    async def held(self) -> bool:
        """See `Lease.held`. False, rather than `LeaseLost`, once it has ended.

        Nobody else can have been given it while the group counts us as a member, and the share of a living member is
        waited for longer than that is believed without asking.
        """
        if self._over or self.overdue:
            return False
        return await self._confirmed() and not self._over

    async def fetch(self, limit: int, wait: float, topics: Sequence[str] | None = None) -> list[Record]:
        """See `Lease.fetch`. Where it is cancelled, the next one gives what this one would have given."""
        places = [self._places[topic] for topic in (topics if topics is not None else self._claimed.topics)]
        until = self._clock.monotonic() + wait
        while True:
            self._check()
            left = until - self._clock.monotonic()
            records = await self._claimed.reader.read(places, limit, max(0.0, min(left, READ_SECONDS)))
            self._check()
            fresh = [record for record in records if not self._claimed.progress[record.topic].covers(record.offset)]
            for record in records:
                self._given[record.topic] = record.offset + 1
            if fresh or left <= READ_SECONDS or self._closing is not None:
                return fresh

    async def commit(self, unit: Unit) -> None:
        """See `Lease.commit`. Whoever gives up waiting for it leaves it to come to its end."""
        self._check()
        check(unit.outputs, self._claimed.partitions, UNIT_RECORD_BYTES)
        self._committing = asyncio.ensure_future(self._commit(unit))
        await asyncio.shield(self._committing)

    async def release(self) -> None:
        """See `Lease.release`. Where that can't be written, the next holder waits for its budget."""
        if self._over:
            return
        self.worked = True
        try:
            with suppress(LeaseLost, CommitUnknown, LogUnavailable):
                async with self._writing:
                    if not self._over:
                        released = state.Owner(self.epoch, self._claimed.owner.member, released=True)
                        await self._claimed.transactions.commit([self._own(*state.ownership(released), self._now())])
        finally:
            self.end()

    def consumed(self) -> dict[TopicPartition, int]:
        """How far each input is done, for lag tools: past the markers, where nothing is under way."""
        found = {}
        for topic, place in self._places.items():
            at = self._done[topic]
            everything = not at.done and at.next_offset >= self._given[topic]
            found[place] = max(at.next_offset, self._claimed.reader.position(place)) if everything else at.next_offset
        return found

    async def _commit(self, unit: Unit) -> None:
        now = self._now()
        writes = [self._write(record, now) for record in unit.outputs]
        writes += [self._own(key, value, now) for key, value in state.records(unit.puts, unit.progress)]
        async with self._writing:
            self._check()
            try:
                await self._claimed.transactions.commit(writes)
            except (LeaseLost, CommitUnknown):
                self.end()
                raise
        self.worked = True
        self._done.update(unit.progress)

    async def _stop(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDING_SECONDS), self._writing:
                pass
        await asyncio.gather(self._claimed.transactions.abandon(), self._claimed.reader.close())

    def _write(self, record: Outgoing, now: int) -> Write:
        return Write(self._names.topic(record.topic), record.partition, record.key, record.value, record.headers, now)

    def _own(self, key: bytes, value: bytes | None, now: int) -> Write:
        return Write(self._state, self.number, key, value, (), now)

    def _now(self) -> int:
        return int(self._clock.now() * 1000)

    def _check(self) -> None:
        if self._over:
            raise LeaseLost(f"lease {self.number} of {self._claimed.group} has ended")
        if self.overdue:
            self.end()
            raise LeaseLost(f"lease {self.number} of {self._claimed.group} was not given back in time")
