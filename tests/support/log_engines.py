"""The engines that the log's contract holds for, each behind the same few handles. A new engine is one more entry."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from callgate.cli.play.custody import GROUPS, OPTIONAL_GROUPS
from callgate.clock import Clock, SystemClock
from callgate.events.topics import PROPOSED, TURNS
from callgate.log.address import PARTITIONS, bootstrap_of, open_log
from callgate.log.kafka.cluster import apply
from callgate.log.kafka.connection import client_options
from callgate.log.kafka.layout import desired
from callgate.log.kafka.names import Names
from callgate.log.port import Group, Lease, Log, Outgoing, Position, Record
from callgate.log.sqlite.engine import SqliteLog
from callgate.log.sqlite.hostile import HostileGroup, HostileLog, Hostility
from callgate.log.sqlite.membership import SqliteGroup
from callgate.settings import KafkaSettings, TopicSettings

IN, ALSO_IN, OUT = TURNS.name, PROPOSED.name, "replies"
"""Two topics that the tests' groups read, and one that they write."""

GROUP = "tested"

UNKIND = ("gaps", "slow", "late", "twice")
"""What the contract must bear everywhere; lost leases and unknown ends have tests of their own, where they are asked
for."""


SESSION_SECONDS = 2.0
"""Of members on Kafka in tests: short, so that the dead are noticed soon."""


@dataclass
class Engine:
    """One engine on one store, which may be opened several times."""

    name: str
    address: str
    clock: Clock = field(default_factory=SystemClock)
    hostile: bool = False
    """As unkind as the contract must bear."""
    unkind: Hostility | None = None
    """Unkind in this way instead."""
    prefix: str = ""
    """On Kafka: of the topics, so that no test sees another's."""
    opened: list[Log] = field(default_factory=list)

    @property
    def durable(self) -> bool:
        """Whether what was written is there when it is opened again."""
        return "memory" not in self.address

    @property
    def on_kafka(self) -> bool:
        """Whether it is Kafka."""
        return self.address.startswith("kafka://")

    @property
    def unhurried_seconds(self) -> float:
        """How long what the embedded engine does at once may take: a group of the brokers' shares out by rounds."""
        return 10.0 if self.on_kafka else 1.0

    async def open(self) -> Log:
        """A handle on the store, as another process would have it; a store in memory has only one."""
        if self.opened and not self.durable:
            return self.opened[0]
        if self.on_kafka and not self.opened:
            await lay_out(self.address, self.prefix)
        borne = Hostility(seed=len(self.opened), gaps=0.4, unknown=0, lost=0, slow=0.5, late=0.3)
        log = await open_log(
            self.address,
            clock=self.clock,
            hostile=borne if self.hostile else self.unkind,
            kafka=KafkaSettings(session_seconds=SESSION_SECONDS),
            topic=TopicSettings(prefix=self.prefix),
        )
        self.opened.append(log)
        return log

    async def close(self) -> None:
        """Close every handle."""
        for log in self.opened:
            await log.close()
        if self.on_kafka and self.opened:
            await clear(self.address, self.prefix)


