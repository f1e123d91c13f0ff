"""The worker of one service: joins the group, works the leases that it is given, stops in good order.

One `Worker` runs one `Job` in one process. It ends by itself only when the brake has tripped, or for a defect.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import structlog

from callgate.clock import Clock, wait
from callgate.failures import CallgateError
from callgate.log.port import Group, Lease, LeaseLost, Log, LogUnavailable
from callgate.settings import WorkerSettings
from callgate.telemetry import catalogue
from callgate.telemetry.health import Health
from callgate.telemetry.metrics import Metrics
from callgate.worker.brake import Brake
from callgate.worker.job import Job
from callgate.worker.lanes import Lanes
from callgate.worker.leases import LeaseRunner
from callgate.worker.ledger import Identity
from callgate.worker.reporting import FleetReports
from callgate.worker.workshop import Workshop

__all__ = ["BrakeTripped", "Health", "Job", "Worker"]

CLAIM_WAIT = 5.0
"""Seconds that a claim waits for a lease to become free; the wait is the log's."""

STALLED_SECONDS = 300.0
"""With work to do and nothing started, ended or committed for so long, a worker is not live."""

_log = structlog.get_logger(__name__)


class BrakeTripped(CallgateError):  # noqa: N818 - named for what happened
    """Too much was given up: the service has stopped, and the records in question are still there."""


