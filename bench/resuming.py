"""How long a service takes to go on after SIGKILL: two processes share its leases, and one dies at work.

Seconds are counted from the kill until every lease has ended something that was asked for after the kill. Where a
tool was running, the dead process leaves open claims behind.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import msgspec

from bench.slow_tools import SECONDS, toolbox
from bench.worlds import PARTITIONS, SESSION_SECONDS, outgoing, proposal, world
from callgate.events import topics
from callgate.events.actions import ActionDecided, ActionFinished, ActionProposed, Decision
from callgate.events.codec import decode
from callgate.events.digest import digest
from callgate.events.event import Event
from callgate.log.port import Log

_CALLGATE = str(Path(sys.executable).with_name("callgate"))

_ROOT = Path(__file__).resolve().parents[1]

_SETTLED_SECONDS = 8.0
"""After which the second process has its share of the leases."""

_PATIENCE_SECONDS = 90.0

_AT_WORK = 40
"""What both have in hand when one is killed: sessions of their own, or what comes later would wait in their lanes."""


async def resume(address: str, prefix: str, url: str, service: str) -> dict[str, float]:
    """Seconds from the kill to the first end, on the last lease, of what was asked for since."""
    make, topic = {"evaluator": (proposal, topics.DECIDED), "executor": (_decided, topics.FINISHED)}[service]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CALLGATE_")} | {
        "PYTHONPATH": str(_ROOT),
        "CALLGATE_LOG": address,
        "CALLGATE_TOOLS": "bench.slow_tools:toolbox",
        "CALLGATE_TOPIC_PREFIX": prefix,
        "CALLGATE_BIGHUB_URL": url,
        "CALLGATE_BIGHUB_KEY": "bench",
        "CALLGATE_KAFKA_SESSION_SECONDS": str(SESSION_SECONDS),
    }
    numbers = count()
    async with world(address, prefix) as log:
        seen: dict[str, float] = {}
        watching = asyncio.create_task(_watch(log, topic.name, seen))
        try:
            with _running(service, environment) as first:
                await _ended(log, make, numbers, seen)
                with _running(service, environment):
                    await asyncio.sleep(_SETTLED_SECONDS)
                    await _ended(log, make, numbers, seen)
                    for _ in range(_AT_WORK):
                        await log.publish([outgoing(make(next(numbers)))])
                    await asyncio.sleep(SECONDS / 2)
                    first.send_signal(signal.SIGKILL)
                    killed = time.monotonic()
                    last = await _ended(log, make, numbers, seen)
        finally:
            watching.cancel()
        return {"count": 1, "wall": last - killed, "cpu": 0.0, "peak_mb": 0.0}


@contextmanager
def _running(service: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [_CALLGATE, "run", service]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)  # noqa: S603 - our own command
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _decided(number: int) -> ActionDecided:
    """An action that is allowed, of the tool that takes its time."""
    entry = toolbox.entry("refund")
    assert entry is not None
    action = proposal(number)
    arguments = msgspec.json.decode(action.arguments)
    fingerprint = digest(
        tenant=action.ref.tenant,
        agent=action.ref.agent,
        tool=action.ref.tool,
        tool_version=entry.version,
        target="",
        arguments=arguments,
    )
    now = time.time()
    return ActionDecided(
        action=msgspec.structs.replace(
            action,
            ref=msgspec.structs.replace(action.ref, digest=fingerprint),
            tool_version=entry.version,
            effect="idempotent",
        ),
        decision=Decision(
            verdict="allow", by="bighub", reason="bench", told="Allowed.", decided_at=now, valid_until=now + 300.0
        ),
    )


async def _ended(log: Log, make: Callable[[int], Event], numbers: Iterator[int], seen: dict[str, float]) -> float:
    """Ask for one thing on each lease, and wait until all have ended: when the last did."""
    asked: dict[int, str] = {}
    for number in numbers:
        record = outgoing(make(number))
        if record.partition not in asked:
            asked[record.partition] = f"t{number}"
            await log.publish([record])
        if len(asked) == PARTITIONS:
            break
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not all(turn in seen for turn in asked.values()):  # noqa: ASYNC110 - the watcher has no event
            await asyncio.sleep(0.01)
    return max(seen[turn] for turn in asked.values())


async def _watch(log: Log, topic: str, seen: dict[str, float]) -> None:
    async for record in log.follow(topic, list(range(PARTITIONS)), {}):
        event = decode(record.value, record.headers).event
        if isinstance(event, ActionDecided | ActionFinished):
            action: ActionProposed = event.action
            seen.setdefault(action.ref.turn, time.monotonic())
