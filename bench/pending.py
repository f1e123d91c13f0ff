"""How long the approvals service takes to go on where many approvals are open, and how much memory that needs.

    python -m bench.pending [--count 100000] [--log kafka://host:port]

A log is filled with open approvals as the service leaves them: the question, and timers of its deadline and its next
reminder. Then a fresh process claims every lease, and one vote is cast for each of them: it is done when these are
answered, so all is restored, indexed and at work. The log is a file that is thrown away, or topics of its own on Kafka.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

import msgspec
import orjson

from bench.worlds import PARTITIONS, Usage, fresh_prefix, outgoing, proposal, world
from callgate.approvals.handler import ApprovalHandler
from callgate.approvals.service import build
from callgate.clock import SystemClock
from callgate.control.view import ControlView
from callgate.events import ids, topics
from callgate.events.actions import Decision
from callgate.events.approvals import ApprovalRequested, ApprovalResolved, ApprovalVoted
from callgate.events.codec import Envelope, decode
from callgate.log.port import Lease, Log, Unit
from callgate.settings import ApprovalSettings, Settings, TelemetrySettings
from callgate.telemetry import logs
from callgate.telemetry.metrics import Metrics
from callgate.worker.effects import Context
from callgate.worker.host import Host
from callgate.worker.table import LivingTable
from callgate.worker.timers import Timers
from callgate.worker.worker import Worker

COUNT = 100_000
SECONDS_MOST = 10.0
"""What the promise allows for all of them."""
MEGABYTES_MOST = 300.0
"""Of the whole process at its largest."""
_UNIT = 250
_PATIENCE_SECONDS = 300.0


def question(number: int) -> ApprovalRequested:
    """An open approval of about two kilobytes, due in a day, with a reminder."""
    now = time.time()
    decision = Decision(
        verdict="review",
        by="bighub",
        reason="the amount is above what this agent may refund by itself",
        told="",
        request_id=f"req_{number:08d}",
        risk_score=0.7,
        decided_at=now,
        valid_until=now + 300,
    )
    action = proposal(number)
    return ApprovalRequested(
        approval_id=ids.approval_id(number % PARTITIONS, action.ref.id, 1, 0, "action"),
        action=action,
        decision=decision,
        eligible=("ann@acme.example", "bob@acme.example", "lee@acme.example"),
        requested_at=now,
        deadline=now + 86_400,
        reminders=(now + 43_200,),
    )


async def filled(address: str, prefix: str, count: int) -> None:
    """Write the state of so many open approvals, as the service would."""
    async with world(address, prefix) as log:
        group = await log.join("approvals", (topics.VOTES.name, topics.BALLOTS.name))
        try:
            for _ in range(PARTITIONS):
                lease = await group.claim(_PATIENCE_SECONDS)
                assert lease is not None
                await _fill(lease, count)
        finally:
            await group.leave()


async def _fill(lease: Lease, count: int) -> None:
    timers, puts = Timers(), dict[str, bytes | None]()
    handler = ApprovalHandler(ApprovalSettings(trusted=True), Metrics(TelemetrySettings()))
    for place, number in enumerate(range(lease.number, count, PARTITIONS), 1):
        asked = question(number)
        envelope = Envelope(event=asked, id=asked.identity(), source="bench", time=time.time(), traceparent=None)
        effects = await handler.handle(envelope, _context(lease))
        puts |= effects.put
        puts.update(timers.set(timer) for timer in effects.timers)
        if place % _UNIT == 0:
            await lease.commit(Unit(puts=puts))
            puts = {}
    if puts:
        await lease.commit(Unit(puts=puts))


def _context(lease: Lease) -> Context:
    return Context(
        table=LivingTable({}),
        clock=SystemClock(),
        partitions=PARTITIONS,
        lease=lease.number,
        epoch=lease.epoch,
        attempt=0,
        first_tried=time.time(),
        delivered=None,
        held=lease.held,
        remaining=lambda: None,
    )


async def restored(address: str, prefix: str) -> dict[str, float]:
    """From opening the log until every lease has answered one of its approvals; and the process at its largest."""
    before = Usage.begin().so_far()["peak_mb"]
    async with world(address, prefix) as log:
        wanted = [question(number) for number in range(PARTITIONS)]
        await log.publish([outgoing(_vote(asked)) for asked in wanted])
        usage = Usage.begin()
        settings, clock = Settings(approval=ApprovalSettings(trusted=True)), SystemClock()
        metrics = Metrics(TelemetrySettings())
        host = Host(log=log, clock=clock, settings=settings, metrics=metrics, control=ControlView(log))
        (job,) = build(host)
        worker = Worker(log, job, settings=settings.worker, clock=clock, metrics=metrics)
        stop = asyncio.Event()
        running = asyncio.create_task(worker.run(stop))
        answered = asyncio.create_task(_answered(log, {asked.approval_id for asked in wanted}))
        await asyncio.wait({running, answered}, return_when=asyncio.FIRST_COMPLETED, timeout=_PATIENCE_SECONDS)
        found = usage.so_far()
        answered.cancel()
        assert not running.done(), "the worker has ended"
        assert answered.done(), "not all leases have answered"
        stop.set()
        await running
    return found | {"before_mb": before}


def _vote(asked: ApprovalRequested) -> ApprovalVoted:
    return ApprovalVoted(
        vote_id="bench",
        approval_id=asked.approval_id,
        digest=asked.action.ref.digest,
        answer="reject",
        approver="ann@acme.example",
    )


async def _answered(log: Log, wanted: set[str]) -> None:
    follow = log.follow(topics.RESOLVED.name, range(PARTITIONS), {})
    async with aclosing(follow) as records:  # type: ignore[type-var]
        async for record in records:
            event = decode(record.value, record.headers).event
            if isinstance(event, ApprovalResolved):
                wanted.discard(event.approval_id)
            if not wanted:
                return


def _child(*arguments: str) -> bytes:
    command = [sys.executable, "-m", "bench.pending", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=Path(__file__).resolve().parents[1]).stdout  # noqa: S603


def main() -> int:
    """Fill, restore in a process of its own, and say whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="open approvals")
    parser.add_argument("--log", default=os.environ.get("CALLGATE_LOG", ""), help="kafka://…; default: a file")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    logs.configure("error")
    if given.child:
        sys.stdout.write(orjson.dumps(asyncio.run(restored(*given.child))).decode())
        return 0
    with tempfile.TemporaryDirectory() as folder:
        kafka = given.log.startswith("kafka://")
        address, prefix = (given.log, fresh_prefix()) if kafka else (f"sqlite:///{folder}/log.db", "")
        asyncio.run(filled(address, prefix, given.count))
        found = msgspec.json.decode(_child("--child", address, prefix), type=dict[str, float])
    kept = found["wall"] < SECONDS_MOST and found["peak_mb"] < MEGABYTES_MOST
    sys.stdout.write(
        f"{given.count} open approvals, {PARTITIONS} leases, {'Kafka' if kafka else 'SQLite'}: "
        f"{found['wall']:.1f} s ({found['cpu']:.1f} s of CPU), {found['peak_mb']:.0f} MB at the most "
        f"({found['before_mb']:.0f} MB before); promised: {SECONDS_MOST:g} s, {MEGABYTES_MOST:g} MB: "
        f"{'kept' if kept else 'NOT kept'}\n"
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
