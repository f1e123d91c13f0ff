"""Kafka as a `Log`: one process's handle on the brokers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition

from callgate.clock import Clock
from callgate.events import topics as catalogue
from callgate.log.bounds import RECORD_BYTES, check, partitions_of
from callgate.log.kafka import clients
from callgate.log.kafka.claiming import Restoring
from callgate.log.kafka.cluster import agreed_partitions
from callgate.log.kafka.connection import client_options
from callgate.log.kafka.membership import KafkaGroup
from callgate.log.kafka.names import Names
from callgate.log.kafka.offsets import Offsets
from callgate.log.kafka.publishing import Publisher
from callgate.log.kafka.reading import Reader
from callgate.log.kafka.state import State
from callgate.log.kafka.transactions import Write
from callgate.log.port import Group, Log, LogClosed, Outgoing, Position, Progress, Record
from callgate.settings import KafkaSettings

FOLLOW_SECONDS = 1.0
"""How long one read of a follower waits; it sees records at once all the same."""

_PAGE = 1000
_IDLE_READERS = 4


class KafkaLog:
    """See `log.port.Log`. Open it with `open_kafka`."""

    def __init__(
        self, options: Mapping[str, Any], kafka: KafkaSettings, names: Names, clock: Clock, partitions: int
    ) -> None:
        self.options = options
        self.kafka = kafka
        self.names = names
        self.clock = clock
        self._partitions = partitions
        self.offsets = Offsets(options)
        self._publisher = Publisher(options, kafka, names)
        self._groups: list[KafkaGroup] = []
        self._idle: dict[bool, list[Reader]] = {True: [], False: []}
        self._behind: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None

    @property
    def partitions(self) -> int:
        """See `Log.partitions`."""
        return self._partitions

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        """See `Log.publish`. Raises ValueError for a topic or partition that is not there, `TooLarge`."""
        self._check_open()
        check(records, self._partitions, RECORD_BYTES)
        now = int(self.clock.now() * 1000)
        return await self._publisher.publish(
            [
                Write(self.names.topic(each.topic), each.partition, each.key, each.value, each.headers, now)
                for each in records
            ]
        )

    async def join(self, group: str, topics: Sequence[str]) -> Group:
        """See `Log.join`. Several members may join through one log."""
        self._check_open()
        for topic in topics:
            partitions_of(topic, self._partitions)
        joined = KafkaGroup(self, group, tuple(topics))
        await joined.start()
        self._groups.append(joined)
        return joined

    async def follow(self, topic: str, partitions: Sequence[int], start: Mapping[int, int]) -> AsyncIterator[Record]:
        """See `Log.follow`. Raises ValueError for a topic or partition that is not there, `LogUnavailable`."""
        self._check_open()
        places = [self._place(topic, partition) for partition in partitions]
        reader = await self._reader(committed=_committed(topic), patient=True)
        try:
            begins = await self.offsets.begins(places)
            reader.assign({place: max(begins[place], start.get(place.partition, 0)) for place in places})
            while True:
                for record in await reader.read(places, _PAGE, FOLLOW_SECONDS):
                    yield record
                self._check_open()
        finally:
            await reader.close()

    async def scan(self, topic: str, partition: int, start: int = 0) -> AsyncIterator[Record]:
        """See `Log.scan`. Raises ValueError for a topic or partition that is not there, `LogUnavailable`."""
        self._check_open()
        place = self._place(topic, partition)
        if not catalogue.BY_NAME[topic].compacted:
            async for record in self._scan(place, start):
                yield record
            return
        # The brokers compact when they like. What they would leave is the last of each key.
        last: dict[bytes | int, Record] = {}
        async for record in self._scan(place, start):
            key = record.offset if record.key is None else record.key
            last.pop(key, None)
            last[key] = record
        for record in last.values():
            yield record

    async def ends(self, topic: str) -> dict[int, int]:
        """See `Log.ends`. Where markers of transactions lie behind the last record, past those."""
        self._check_open()
        places = [self._place(topic, partition) for partition in range(partitions_of(topic, self._partitions))]
        ends = await self._ends(places, committed=_committed(topic))
        return {place.partition: end for place, end in ends.items()}

    async def progress(self, group: str) -> dict[tuple[str, int], Progress]:
        """See `Log.progress`."""
        found: dict[tuple[str, int], Progress] = {}
        for number in range(self._partitions):
            found |= {(topic, number): at for topic, at in (await self._state(group, number)).progress.items()}
        return found

    async def tables(self, group: str) -> AsyncIterator[tuple[int, str, bytes]]:
        """See `Log.tables`."""
        for number in range(self._partitions):
            for key, value in (await self._state(group, number)).table.items():
                yield number, key, value

    async def close(self) -> None:
        """See `Log.close`. Whoever follows or publishes afterwards gets `LogUnavailable`."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    def left(self, group: KafkaGroup) -> None:
        """A member has left."""
        if group in self._groups:
            self._groups.remove(group)

    def leave_behind(self, work: Coroutine[Any, Any, None]) -> None:
        """Let some clean-up go on beside; closing waits for it."""
        task = asyncio.ensure_future(work)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)

    def _check_open(self) -> None:
        if self._closing is not None:
            raise LogClosed("the log is closed")

    def _place(self, topic: str, partition: int) -> TopicPartition:
        # Nothing would ever come of it, and its reader would wait for ever.
        if not 0 <= partition < partitions_of(topic, self._partitions):
            raise ValueError(f"{topic} has no partition {partition}")
        return TopicPartition(self.names.topic(topic), partition)

    async def _reader(self, *, committed: bool, patient: bool) -> Reader:
        reader = Reader(self.options, self.names, self.clock, self.offsets, committed=committed, patient=patient)
        await reader.start()
        return reader

    @asynccontextmanager
    async def borrowed(self, *, committed: bool = True) -> AsyncIterator[Reader]:
        """A reader for a short while: connecting costs more than most of what it is used for."""
        idle = self._idle[committed]
        reader = idle.pop() if idle else await self._reader(committed=committed, patient=False)
        kept = False
        try:
            yield reader
            kept = self._closing is None and len(idle) < _IDLE_READERS
        finally:
            if kept:
                reader.rest()
                idle.append(reader)
            else:
                await reader.close()

    async def _ends(self, places: Sequence[TopicPartition], *, committed: bool) -> dict[TopicPartition, int]:
        if committed:
            return await self.offsets.settled(places, self.clock)
        return await self.offsets.ends(places, committed=False)

    async def _scan(self, place: TopicPartition, start: int) -> AsyncIterator[Record]:
        committed = _committed(self.names.bare(place.topic))
        begin = (await self.offsets.begins([place]))[place]
        end = (await self._ends([place], committed=committed))[place]
        if max(begin, start) >= end:
            return
        async with self.borrowed(committed=committed) as reader:
            reader.assign({place: max(begin, start)})
            while reader.position(place) < end:
                for record in await reader.read([place], _PAGE, 0.1):
                    if record.offset < end:
                        yield record

    async def _state(self, group: str, number: int) -> State:
        self._check_open()
        place = TopicPartition(self.names.state(group), number)
        async with self.borrowed() as reader:
            return await Restoring(reader, self.offsets, self.clock, place).advance()

    async def _close(self) -> None:
        for group in list(self._groups):
            await group.leave()
        if self._behind:
            await asyncio.wait(list(self._behind))  # each comes to an end by itself, whatever the brokers do
        for reader in [*self._idle[True], *self._idle[False]]:
            await reader.close()
        self._idle = {True: [], False: []}
        await self.offsets.close()
        await self._publisher.close()
        await clients.settled()


async def open_kafka(bootstrap: str, *, kafka: KafkaSettings, names: Names, clock: Clock) -> KafkaLog:
    """Connect to brokers on which the topics are laid out. Raises BadInput, `LogUnavailable`."""
    options = client_options(bootstrap, kafka)
    return KafkaLog(options, kafka, names, clock, await agreed_partitions(options, names))


def _committed(topic: str) -> bool:
    known = catalogue.BY_NAME.get(topic)
    return known is None or known.committed_only


def _conforms(log: KafkaLog) -> Log:
    return log
