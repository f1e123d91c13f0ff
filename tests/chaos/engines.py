"""The log under a run: where it is, how its processes reach it, and what can be done to it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from broker.jars import NoBroker
from broker.local import Node, free_ports
from tests.chaos.havoc import Pace

from callgate.cli.play.custody import GROUPS
from callgate.clock import Clock
from callgate.environment import load
from callgate.log.address import open_log
from callgate.log.kafka.cluster import apply
from callgate.log.kafka.connection import client_options
from callgate.log.kafka.layout import desired
from callgate.log.kafka.names import Names
from callgate.log.port import Log

PARTITIONS = 4
SESSION_SECONDS = 6.0
"""How long a silent member on Kafka is believed alive in a run: the least that brokers allow unless told otherwise."""

_TRIES = 5
_LEAVE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine, ready to be used."""

    env: Mapping[str, str]
    pace: Pace
    deeds: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """What can be done to the log itself, by name."""

    async def open(self, clock: Clock) -> Log:
        """The log, for the driver's own use."""
        settings = load(self.env)
        return await open_log(settings.log, clock=clock, kafka=settings.kafka, topic=settings.topic)


@asynccontextmanager
async def engine(name: str, home: Path) -> AsyncIterator[Engine]:
    """The engine of that name, with everything that it needs in `home`."""
    match name:
        case "sqlite":
            # A silent member of the embedded log is believed alive for three seconds.
            pace = Pace(between_seconds=1.5, freeze_seconds=(4.0, 8.0))
            yield Engine({"CALLGATE_LOG": f"sqlite:///{home / 'log.db'}"}, pace)
        case "kafka":
            async with _kafka(home) as found:
                yield found
        case _:
            message = f"there is no engine {name!r}"
            raise ValueError(message)


@asynccontextmanager
async def _kafka(home: Path) -> AsyncIterator[Engine]:
    """A broker of the run's own, which the run may break."""
    port, controller_port = free_ports(2)
    broker = _Broker(Node(home / "broker", 1, port, controller_port))
    await broker.start()
    try:
        laid = await laid_out(broker.node.address, "")
        deeds = {"kill": broker.kill_and_start, "freeze": broker.freeze, "stop": broker.stop_and_start}
        yield replace(laid, deeds=deeds)
    finally:
        broker.kill()


async def laid_out(bootstrap: str, prefix: str) -> Engine:
    """A new log on brokers that are there, with its topics."""
    env = {
        "CALLGATE_LOG": f"kafka://{bootstrap}",
        "CALLGATE_TOPIC_PREFIX": prefix,
        "CALLGATE_TOPIC_PARTITIONS": str(PARTITIONS),
        "CALLGATE_KAFKA_SESSION_SECONDS": f"{SESSION_SECONDS:g}",
    }
    settings = load(env)
    options = client_options(bootstrap, settings.kafka)
    await apply(options, Names(prefix), desired(settings.topic, GROUPS), dry_run=False)
    # Each change of its members makes a group share out anew, which takes its time.
    return Engine(env, Pace(between_seconds=2.5, freeze_seconds=(SESSION_SECONDS * 1.25, SESSION_SECONDS * 2)))


@dataclass(slots=True)
class _Broker:
    """A broker, and what is done to it. Its data outlive it."""

    node: Node
    process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        for _ in range(_TRIES):
            with suppress(NoBroker):
                # Not in a thread: the broker is tied to the one that starts it.
                self.process = self.node.start(wait=False, tied=True)
                break
            await asyncio.sleep(1.0)  # a client that tries to connect may by chance have the very port
        await asyncio.to_thread(self.node.wait, self.process)

    async def kill_and_start(self) -> None:
        self.kill()
        await asyncio.sleep(1.0)
        await self.start()

    async def stop_and_start(self) -> None:
        assert self.process is not None
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self.process.wait, _LEAVE_SECONDS)
        self.kill()
        await self.start()

    async def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(3.0)
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
