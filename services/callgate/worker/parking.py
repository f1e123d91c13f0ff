"""Parked records: whole records in the lease's table, so that waiting long holds up neither the partition nor a lane.

They move with the state. Within a lane they keep the order of arrival, and whatever arrives for a parked lane is
parked behind it; only the first of a lane is tried, when its time has come.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Iterable

import msgspec

from callgate.events.topics import Topic
from callgate.log.port import Headers, Record
from callgate.worker.effects import Handler
from callgate.worker.table import RESERVED
from callgate.worker.work import Work, read

PREFIX = f"{RESERVED}park/"
"""Where parked records are kept: lane, topic and offset follow."""


class Parked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A parked record as the table holds it. MessagePack, because base64 in JSON would lift it over the size limit."""

    lane: str
    ticket: int
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: float
    attempt: int = 0
    first_tried: float | None = None
    not_before: float = 0.0
    """Wall time. Of followers 0: they wait for those before them."""
    parked_at: float
    """Wall time."""

    def record(self) -> Record:
        """The record as it was delivered."""
        return Record(self.topic, self.partition, self.offset, self.key, self.value, self.headers, self.timestamp)


_DECODER = msgspec.msgpack.Decoder(Parked)


def decode(value: bytes) -> Parked:
    """A parked record from the table; also for the command line and checkers."""
    return _DECODER.decode(value)


class _Place(msgspec.Struct, frozen=True, order=True):
    ticket: int
    key: str
    not_before: float
    since: float
    tenant: str | None = None


class Due(msgspec.Struct, frozen=True):
    """The first record of a parked lane, whose time has come."""

    lane: str
    key: str
    """Of its entry in the table."""
    tenant: str | None
    """None until it has been read in this claim: the table does not say it."""


class Parking:
    """The parked records of one lease, by lane. The records themselves stay in the table.

    Only an index is in memory, and only the first of a lane has a time; a lane whose first is being tried is `loaded`
    and offers nothing until that one is done or parked again. Methods give what must be put into the table.
    """

    def __init__(self, stored: Iterable[tuple[str, bytes]] = ()) -> None:
        """Restore from the table's entries under `PREFIX`."""
        self._lanes: dict[str, list[_Place]] = {}
        self._loaded: set[str] = set()  # lanes whose first record is in memory
        self._heap: list[tuple[float, int, str]] = []
        self._count = 0
        self.next_ticket = 0
        for key, value in stored:
            parked = decode(value)
            self.next_ticket = max(self.next_ticket, parked.ticket + 1)
            since = parked.first_tried or parked.parked_at
            self._insert(parked.lane, _Place(parked.ticket, key, parked.not_before, since))
        for lane in self._lanes:
            self._announce(lane)

    def __len__(self) -> int:
        """How many records are parked."""
        return self._count

    def __contains__(self, lane: str) -> bool:
        """Whether a lane is parked, and what arrives for it must follow."""
        return lane in self._lanes

    def oldest(self) -> float | None:
        """Since when (wall time) the oldest has been tried, or been parked."""
        return min((place.since for places in self._lanes.values() for place in places), default=None)

    def park(self, work: Work, not_before: float, now: float) -> tuple[str, bytes]:
        """Park a record, or park it again. Gives what must be put into the table."""
        record = work.record
        assert record is not None
        key = work.parked or f"{PREFIX}{work.lane}/{record.topic}/{record.offset:020d}"
        if work.parked is not None:
            self._remove(work.lane, work.parked)
            self._loaded.discard(work.lane)
        parked = Parked(
            lane=work.lane,
            ticket=work.ticket,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            headers=record.headers,
            timestamp=record.timestamp,
            attempt=work.attempt,
            first_tried=work.first_tried,
            not_before=not_before,
            parked_at=now,
        )
        self._insert(work.lane, _Place(work.ticket, key, not_before, work.first_tried or now, work.tenant))
        if work.lane not in self._loaded:
            self._announce(work.lane)
        return key, msgspec.msgpack.encode(parked)

    def done(self, lane: str, key: str) -> tuple[str, None]:
        """A parked record has come to its end; the next of its lane takes its place."""
        self._remove(lane, key)
        self._loaded.discard(lane)
        if lane in self._lanes:
            self._announce(lane)
        return key, None

    def next_due(self) -> float | None:
        """Wall time at which the next lane may be tried."""
        while self._heap and not self._first(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Due | None:
        """The first record of a lane that may be tried now: it counts as being in memory from here on."""
        due = self.next_due()
        if due is None or due > now:
            return None
        _, _, lane = heapq.heappop(self._heap)
        self._loaded.add(lane)
        first = self._lanes[lane][0]
        return Due(lane, first.key, first.tenant)

    def later(self, lane: str, not_before: float, tenant: str) -> None:
        """There is no room for the lane's first record now: offer it again at `not_before`. Changes no table."""
        first = self._lanes[lane][0]
        self._lanes[lane][0] = _Place(first.ticket, first.key, not_before, first.since, tenant)
        self._loaded.discard(lane)
        self._announce(lane)

    def _first(self, entry: tuple[float, int, str]) -> bool:
        places = self._lanes.get(entry[2])
        if places is None or entry[2] in self._loaded:
            return False
        return (places[0].not_before, places[0].ticket) == entry[:2]

    def _announce(self, lane: str) -> None:
        first = self._lanes[lane][0]
        heapq.heappush(self._heap, (first.not_before, first.ticket, lane))

    def _insert(self, lane: str, place: _Place) -> None:
        insort(self._lanes.setdefault(lane, []), place)
        self._count += 1

    def _remove(self, lane: str, key: str) -> None:
        places = self._lanes[lane]
        places[:] = [place for place in places if place.key != key]
        self._count -= 1
        if not places:
            del self._lanes[lane]


def unpark(key: str, value: bytes, topics: dict[str, Topic], handler: Handler) -> Work:
    """The work that a parked record is, in the lane that it was parked in, whatever the handler would say today."""
    parked = decode(value)
    work = read(parked.record(), topics[parked.topic], handler, parked.ticket)
    work.lane = parked.lane
    work.parked = key
    work.attempt = parked.attempt
    work.first_tried = parked.first_tried
    return work
