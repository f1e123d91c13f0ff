"""How long a service takes to go on after SIGKILL: two evaluators, one of which dies while turns are decided."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.worlds import PARTITIONS, outgoing, proposal, world
from callgate.events import topics
from callgate.events.actions import ActionDecided
from callgate.events.codec import decode
from callgate.log.port import Log

SESSION_SECONDS = 6.0
"""Of the members on Kafka: the least that brokers allow by default."""

_CALLGATE = str(Path(sys.executable).with_name("callgate"))


async def resume(address: str, prefix: str, url: str) -> dict[str, float]:
    """Seconds from the kill to the first decision on a lease that the dead process held."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CALLGATE_")} | {
        "CALLGATE_LOG": address,
        "CALLGATE_TOPIC_PREFIX": prefix,
        "CALLGATE_BIGHUB_URL": url,
        "CALLGATE_BIGHUB_KEY": "bench",
        "CALLGATE_KAFKA_SESSION_SECONDS": str(SESSION_SECONDS),
    }
    async with world(address, prefix) as log:
        seen: dict[int, float] = {}
        watching = asyncio.create_task(_watch(log, seen))
        first = _start(environment)
        try:
            await _feed(log, seen, 0, 60.0)
            second = _start(environment)
            try:
                # Both are at work once the second has taken its share.
                await asyncio.sleep(8.0)
                await _feed(log, seen, 1000, 60.0)
                first.send_signal(signal.SIGKILL)
                killed = time.monotonic()
                first.wait()
                seen.clear()
                await _feed(log, seen, 2000, 90.0)
                return {"count": 1, "wall": max(seen.values()) - killed, "cpu": 0.0, "peak_mb": 0.0}
            finally:
                second.kill()
                second.wait()
        finally:
            first.kill()
            first.wait()
            watching.cancel()


def _start(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [_CALLGATE, "run", "evaluator"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)  # noqa: S603 - our own command


async def _feed(log: Log, seen: dict[int, float], start: int, most: float) -> None:
    """Publish one proposal to each partition, and wait until every partition has decided one."""
    wanted = set(range(PARTITIONS))
    before = set(seen)
    number, records = start, {}
    while wanted:
        record = outgoing(proposal(number))
        number += 1
        if record.partition in wanted:
            wanted.discard(record.partition)
            records[record.partition] = record
    for record in records.values():
        await log.publish([record])
    del before
    for partition in records:
        seen.pop(partition, None)
    async with asyncio.timeout(most):
        while len(seen) < PARTITIONS:  # noqa: ASYNC110 - the watcher has no event
            await asyncio.sleep(0.01)


async def _watch(log: Log, seen: dict[int, float]) -> None:
    async for record in log.follow(topics.DECIDED.name, list(range(PARTITIONS)), {}):
        if isinstance(decode(record.value, record.headers).event, ActionDecided):
            seen[record.partition] = time.monotonic()