class Worker:
    """`run` it once; `health` may be asked at any time.

    Slots and brake are the worker's, shared by its leases; everything else belongs to one claim of one lease and ends
    with it. A lease that was lost comes back, if at all, as a new claim with its state read anew.
    """

    def __init__(
        self,
        log: Log,
        job: Job,
        *,
        settings: WorkerSettings,
        clock: Clock,
        metrics: Metrics,
        epoch: Callable[[], int] = lambda: -1,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`epoch` gives the offset of the last change of `control` that this process has applied.

        `jitter` gives numbers from 0 up to 1, which spread retries; a test gives always the same.
        """
        self._log = log
        self._job = job
        self._settings = settings
        self._clock = clock
        self._metrics = metrics.worker(job.service)
        self._epoch = epoch
        self._jitter = jitter
        self._lanes = Lanes(settings.concurrency, settings.tenant_share, job.weights)
        self._brake = Brake(settings)
        self._runners: dict[int, LeaseRunner] = {}
        self._tasks: dict[asyncio.Task[None], int] = {}
        self._claims = 0
        self._group: Group | None = None
        self._unavailable = False
        self._tripped: str | None = None
        self._stopping = asyncio.Event()
        self._deadline: float | None = None
        self._moved = clock.monotonic()
        self.reports = FleetReports(log, job, clock, ready=lambda: self.health().ready, epoch=epoch)
        self._show()

    @property
    def leases(self) -> tuple[LeaseRunner, ...]:
        """The leases that are worked now."""
        return tuple(self._runners.values())

    def health(self) -> Health:
        """Ready: it has joined, the log answers, and its service can work. Live: it moves while it must."""
        reasons: list[str] = []
        if self._group is None:
            reasons.append("has not joined its group")
        if self._unavailable or any(runner.unavailable for runner in self.leases):
            reasons.append("the log does not answer")
        if self._stopping.is_set():
            reasons.append("stopping")
        if self._tripped is not None:
            reasons.append(f"the brake has tripped: {self._tripped}")
        if (unready := self._job.ready()) is not None:
            reasons.append(unready)
        ready = not reasons
        live = not self._stalled()
        if not live:
            reasons.append(f"nothing has moved for {STALLED_SECONDS:.0f} s")
        return Health(ready, live, tuple(f"{self._job.service}: {reason}" for reason in reasons))

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain and leave. `BrakeTripped` or a defect comes after the same good end."""
        stopped = asyncio.ensure_future(stop.wait())
        stopped.add_done_callback(lambda _: self._stopping.set())
        reports: asyncio.Task[None] | None = None
        try:
            group = await self._join()
            if group is not None:
                reports = asyncio.ensure_future(self.reports.run(group.member, lambda: self.leases))
                await self._claim_all(group)
        finally:
            stopped.cancel()
            if reports is not None:
                reports.cancel()
            await self._drain()
        if self._tripped is not None:
            raise BrakeTripped(f"{self._job.service} has stopped: {self._tripped}")

    # A log that is away at the start is waited for, as later: an orchestrator's restarts would not bring it back.
    async def _join(self) -> Group | None:
        wait = self._settings.retry_first_seconds
        while not self._stopping.is_set():
            try:
                self._group = await self._log.join(self._job.group, [topic.name for topic in self._job.topics])
            except LogUnavailable as failure:
                self._unavailable = True
                _log.warning("the log can't be joined", service=self._job.service, reason=failure.reason)
                await self._stop_within(max(wait, failure.delay or 0.0))
                wait = min(wait * 2, self._settings.retry_most_seconds)
            else:
                self._unavailable = False
                _log.info("joined", service=self._job.service, member=self._group.member)
                return self._group
        return None

    async def _claim_all(self, group: Group) -> None:
        workshop = self._workshop(group.member)
        stopping = asyncio.ensure_future(self._stopping.wait())
        claim: asyncio.Task[Lease | None] | None = None
        try:
            while not self._stopping.is_set():
                # One claim is always under way: shares change as others come and go.
                if claim is None:
                    claim = asyncio.ensure_future(group.claim(CLAIM_WAIT))
                await asyncio.wait((claim, stopping, *self._tasks), return_when=asyncio.FIRST_COMPLETED)
                self._reap()
                if claim.done():
                    self._begin(workshop, await self._claimed(claim))
                    claim = None
        finally:
            stopping.cancel()
            if claim is not None:
                await self._abandon(claim)

    async def _claimed(self, claim: asyncio.Task[Lease | None]) -> Lease | None:
        try:
            lease = claim.result()
        except LogUnavailable as failure:
            self._unavailable = True
            await self._stop_within(max(self._settings.retry_first_seconds, failure.delay or 0.0))
            return None
        except LeaseLost:
            return None  # lost while it was being restored: it is claimed anew, or not at all
        self._unavailable = False
        return lease

    async def _abandon(self, claim: asyncio.Task[Lease | None]) -> None:
        """A claim that is under way when the worker stops may still succeed: then it is given back unworked."""
        claim.cancel()
        await asyncio.wait((claim,))
        if not claim.cancelled() and claim.exception() is None and (lease := claim.result()) is not None:
            await lease.release()

    def _begin(self, workshop: Workshop, lease: Lease | None) -> None:
        if lease is None:
            return
        self._claims += 1
        try:
            runner = LeaseRunner(self._claims, lease, workshop)
        except LeaseLost:
            return  # lost before anything was read from it
        self._runners[self._claims] = runner
        self._tasks[asyncio.ensure_future(runner.run())] = self._claims
        self._beat()
        self.reports.changed()

    def _reap(self) -> None:
        for task in [task for task in self._tasks if task.done()]:
            del self._runners[self._tasks.pop(task)]
            self.reports.changed()
            task.result()  # a defect ends the worker

    async def _drain(self) -> None:
        # Also after a defect: what the other leases have begun is finished before the defect is raised.
        self._stopping.set()
        self._deadline = self._clock.monotonic() + self._settings.drain_seconds
        for runner in self.leases:
            runner.stop()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        if self._group is not None:
            await self._group.leave()
        defects = [task.exception() for task in self._tasks if not task.cancelled()]
        self._tasks.clear()
        self._runners.clear()
        for defect in defects:
            if defect is not None:
                raise defect

    def _workshop(self, member: str) -> Workshop:
        return Workshop(
            job=self._job,
            settings=self._settings,
            clock=self._clock,
            metrics=self._metrics,
            identity=Identity(self._job.service, member, self._log.partitions),
            lanes=self._lanes,
            brake=self._brake,
            jitter=self._jitter,
            pump=self._pump,
            beat=self._beat,
            trip=self._trip,
            remaining=self._remaining,
        )

    def _pump(self) -> None:
        while (picked := self._lanes.pick()) is not None:
            claim, work = picked
            self._runners[claim].dispatch.start(work)

    def _beat(self) -> None:
        self._moved = self._clock.monotonic()

    # The record that tripped it stays undone, so after a mend and a restart it is tried again.
    def _trip(self, reason: str) -> None:
        if self._tripped is None:
            self._tripped = reason
            _log.error("the brake has tripped: the service stops", service=self._job.service, reason=reason)
            self._stopping.set()

    def _remaining(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - self._clock.monotonic())

    def _stalled(self) -> bool:
        # What only runs is bounded by its own time-outs; what could run or commit, and does not, is stuck.
        must_move = self._lanes.waiting or any(runner.uncommitted for runner in self.leases)
        if not must_move:
            # Counted from the moment when there is something to do, not from the end of the last work.
            self._beat()
        return self._clock.monotonic() - self._moved > STALLED_SECONDS

    async def _stop_within(self, seconds: float) -> None:
        await wait(self._stopping, seconds=seconds, clock=self._clock)

    def _show(self) -> None:
        watch = self._metrics.watch
        watch(catalogue.LEASES, lambda: len(self._runners))
        watch(catalogue.RUNNING, lambda: self._lanes.running)
        watch(catalogue.IN_FLIGHT, lambda: sum(runner.in_flight for runner in self.leases))
        watch(catalogue.PARKED, lambda: sum(len(runner.ledger.parking) for runner in self.leases))
        watch(catalogue.OLDEST_IN_FLIGHT, self._oldest_in_flight)
        watch(catalogue.OLDEST_PARKED, self._oldest_parked)
        watch(catalogue.LAG, lambda: self.reports.lag)
        watch(catalogue.EPOCH, self._epoch)

    def _oldest_in_flight(self) -> float:
        taken = [at for runner in self.leases if (at := runner.dispatch.oldest_taken) is not None]
        return self._clock.monotonic() - min(taken) if taken else 0.0

    def _oldest_parked(self) -> float:
        since = [at for runner in self.leases if (at := runner.ledger.parking.oldest()) is not None]
        return max(0.0, self._clock.now() - min(since)) if since else 0.0