async def clear(address: str, prefix: str) -> None:
    """Delete the topics of a test: thousands of them would wear the broker down."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_of(address))
    await admin.start()
    try:
        await admin.delete_topics([topic for topic in await admin.list_topics() if topic.startswith(prefix)])
    finally:
        await admin.close()


async def lay_out(address: str, prefix: str, partitions: int = PARTITIONS) -> None:
    """Make the topics of a log on Kafka, also those of the groups that only tests have."""
    wanted = desired(
        TopicSettings(prefix=prefix, partitions=partitions), (*GROUPS, *OPTIONAL_GROUPS, GROUP, "one", "two", "reader")
    )
    await apply(client_options(bootstrap_of(address), KafkaSettings()), Names(prefix), wanted, dry_run=False)


def embedded_engines(folder: Path) -> dict[str, Engine]:
    """Every variety of the embedded engine, on a store of its own."""
    return {
        "sqlite": Engine("sqlite", f"sqlite:///{folder}/log.db"),
        "memory": Engine("memory", "sqlite://:memory:"),
        "hostile": Engine("hostile", f"sqlite:///{folder}/hostile.db", hostile=True),
    }


def kafka_engine(name: str, bootstrap: str) -> Engine:
    """Kafka, plain or hostile, with topics of its own."""
    return Engine(name, f"kafka://{bootstrap}", hostile="hostile" in name, prefix=f"t{secrets.token_hex(6)}.")


EMBEDDED = ("sqlite", "memory", "hostile")
KAFKA = ("kafka", "kafka-hostile")
ENGINES = (*EMBEDDED, *KAFKA)


def embedded(log: Log) -> SqliteLog:
    """The engine itself, to plant faults in it and to have it maintained."""
    inner = log._inner if isinstance(log, HostileLog) else log
    assert isinstance(inner, SqliteLog)
    return inner


def silence(log: Log, group: Group) -> None:
    """Make a member fall silent, as if its process had been stopped."""
    inner = group._inner if isinstance(group, HostileGroup) else group
    assert isinstance(inner, SqliteGroup)
    embedded(log).left(inner)


def sent(value: bytes, partition: int = 0, topic: str = IN, key: bytes | None = b"k") -> Outgoing:
    """A record to be written."""
    return Outgoing(topic, partition, key, value, (("ce_type", b"test"),))


async def publish(log: Log, values: Iterable[bytes], partition: int = 0, topic: str = IN) -> list[Position]:
    """Write some values, in one go."""
    return await log.publish([sent(value, partition, topic) for value in values])


async def take(lease: Lease, count: int, seconds: float = 10.0) -> list[Record]:
    """The first `count` different records that a lease gives, in the order of their first delivery."""
    found: dict[tuple[str, int], Record] = {}
    async with asyncio.timeout(seconds):
        while len(found) < count:
            for record in await lease.fetch(count, 0.05):
                found.setdefault((record.topic, record.offset), record)
    return list(found.values())


async def nothing_more(lease: Lease, known: Iterable[Record] = ()) -> bool:
    """Whether a lease gives nothing but what is known, as far as a few fetches can tell."""
    seen = {(record.topic, record.offset) for record in known}
    got = [record for _ in range(8) for record in await lease.fetch(100, 0.01)]
    return all((record.topic, record.offset) in seen for record in got)


async def all_leases(group: Group, count: int, seconds: float = 10.0) -> list[Lease]:
    """So many leases, claimed one after the other."""
    leases: list[Lease] = []
    async with asyncio.timeout(seconds):
        while len(leases) < count:
            lease = await group.claim(0.2)
            if lease is not None:
                leases.append(lease)
    return leases


async def lease_of(log: Log, number: int, group: str = GROUP, topics: tuple[str, ...] = (IN, ALSO_IN)) -> Lease:
    """One lease of the only member of a group."""
    joined = await log.join(group, topics)
    leases = await all_leases(joined, log.partitions)
    return next(lease for lease in leases if lease.number == number)


async def values(log: Log, topic: str, partition: int = 0, start: int = 0) -> list[bytes | None]:
    """What a scan shows."""
    return [record.value async for record in log.scan(topic, partition, start)]


async def table(log: Log, group: str = GROUP) -> dict[tuple[int, str], bytes]:
    """A group's committed tables."""
    return {(number, key): value async for number, key, value in log.tables(group)}


async def first(records: AsyncIterator[Record], count: int, seconds: float = 10.0) -> list[Record]:
    """The first different records of a follower, which is closed then."""
    found: dict[tuple[int, int], Record] = {}
    async with asyncio.timeout(seconds):
        async for record in records:
            found.setdefault((record.partition, record.offset), record)
            if len(found) == count:
                break
    await records.aclose()  # type: ignore[attr-defined]
    return list(found.values())
