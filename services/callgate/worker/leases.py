"""Working one lease: take records in, hand them to the dispatch, commit; give the lease back, or drop everything.

Three ways out. The engine wants the lease back, or the process stops: nothing more is taken, what has begun is finished
within the budget and committed, and the lease is released. Or the lease is lost: handlers are cancelled, and nothing
that they return is published.
"""

from __future__ import annotations

import asyncio

import structlog

from callgate.clock import wait
from callgate.log.port import CommitUnknown, Lease, LeaseLost, LogUnavailable, Record
from callgate.worker.committer import Committer
from callgate.worker.dispatch import Dispatch
from callgate.worker.effects import Context
from callgate.worker.ledger import Ledger
from callgate.worker.work import Work, read
from callgate.worker.workshop import Workshop

FETCH_WAIT = 5.0
"""Seconds that a fetch waits for its first record: the wait is the log's, so an idle lease costs nothing."""

CROWDED_WAIT = 0.05
"""The same while one of several topics has no room: the others must not wait for it."""

CATCHING_UP_WAIT = 0.5
"""The same until a lease has passed its claim's ends: where only markers lie before them, a fetch that gave nothing is
what shows it, and no timer fires earlier."""

FULL_WAIT = 0.5
"""Seconds for which a full lease looks for nothing but room; then it looks whether it is wanted back."""

_log = structlog.get_logger(__name__)


