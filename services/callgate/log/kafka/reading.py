"""Reading partitions outside any group: positions are ours, and nothing that was fetched is ever dropped.

What the library does that must be made good here: a call that raises forgets what it had already taken from other
partitions (F6), so every position is set back to what was really given; a record that can't be read raises for ever, so
after some tries it is given as a stub that nobody can decode, and becomes a dead letter; and a reader may go silent for
good, so one that hears nothing while there is something is replaced.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError, OffsetOutOfRangeError, UnsupportedCodecError

from callgate.clock import Clock
from callgate.log.kafka import clients
from callgate.log.kafka.names import Names
from callgate.log.kafka.offsets import Offsets, started
from callgate.log.port import LogUnavailable, Record

CORRUPT_TRIES = 3
"""How often a record is fetched whose checksum is wrong, before it is given as a stub."""

STALL_SECONDS = 20.0
"""How long a reader may hear nothing before it asks whether there is anything, and is replaced if there is."""

_CORRUPT_HEADER = "callgate-corrupt"

_BROKEN = (CorruptRecordException, UnsupportedCodecError, ValueError, IndexError, struct.error)
"""A wrong checksum, and what the library raises where a producer has written something it can't take apart."""

_logger = structlog.get_logger(__name__)


class Reader:
    """Reads some partitions from given positions. One call at a time; a cancelled call loses nothing."""

    def __init__(
        self,
        options: Mapping[str, Any],
        names: Names,
        clock: Clock,
        offsets: Offsets,
        *,
        committed: bool = True,
        patient: bool = False,
    ) -> None:
        """Nothing is connected yet. `patient`: see `clients.reader`."""
        self._options = options
        self._names = names
        self._clock = clock
        self._offsets = offsets
        self._committed = committed
        self._patient = patient
        self._consumer: Any = None
        self._at: dict[TopicPartition, int] = {}
        self._kept: list[Record] = []
        self._reading: asyncio.Task[list[Record]] | None = None
        self._corrupt: dict[TopicPartition, int] = {}
        self._heard = clock.monotonic()
        self._missed = False

    async def start(self) -> None:
        """Connect. Raises `LogUnavailable`."""
        self._consumer = await started(clients.reader(self._options, committed=self._committed, patient=self._patient))

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from these offsets, and no others."""
        self._at = dict(positions)
        self._kept.clear()
        self._corrupt.clear()
        self._heard = self._clock.monotonic()
        self._attach()

    def rest(self) -> None:
        """Read nothing until the next `assign`."""
        self._at.clear()
        self._kept.clear()
        self._consumer.unsubscribe()

    def position(self, place: TopicPartition) -> int:
        """The offset at which reading goes on: past what was read, and past what is there but is no record."""
        return self._at[place]

    async def read(self, places: Sequence[TopicPartition], limit: int, wait: float) -> list[Record]:
        """Up to `limit` records of some of the partitions; waits up to `wait` seconds for the first.

        Raises `LogUnavailable`. What a cancelled call would have given, the next one gives; one that is under way when
        the reader is closed gives nothing.
        """
        found = self._taken(places, limit)
        if found:
            return found
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._read(list(places), limit, wait))
        reading = self._reading
        await asyncio.wait((reading,))
        if self._reading is reading:
            self._reading = None
            if not reading.cancelled():  # closed beside; the cancellation is not the caller's
                self._kept.extend(reading.result())
        return self._taken(places, limit)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))
            self._reading = None
        if self._consumer is not None:
            await clients.stop(self._consumer)

    def _taken(self, places: Sequence[TopicPartition], limit: int) -> list[Record]:
        if not self._kept:
            return []
        wanted = {(self._names.bare(place.topic), place.partition) for place in places}
        found = [record for record in self._kept if (record.topic, record.partition) in wanted][:limit]
        if len(found) == len(self._kept):
            self._kept = []
        else:
            given = {id(record) for record in found}
            self._kept = [record for record in self._kept if id(record) not in given]
        return found

    async def _read(self, places: list[TopicPartition], limit: int, wait: float) -> list[Record]:
        suspects = [place for place in places if place in self._corrupt]
        try:
            if suspects:
                return await self._step(suspects[0])
            fetched = await self._consumer.getmany(*places, timeout_ms=int(wait * 1000), max_records=limit)
        except OffsetOutOfRangeError:
            await self._back_in_range(places)
            return []
        except _BROKEN:
            # It does not say where: each partition is looked at by itself until the culprit is found.
            self._rewind()
            self._corrupt = dict.fromkeys(places, 0)
            return []
        except KafkaError as error:
            self._rewind()
            raise LogUnavailable(f"reading failed ({type(error).__name__})") from error
        found = await self._given(fetched, places)
        if found:
            self._heard, self._missed = self._clock.monotonic(), False
        elif self._clock.monotonic() - self._heard > STALL_SECONDS:
            await self._listen(places)
        return found

    async def _given(
        self, fetched: Mapping[TopicPartition, Sequence[Any]], places: Sequence[TopicPartition]
    ) -> list[Record]:
        found: list[Record] = []
        for place, records in fetched.items():
            topic, partition = self._names.bare(place.topic), place.partition
            for each in records:
                headers = each.headers
                if any(value is None for _, value in headers):
                    headers = tuple((name, value or b"") for name, value in headers)
                found.append(
                    Record(topic, partition, each.offset, each.key, each.value, headers, each.timestamp / 1000)
                )
        for place in places:
            self._at[place] = await self._consumer.position(place)
        return found

    async def _step(self, place: TopicPartition) -> list[Record]:
        """One record of a partition that may hold a broken one."""
        try:
            fetched = await self._consumer.getmany(place, timeout_ms=1000, max_records=1)
        except _BROKEN as error:
            self._rewind()
            self._corrupt[place] += 1
            if self._corrupt[place] < CORRUPT_TRIES:
                return []
            self._corrupt[place] = 0
            at = self._at[place]
            _logger.exception("a record is corrupt", topic=place.topic, partition=place.partition, offset=at)
            self._at[place] = at + 1
            self._rewind()
            header = (_CORRUPT_HEADER, type(error).__name__.encode())
            return [Record(self._names.bare(place.topic), place.partition, at, None, b"", (header,), self._clock.now())]
        found = await self._given(fetched, [place])
        # One good record says little: the broken one may be among those behind it. Nothing at all says that it is past.
        if not found:
            del self._corrupt[place]
        return found

    async def _back_in_range(self, places: Sequence[TopicPartition]) -> None:
        begins = await self._offsets.begins(places)
        ends = await self._offsets.ends(places, committed=self._committed)
        for place in places:
            if self._at[place] < begins[place]:
                _logger.error(
                    "records were dropped by retention before they were read",
                    topic=place.topic,
                    partition=place.partition,
                    first=self._at[place],
                    lost=begins[place] - self._at[place],
                )
                self._at[place] = begins[place]
            elif self._at[place] > ends[place]:
                # To begin anew here would do everything again; to go on at the end would skip what comes.
                self._rewind()
                raise LogUnavailable(
                    f"{place.topic}[{place.partition}] ends at {ends[place]}, but {self._at[place]} was done before: "
                    "the topic was made anew or cut; take another CALLGATE_TOPIC_PREFIX"
                )
        self._rewind()

    async def _listen(self, places: Sequence[TopicPartition]) -> None:
        self._heard = self._clock.monotonic()
        ends = await self._offsets.ends(places, committed=self._committed)
        if all(ends[place] <= self._at[place] for place in places):
            self._missed = False
            return
        if not self._missed:
            self._missed = True  # it may have come just now
            return
        _logger.error("a reader hears nothing of what is there: it is replaced", partitions=clients.places(places))
        old = self._consumer
        await self.start()
        self._attach()
        await clients.stop(old)

    def _attach(self) -> None:
        self._consumer.assign(list(self._at))
        self._rewind()

    def _rewind(self) -> None:
        for place, at in self._at.items():
            self._consumer.seek(place, at)
