"""Claiming a lease. The order is what makes it safe; each step says why it stands where it does.

1. Wait for a living holder to finish and say so, up to a budget. A dead one is not waited for.
2. Ask the group whether we are its member now: a process that stood still must not fence the rightful holder.
3. Start the lease's producer: from here on nothing that an earlier holder does can become visible.
4. Take the end of the state *after* that: all that an earlier holder committed lies before it.
5. Restore table and progress up to that end.
6. Ask the group again, then write our ownership: the next holder's epoch is higher than ours.
7. Read where the inputs end, and read on where the state says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import TopicPartition

from callgate.clock import Clock
from callgate.log.kafka import state
from callgate.log.kafka.lease import Claimed
from callgate.log.kafka.names import Names
from callgate.log.kafka.offsets import Offsets
from callgate.log.kafka.reading import Reader
from callgate.log.kafka.transactions import Transactions, Write
from callgate.log.port import LogUnavailable, Progress
from callgate.settings import KafkaSettings

_PAGE = 5000
_WAIT_SECONDS = 0.1
_LOOK_SECONDS = 0.2

_logger = structlog.get_logger(__name__)


class NotOurs(Exception):  # noqa: N818 - named for what it says
    """The group has given the lease to somebody else meanwhile."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What is needed to claim one lease."""

    options: Mapping[str, Any]
    kafka: KafkaSettings
    names: Names
    clock: Clock
    group: str
    member: str
    number: int
    topics: tuple[str, ...]
    partitions: int
    offsets: Offsets
    lend: Callable[[], AbstractAsyncContextManager[Reader]]
    """A reader for a short while."""
    confirmed: Callable[[], Awaitable[bool]]
    """Whether the group counts us as a member now. May ask the brokers."""
    busy: Callable[[], bool]
    """Whether a living member may still work the lease, and should be waited for."""

    async def claimed(self) -> Claimed:
        """The lease. Raises NotOurs, `LeaseLost`, `CommitUnknown`, `LogUnavailable`."""
        transactions = Transactions(self.options, self.kafka, self.names.transactional(self.group, self.number))
        try:
            async with self.lend() as reader:
                place = TopicPartition(self.names.state(self.group), self.number)
                restoring = Restoring(reader, self.offsets, self.clock, place)
                if self.busy():
                    await self._released(restoring)
                await self._confirm()
                await transactions.start()
                found = await restoring.advance()
            await self._confirm()
            owner = state.Owner(found.owner.epoch + 1 if found.owner else 1, self.member)
            key, value = state.ownership(owner)
            now = int(self.clock.now() * 1000)
            await transactions.commit([Write(place.topic, place.partition, key, value, (), now)])
            return await self._reading(found, owner, transactions)
        except BaseException:
            await transactions.abandon()
            raise

    async def _confirm(self) -> None:
        if not await self.confirmed():
            raise NotOurs

    async def _released(self, restoring: Restoring) -> None:
        """Wait until the holder has given the lease back, is gone, or has had its time."""
        started = self.clock.monotonic()
        while self.busy():
            found = await restoring.advance()
            if found.owner is None or found.owner.released:
                return
            await self.clock.sleep(_LOOK_SECONDS)
        _logger.info(
            "a lease is taken that was not given back",
            group=self.group,
            lease=self.number,
            waited=round(self.clock.monotonic() - started, 1),
        )

    async def _reading(self, found: state.State, owner: state.Owner, transactions: Transactions) -> Claimed:
        places = {topic: TopicPartition(self.names.topic(topic), self.number) for topic in self.topics}
        # Also what is in transactions that are open now: it will come before what is written later.
        ends = await self.offsets.ends(list(places.values()), committed=False)
        begins = await self.offsets.begins(list(places.values()))
        progress = {}
        for topic, place in places.items():
            at = found.progress.get(topic)
            progress[topic] = Progress(begins[place]) if at is None else at
        reader = Reader(self.options, self.names, self.clock, self.offsets, patient=True)
        await reader.start()
        reader.assign({place: progress[topic].next_offset for topic, place in places.items()})
        return Claimed(
            group=self.group,
            number=self.number,
            owner=owner,
            topics=self.topics,
            partitions=self.partitions,
            table=found.table,
            progress=progress,
            ends={topic: ends[place] for topic, place in places.items()},
            transactions=transactions,
            reader=reader,
        )


class Restoring:
    """Reads a lease's state, further each time it is asked."""

    def __init__(self, reader: Reader, offsets: Offsets, clock: Clock, place: TopicPartition) -> None:
        """Nothing is read yet."""
        self.state = state.State()
        self._reader = reader
        self._offsets = offsets
        self._clock = clock
        self._place = place
        self._begun = False

    async def advance(self) -> state.State:
        """The state up to the end that the topic has now. Raises `LogUnavailable`."""
        place, reader = self._place, self._reader
        if not self._begun:
            reader.assign({place: (await self._offsets.begins([place]))[place]})
            self._begun = True
        end = (await self._offsets.settled([place], self._clock))[place]
        # By position and not by the last record: what lies before the end may be markers, or be compacted away.
        while reader.position(place) < end:
            for record in await reader.read([place], _PAGE, _WAIT_SECONDS):
                try:
                    self.state.apply(record.key, record.value)
                except state.UnreadableState as fault:
                    raise LogUnavailable(f"{place.topic}[{place.partition}] at {record.offset}: {fault}") from fault
        return self.state