class LeaseRunner:
    """One claim of one lease, from its restored state to its release.

    Three tasks run beside each other: one takes records, one commits, one watches the time. Whichever ends first says
    that the claim is over; nothing of it is used again, and the next claim begins with a new runner.
    """

    def __init__(self, claim: int, lease: Lease, workshop: Workshop) -> None:
        self.lease = lease
        self._shop = workshop
        self._clock = workshop.clock
        self._claim = claim
        self._topics = {topic.name: topic for topic in workshop.job.topics}
        self.ledger = Ledger(lease, workshop.job.topics, workshop.identity, workshop.clock)
        self._committer = Committer(
            lease,
            self.ledger.trackers,
            workshop.settings,
            workshop.clock,
            workshop.metrics,
            on_commit=self._committed,
            on_end=self._lose,
        )
        self.dispatch = Dispatch(claim, self.ledger, self._committer, workshop, context=self._context, lose=self._lose)
        self._window = max(1, workshop.settings.window // len(self._topics))
        self._room = asyncio.Event()
        self._interrupt = asyncio.Event()
        self._over = False
        self._away = False

    @property
    def unavailable(self) -> bool:
        """Whether the log does not answer this lease just now."""
        return self._away or self._committer.unavailable

    @property
    def uncommitted(self) -> bool:
        """Whether accepted effects wait to become visible."""
        return self._committer.pending

    @property
    def in_flight(self) -> int:
        """Records that were fetched and are not committed as done."""
        return sum(len(tracker) for tracker in self.ledger.trackers.values())

    def stop(self) -> None:
        """Take no more, finish, commit, release."""
        self._interrupt.set()

    async def run(self) -> None:
        """Work the lease until it is released or lost. Raises only for a defect of the worker or the engine."""
        loop = asyncio.get_running_loop()
        take, alarm = loop.create_task(self._take()), loop.create_task(self.dispatch.watch_time())
        commit = loop.create_task(self._committer.run())
        interrupted = loop.create_task(self._interrupt.wait())
        try:
            # A lease with nothing to read would otherwise never learn that it has passed its claim's ends.
            self._look_whether_caught_up()
            await asyncio.wait((take, alarm, commit, interrupted), return_when=asyncio.FIRST_COMPLETED)
            for task in (alarm, take, commit):
                if task.done():
                    task.result()  # the end of taking is a lease that is wanted back; a failure is raised here
            alarm.cancel()
            take.cancel()
            if not self._over:
                await self._drain(commit)
        except LeaseLost:
            self._lose("lost")
        finally:
            interrupted.cancel()
            take.cancel()
            alarm.cancel()
            await self._end(commit, take, alarm)
        if self.dispatch.defect is not None:
            raise self.dispatch.defect

    async def _drain(self, commit: asyncio.Task[None]) -> None:
        # What waits in the lanes is left: it is not done, so the next holder gets it again.
        self._shop.lanes.close(self._claim)
        budget = self._remaining()
        budget = self._shop.settings.drain_seconds if budget is None else budget
        finish = asyncio.ensure_future(self._finish())
        # The last part of the budget is for committing what handlers that are cut off have left.
        for share in (0.9, 0.1):
            limit = asyncio.ensure_future(self._clock.sleep(budget * share))
            await asyncio.wait((finish, limit, commit), return_when=asyncio.FIRST_COMPLETED)
            limit.cancel()
            if finish.done() or commit.done():
                break
            self.dispatch.cancel()
        finish.cancel()
        if commit.done():
            commit.result()

    async def _finish(self) -> None:
        await self.dispatch.finished()
        await self._committer.flushed()

    async def _end(self, commit: asyncio.Task[None], *others: asyncio.Task[None]) -> None:
        self._over = True
        self._committer.end()
        self.dispatch.end()
        # A handler that does not heed its cancelling is left to itself: nothing that it returns is accepted any more.
        await asyncio.wait((asyncio.ensure_future(self.dispatch.finished()),), timeout=1.0)
        # The committer ends by itself after the commit that runs, if any: its end must not be cut off.
        await asyncio.wait((commit, *others))
        self._shop.pump()
        try:
            await self.lease.release()
        except (LeaseLost, CommitUnknown, LogUnavailable) as failure:
            _log.warning("a lease was not given back; it will time out", lease=self.lease.number, reason=str(failure))

    def _lose(self, how: str) -> None:
        # Whoever notices first (a fetch, a commit, a handler) says so; all others come too late to change anything.
        if self._over:
            return
        self._over = True
        self._shop.metrics.lease_lost(how)
        self._shop.brake.forget(self._claim)
        _log.info("a lease has ended", lease=self.lease.number, how=how)
        self._committer.end()
        self.dispatch.end()
        self._interrupt.set()

    async def _take(self) -> None:
        # Each topic has its part of the window: a flood on one must not keep the other's records from being seen.
        while self.lease.closing_within() is None:
            opened = [topic for topic, tracker in self.ledger.trackers.items() if self._roomy(len(tracker))]
            if not opened:
                await self._wait_for_room()
                continue
            everything = len(opened) == len(self._topics)
            limit = min(self._window - len(self.ledger.trackers[topic]) for topic in opened)
            caught_up = self.dispatch.timers_allowed
            wait = (FETCH_WAIT if caught_up else CATCHING_UP_WAIT) if everything else CROWDED_WAIT
            try:
                records = await self.lease.fetch(limit, wait, None if everything else opened)
            except LogUnavailable as failure:
                self._away = True
                await self._clock.sleep(max(self._shop.settings.retry_first_seconds, failure.delay or 0.0))
                continue
            self._away = False
            for record in records:
                self._enqueue(record)
            if records:
                self._shop.pump()
            else:
                self._look_whether_caught_up()

    def _roomy(self, in_flight: int) -> bool:
        # A quarter of the window at least, so that a full one is not refilled record by record.
        return self._window - in_flight >= max(1, self._window // 4)

    async def _wait_for_room(self) -> None:
        self._room.clear()
        self.dispatch.make_room()
        await wait(self._room, seconds=FULL_WAIT, clock=self._clock)

    def _enqueue(self, record: Record) -> None:
        # A log may give a record again within one claim: only the tracker knows that it is done or under way.
        if self.ledger.trackers[record.topic].begin(record.offset):
            handler = self._shop.job.handler
            self.dispatch.enqueue(read(record, self._topics[record.topic], handler, self.ledger.ticket()))

    def _committed(self, done: int) -> None:
        self._shop.beat()
        self._look_whether_caught_up()
        if done:
            self._room.set()

    def _look_whether_caught_up(self) -> None:
        # Asked afresh each time: an engine may lower an end when what lay before it turns out to hold no records.
        if not self.dispatch.timers_allowed and self.ledger.caught_up(self.lease.claim_ends):
            self.dispatch.allow_timers()

    # Asked once for each attempt, so that attempt and first_tried are those of this one.
    def _context(self, work: Work) -> Context:
        assert work.first_tried is not None
        return Context(
            table=self.ledger.table,
            clock=self._clock,
            partitions=self._shop.identity.partitions,
            lease=self.lease.number,
            epoch=self.lease.epoch,
            attempt=work.attempt,
            first_tried=work.first_tried,
            delivered=work.record,
            held=self._held,
            remaining=self._remaining,
        )

    async def _held(self) -> bool:
        if self._over:
            return False
        try:
            return await self.lease.held() and not self._over
        except (LeaseLost, LogUnavailable):
            return False  # unknown is never yes

    def _remaining(self) -> float | None:
        try:
            closing = self.lease.closing_within()
        except LeaseLost:
            return 0.0  # no time is left for anything that must be committed
        stopping = self._shop.remaining()
        given = [seconds for seconds in (closing, stopping) if seconds is not None]
        return max(0.0, min(given)) if given else None
