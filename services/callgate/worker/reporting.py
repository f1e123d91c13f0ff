"""What a worker says of itself on `fleet`: which leases it holds, and which change of `control` it has applied.

Best effort, outside any unit: a report that is lost is followed by the next. Silence is what a reader must act on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

import structlog

from callgate.clock import Clock, wait
from callgate.events import codec
from callgate.events.control import WorkerReported
from callgate.events.routing import address
from callgate.failures import CallgateError
from callgate.log.port import Lease, Log, Outgoing
from callgate.worker.job import Job
from callgate.worker.ledger import Ledger, progress_sum

INTERVAL = 5.0
"""Seconds between reports; three missed ones mean that a member is gone."""

LOOK = 0.5
"""Seconds between two looks at the epoch: how long after a stop the fleet may still show the old one."""

_log = structlog.get_logger(__name__)


class Reporting(Protocol):
    """What of a lease's runner is reported."""

    lease: Lease
    ledger: Ledger


class FleetReports:
    """Publishes a report every `INTERVAL`, and at once when leases or the epoch change; measures the lag meanwhile."""

    def __init__(
        self, log: Log, job: Job, clock: Clock, *, ready: Callable[[], bool], epoch: Callable[[], int]
    ) -> None:
        self._log = log
        self._job = job
        self._clock = clock
        self._ready = ready
        self._epoch = epoch
        self._changed = asyncio.Event()
        self._told: int | None = None
        self.lag = 0
        """Records on the log beyond the progress of the leases held, when it was last measured."""

    def changed(self) -> None:
        """Report soon: what others must know of this worker has changed."""
        self._changed.set()

    async def run(self, member: str, runners: Callable[[], Sequence[Reporting]]) -> None:
        """Report for ever; end it by cancelling."""
        while True:
            self._changed.clear()
            try:
                await self._report(member, runners())
                await self._measure(runners())
            except CallgateError as failure:
                _log.debug("a report was not published", service=self._job.service, reason=str(failure))
            except Exception:  # noqa: BLE001 - reports are best effort: their defects must not stop the work
                _log.exception("reporting has a defect", service=self._job.service)
            await self._wait()

    async def _report(self, member: str, runners: Sequence[Reporting]) -> None:
        now = self._clock.now()
        # Read once: what is told and what is remembered as told must not differ.
        epoch = self._epoch()
        event = WorkerReported(
            service=self._job.service,
            member=member,
            version=_version(),
            leases=tuple(sorted(runner.lease.number for runner in runners)),
            epoch=epoch,
            ready=self._ready(),
            reported_at=now,
        )
        to = address(event, self._log.partitions)
        value, headers = codec.encode(event, source=f"{self._job.service}/{member}", time=now)
        await self._log.publish([Outgoing(to.topic, to.partition, to.key.encode(), value, headers)])
        self._told = epoch

    # Against what is done and not against what is committed: commits follow within milliseconds, reports do not.
    async def _measure(self, runners: Sequence[Reporting]) -> None:
        if not runners:
            self.lag = 0
            return
        ends = {topic.name: await self._log.ends(topic.name) for topic in self._job.topics}
        self.lag = sum(
            progress_sum(runner.ledger.trackers, {topic: of.get(runner.lease.number, 0) for topic, of in ends.items()})
            for runner in runners
        )

    async def _wait(self) -> None:
        until = self._clock.monotonic() + INTERVAL
        while not self._changed.is_set() and self._clock.monotonic() < until:
            await wait(self._changed, seconds=LOOK, clock=self._clock)
            if self._epoch() != self._told:
                return


def _version() -> str:
    try:
        return version("callgate")
    except PackageNotFoundError:
        return "unknown"
