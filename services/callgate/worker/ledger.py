"""The living state of one lease: table, trackers, timers and parked records, and how effects change them.

Whatever is accepted here is visible to later work of the lease at once, and to others when its entry is committed; if
the lease ends before that, all of this is dropped with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from callgate.clock import Clock
from callgate.events import codec
from callgate.events.codec import TooLarge
from callgate.events.routing import address
from callgate.events.topics import Topic
from callgate.failures import PermanentFailure
from callgate.log.port import Lease, Outgoing, Progress
from callgate.worker import deadletters, parking, timers
from callgate.worker.committer import Entry
from callgate.worker.effects import Effects, Publish
from callgate.worker.parking import Parking
from callgate.worker.table import RESERVED, LivingTable
from callgate.worker.timers import Timers
from callgate.worker.tracker import Tracker
from callgate.worker.work import Work


@dataclass(frozen=True, slots=True)
class Identity:
    """Who writes, and on what kind of log."""

    service: str
    member: str
    partitions: int


class Ledger:
    """Turns effects into entries for the committer. Raises before anything has changed, or not at all.

    Each method changes the living state and describes the same change as an entry; the caller must hand every entry
    to the committer, in the order in which it got them, or state and log part ways.
    """

    def __init__(self, lease: Lease, topics: Iterable[Topic], identity: Identity, clock: Clock) -> None:
        self.table = LivingTable(lease.table)
        self.trackers: Mapping[str, Tracker] = {
            topic.name: Tracker(lease.progress.get(topic.name, Progress())) for topic in topics
        }
        self.timers = Timers(self.table.items(timers.PREFIX))
        self.parking = Parking(self.table.items(parking.PREFIX))
        self._identity = identity
        self._source = f"{identity.service}/{identity.member}"
        self._clock = clock
        self._ticket = self.parking.next_ticket

    def ticket(self) -> int:
        """The next place in the order of arrival."""
        self._ticket += 1
        return self._ticket - 1

    def accept(self, work: Work, effects: Effects, *, last: bool, reason: str | None = None) -> Entry:
        """The entry for a stage of `work`; with the `last` one the work is done. `reason` buries the record with it.

        Raises `TooLarge`, `PermanentFailure` or ValueError for effects that can't be written.
        """
        # All that can fail comes first: from the first change on there is no way back but to drop the lease.
        outputs = [self._outgoing(each, work) for each in effects.publish]
        self._check(effects)
        given_up = (effects.dead.reason if effects.dead else None, reason)
        outputs.extend(self._letter(work, each) for each in given_up if each is not None and work.record is not None)
        puts: dict[str, bytes | None] = dict(effects.put)
        # Cancelled before set, so that effects which do both to a key leave it set.
        for key in effects.cancel:
            puts.update(_entries(self.timers.cancel(key)))
        for timer in effects.timers:
            puts.update((self.timers.set(timer),))
        if last and work.timer is not None:
            puts.update(_entries(self.timers.settle(work.timer)))
        if last and work.parked is not None:
            puts.update((self.parking.done(work.lane, work.parked),))
        self.table.apply(puts)
        return Entry(tuple(outputs), puts, _done(work) if last else ())

    def park(self, works: Iterable[Work], not_before: float) -> Entry:
        """Put records into the state: the first is to be tried at `not_before`, the others follow it.

        They count as done on their topics from then on: the state is answerable for them.
        """
        puts: dict[str, bytes | None] = {}
        done: list[tuple[str, int]] = []
        now = self._clock.now()
        for work in works:
            done.extend(_done(work))
            puts.update((self.parking.park(work, not_before, now),))
            not_before = 0.0
        self.table.apply(puts)
        return Entry((), puts, tuple(done))

    def postpone(self, work: Work, due: float) -> Entry:
        """Set a timer that has failed to be tried again later."""
        assert work.timer is not None
        put = self.timers.postpone(work.timer, due, work.attempt, work.first_tried)
        puts: dict[str, bytes | None] = dict(_entries(put))
        self.table.apply(puts)
        return Entry((), puts)

    def caught_up(self, ends: Mapping[str, int]) -> bool:
        """Whether all that was on the input topics at the claim has been dealt with, or been parked.

        Parked records hold back only the timers of their own lane: a timer waits behind them.
        """
        return all(tracker.progress().next_offset >= ends.get(topic, 0) for topic, tracker in self.trackers.items())

    def _outgoing(self, publish: Publish, work: Work) -> Outgoing:
        to = publish.address or address(publish.event, self._identity.partitions)
        if not 0 <= to.partition < self._identity.partitions:
            # The log would refuse the whole unit, and with it the effects of every neighbour.
            message = f"{to.topic} has no partition {to.partition}"
            raise PermanentFailure(message)
        trace = work.envelope.traceparent if work.envelope is not None else None
        value, headers = codec.encode(publish.event, source=self._source, time=self._clock.now(), traceparent=trace)
        return Outgoing(to.topic, to.partition, to.key.encode(), value, headers)

    def _letter(self, work: Work, reason: str) -> Outgoing:
        assert work.record is not None
        return deadletters.letter(
            work.record,
            reason=reason,
            attempts=work.attempt + 1,
            service=self._identity.service,
            subject=deadletters.subject(work.envelope.event if work.envelope else None),
            died_at=self._clock.now(),
        )

    def _check(self, effects: Effects) -> None:
        for key, value in effects.put.items():
            if key.startswith(RESERVED):
                message = f"keys that begin with {RESERVED!r} are the worker's own"
                raise PermanentFailure(message)
            if value is not None and len(value) > codec.MAX_RECORD_BYTES:
                message = f"a state of {len(value)} bytes is over the limit of {codec.MAX_RECORD_BYTES}"
                raise TooLarge(message)


def progress_sum(trackers: Mapping[str, Tracker], ends: Mapping[str, int]) -> int:
    """Records between a lease's progress and `ends`, less those that are done: its lag, gaps counted as records."""
    lag = 0
    for topic, tracker in trackers.items():
        progress = tracker.progress()
        beyond = sum(end - start for start, end in progress.done)
        lag += max(0, ends.get(topic, 0) - progress.next_offset - beyond)
    return lag


def _done(work: Work) -> tuple[tuple[str, int], ...]:
    # A parked record was counted as done when it was parked.
    if work.record is None or work.parked is not None:
        return ()
    return ((work.record.topic, work.record.offset),)


def _entries(put: tuple[str, bytes | None] | None) -> tuple[tuple[str, bytes | None], ...]:
    return () if put is None else (put,)
