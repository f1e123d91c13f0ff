"""Running the work of one lease: lanes in, outcomes out, and everything that waits for its time.

Work is in exactly one of four places: in a lane (waiting, running, or held for a retry), parked in the state, behind a
parked lane (timers only), or armed as a timer. Each outcome moves it to another of them or ends it. What a handler
returns is accepted here and nowhere else; once the lease has ended nothing is.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, deque
from collections.abc import Callable

from callgate.log.port import LeaseLost
from callgate.worker.alarm import Alarm
from callgate.worker.attempts import Attempts, Braked, Done, Outcome
from callgate.worker.committer import Committer, Entry
from callgate.worker.effects import Context
from callgate.worker.ledger import Ledger
from callgate.worker.parking import Due, unpark
from callgate.worker.retry import Again, Park
from callgate.worker.timers import Armed
from callgate.worker.work import Work
from callgate.worker.workshop import Workshop

OVERFLOW = 10
"""Windows of records that a lease parks for tenants over their share, before it lets the partition wait instead."""

TURNOVER_SECONDS = 1.0
"""A full window whose oldest record was taken so long ago hides for too long who stands behind it."""

OVERFLOW_SECONDS = 1.0
"""How soon such records are looked at again: their turn comes when their tenant has room, not at a time."""


class Dispatch:
    """The work in hand of one claim. `lose` is called when a handler finds that the lease is lost.

    A lane that is parked has nothing in memory but its first record, and that only while it is tried: whatever arrives
    for it goes to the state, behind the others. So the order of a lane is never split over two places.
    """

    def __init__(
        self,
        claim: int,
        ledger: Ledger,
        committer: Committer,
        workshop: Workshop,
        *,
        context: Callable[[Work], Context],
        lose: Callable[[str], None],
    ) -> None:
        self._claim = claim
        self._ledger = ledger
        self._committer = committer
        self._shop = workshop
        self._clock = workshop.clock
        self._lanes = workshop.lanes
        self._lose = lose
        self._topics = {topic.name: topic for topic in workshop.job.topics}
        self._attempts = Attempts(claim, workshop, ledger, submit=self._submit, context=context)
        self._alarm = Alarm(workshop.clock, self._ring)
        self._works: dict[Work, None] = {}  # in memory, oldest first
        self._tenants: Counter[str] = Counter()
        self._tasks: dict[Work, asyncio.Task[None]] = {}
        self._retries: list[tuple[float, int, str]] = []
        self._behind: dict[str, list[Work]] = {}  # timers whose lane is parked
        self._serving: Counter[str] = Counter()  # timers in memory, by the tenant whose share they use
        self._due: dict[str, deque[Armed]] = {}  # timers beyond it, which stay armed in the state
        self.timers_allowed = False
        """Whether the lease has passed all that was there at its claim."""
        self.defect: BaseException | None = None
        """What the dispatch itself failed of, a handler's failures apart: the worker must stop."""
        self._over = False

    @property
    def oldest_taken(self) -> float | None:
        """When (monotonic) the oldest work in memory was taken."""
        return next(iter(self._works)).taken if self._works else None

    async def watch_time(self) -> None:
        """Start what comes due, for ever; end it by cancelling."""
        await self._alarm.run()

    def allow_timers(self) -> None:
        """The lease has passed all that was there at its claim: what was due before may fire."""
        if not self.timers_allowed:
            self.timers_allowed = True
            self._alarm.now()

    def start(self, work: Work) -> None:
        """Run what the lanes have picked."""
        self._tasks[work] = asyncio.get_running_loop().create_task(self._execute(work))

    async def finished(self) -> None:
        """Wait until nothing runs."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks.values()))
            # What is cut off before its first step has run nothing, so it could not take itself out.
            self._tasks = {work: task for work, task in self._tasks.items() if not task.done()}

    def cancel(self) -> None:
        """Cut off what runs. Coroutines are cancelled; a thread that a tool runs in can't be, and is left behind."""
        for task in self._tasks.values():
            task.cancel()

    def end(self) -> None:
        """The lease has ended: forget everything, accept nothing."""
        self._over = True
        self._lanes.drop(self._claim)
        self.cancel()

    def enqueue(self, work: Work) -> None:
        """Take in a record that was fetched: behind its lane, in memory or, where the lane is parked, in the state."""
        if work.lane in self._ledger.parking:
            self._committer.submit(self._ledger.park((work,), 0.0))
        else:
            self._add(work)

    def make_room(self) -> None:
        """Park what tenants have waiting beyond their share of the window, so that others behind it are seen.

        Who stands behind a full window can't be known without reading on, so this is done even for a tenant that is
        alone. But not while the window turns over quickly: then those behind it are seen soon enough, and copying
        records into the state and back would only take time from them. The amount is bounded.
        """
        oldest = self.oldest_taken
        if oldest is None or self._clock.monotonic() - oldest < TURNOVER_SECONDS:
            return
        share = self._shop.settings.window * self._shop.settings.tenant_share
        most = OVERFLOW * self._shop.settings.window
        for tenant, held in list(self._tenants.items()):
            surplus = held - share
            for works in self._lanes.idle(self._claim, tenant):
                if surplus <= 0 or len(self._ledger.parking) >= most:
                    break
                # Timers and records of parked lanes are in the state already: nothing is gained by moving them.
                if all(work.timer is None and work.parked is None for work in works):
                    surplus -= len(works)
                    self._park_lane(works[0].lane, OVERFLOW_SECONDS)

    def _add(self, work: Work) -> None:
        work.taken = self._clock.monotonic()
        self._works[work] = None
        self._tenants[work.tenant] += 1
        if work.timer is not None and work.tenant:
            self._serving[work.tenant] += 1
        self._lanes.add(self._claim, work)

    def _remove(self, work: Work) -> None:
        self._works.pop(work, None)
        self._tenants[work.tenant] -= 1
        if self._tenants[work.tenant] <= 0:
            del self._tenants[work.tenant]
        if work.timer is not None and work.tenant:
            self._serve_next(work.tenant)

    def _submit(self, entry: Entry) -> None:
        # The entry may have set a timer that is due before all that the alarm sleeps for.
        self._committer.submit(entry)
        due = self._ledger.timers.next_due() if self.timers_allowed else None
        if due is not None:
            self._alarm.within(due - self._clock.now())

    # Takes itself out of the tasks: a callback on each would be one more turn of the loop with every record.
    async def _execute(self, work: Work) -> None:
        try:
            outcome = await self._attempts.run(work)
            # A handler may have swallowed its cancelling: its lane is gone, and what it returned was not accepted.
            if not self._over:
                self._settle(work, outcome)
        except LeaseLost:
            self._lose("lost")
        except Exception as defect:  # noqa: BLE001 - whatever it is, the lease's runner raises it
            if self.defect is None:
                self.defect = defect
                self._lose("defect")
        finally:
            self._tasks.pop(work, None)

    def _settle(self, work: Work, outcome: Outcome) -> None:
        self._shop.beat()
        key = (self._claim, work.lane)
        if isinstance(outcome, Done):
            self._remove(work)
            self._lanes.finish(key)
            self._follow(work.lane)
        elif isinstance(outcome, Again):
            self._lanes.hold(key)
            heapq.heappush(self._retries, (self._clock.monotonic() + outcome.after, work.ticket, work.lane))
            self._alarm.within(outcome.after)
        elif isinstance(outcome, Braked):
            self._lanes.hold(key)
            self._shop.trip(outcome.reason)
        else:
            self._park(work, outcome)
        self._shop.pump()

    def _park(self, work: Work, outcome: Park) -> None:
        # A timer is in the state anyway: it is set to a later time, and its lane goes on without it.
        if work.timer is None:
            self._park_lane(work.lane, outcome.after)
            return
        self._remove(work)
        self._lanes.finish((self._claim, work.lane))
        self._committer.submit(self._ledger.postpone(work, self._clock.now() + outcome.after))
        self._alarm.within(outcome.after)

    def _park_lane(self, lane: str, after: float) -> None:
        works = self._lanes.clear((self._claim, lane))
        for work in works:
            self._remove(work)
        # Timers can't be parked with the records that they must follow: they wait in memory, armed in the state.
        records = [work for work in works if work.timer is None]
        self._behind.setdefault(lane, []).extend(work for work in works if work.timer is not None)
        self._committer.submit(self._ledger.park(records, self._clock.now() + after))
        self._alarm.within(after)

    def _follow(self, lane: str) -> None:
        """What waited behind a lane's parked records may run when the last of them is done."""
        if lane in self._ledger.parking:
            self._alarm.now()
            return
        for work in self._behind.pop(lane, ()):
            self._add(work)

    def _ring(self) -> float | None:
        monotonic, now = self._clock.monotonic(), self._clock.now()
        while self._retries and self._retries[0][0] <= monotonic:
            self._lanes.resume((self._claim, heapq.heappop(self._retries)[2]))
        while (due := self._ledger.parking.due(now)) is not None:
            self._unpark(due, now)
        if self.timers_allowed:
            for armed in self._ledger.timers.due(now):
                self._admit(armed)
        self._shop.pump()
        moments = [self._ledger.parking.next_due(), self._ledger.timers.next_due() if self.timers_allowed else None]
        waits = [moment - now for moment in moments if moment is not None]
        if self._retries:
            waits.append(self._retries[0][0] - monotonic)
        return max(0.0, min(waits)) if waits else None

    def _unpark(self, due: Due, now: float) -> None:
        # A long queue is offered again every second: what is known to find no room is not read each time.
        if due.tenant is not None and self._crowded(due.tenant):
            self._ledger.parking.later(due.lane, now + OVERFLOW_SECONDS, due.tenant)
            return
        value = self._ledger.table.get(due.key)
        assert value is not None
        work = unpark(due.key, value, self._topics, self._shop.job.handler)
        if self._crowded(work.tenant):
            self._ledger.parking.later(work.lane, now + OVERFLOW_SECONDS, work.tenant)
        else:
            self._add(work)

    def _crowded(self, tenant: str) -> bool:
        # The same share as for what is fetched: a backlog that drains must not starve what arrives.
        window = self._shop.settings.window
        return len(self._works) >= window or self._tenants[tenant] >= max(
            1.0, window * self._shop.settings.tenant_share
        )

    def _admit(self, armed: Armed) -> None:
        """Serve a timer that has come due, or let it wait for others of its tenant: they may not fill the window."""
        share = self._shop.settings.window * self._shop.settings.tenant_share
        if armed.tenant and self._serving[armed.tenant] >= max(1.0, share):
            self._due.setdefault(armed.tenant, deque()).append(armed)
        else:
            self._fire(armed)

    def _serve_next(self, tenant: str) -> None:
        """One of a tenant's timers is served, or waits for a later time: the next may take its place."""
        self._serving[tenant] -= 1
        if self._serving[tenant] <= 0:
            del self._serving[tenant]
        if (waiting := self._due.get(tenant)) is not None:
            self._fire(waiting.popleft())
            if not waiting:
                del self._due[tenant]

    def _fire(self, armed: Armed) -> None:
        work = Work(
            lane=armed.lane,
            tenant=armed.tenant,
            ticket=self._ledger.ticket(),
            timer=armed,
            attempt=armed.attempt,
            first_tried=armed.first_tried,
        )
        if armed.lane in self._ledger.parking:
            self._behind.setdefault(armed.lane, []).append(work)
        else:
            self._add(work)
