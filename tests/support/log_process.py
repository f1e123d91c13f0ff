"""A process of its own on an embedded log, for the contract's tests: it does one thing and prints a line for each step.

Usage: python log_process.py ADDRESS (hold | publish WRITER COUNT | fill BYTES)
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys

from callgate.clock import SystemClock
from callgate.failures import CallgateError
from callgate.log.address import open_log
from callgate.log.port import Lease, LeaseLost, Log, Outgoing, Unit
from callgate.log.sqlite.engine import SqliteLog


def say(*words: object) -> None:
    """Tell the test."""
    print(*words, flush=True)  # noqa: T201 - the test reads it


def embedded(log: Log) -> SqliteLog:
    """The engine itself."""
    assert isinstance(log, SqliteLog)
    return log


async def hold(log: Log) -> None:
    """Hold leases and commit a unit to each, again and again, and tell of lost ones. On SIGUSR1 stand still."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, asked.set)
    group = await log.join("tested", ["turns"])
    leases: list[Lease] = []
    while True:
        lease = await group.claim(0.02)
        if lease is not None:
            leases.append(lease)
            say("holds", lease.number, lease.epoch)
        for each in list(leases):
            try:
                if each.closing_within() is not None:
                    await each.release()
                    leases.remove(each)
                    continue
                await each.commit(Unit((Outgoing("replies", each.number, None, str(each.epoch).encode()),)))
            except LeaseLost:
                leases.remove(each)
                say("lost", each.number, each.epoch, await each.held())
        if asked.is_set():
            asked.clear()
            # In the engine's own thread, so that no transaction is open: its lock would stop every other process too.
            await embedded(log).call(lambda: os.kill(os.getpid(), signal.SIGSTOP))


async def publish(log: Log, writer: str, count: int) -> None:
    """Publish records one by one."""
    for number in range(count):
        await log.publish([Outgoing("turns", 0, None, f"{writer}:{number}".encode())])
    say("published")


async def fill(log: Log, most: int) -> None:
    """Publish until the file may grow no more; say which were acknowledged, and how it ended."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    for number in range(10_000):
        try:
            await log.publish([Outgoing("turns", 0, None, b"%d:" % number + b"x" * 20_000)])
        except CallgateError as failure:
            say("failed", type(failure).__name__, failure)
            return
        say("published", number)


async def main(address: str, what: str, *rest: str) -> None:
    """Do what the command line says."""
    log = await open_log(address, clock=SystemClock())
    if what == "hold":
        await hold(log)
    elif what == "publish":
        await publish(log, rest[0], int(rest[1]))
    elif what == "fill":
        await fill(log, int(rest[0]))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
