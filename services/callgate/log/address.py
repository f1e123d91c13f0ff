"""Opening the log that an address names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from callgate.clock import Clock
from callgate.failures import BadInput
from callgate.log.port import Log
from callgate.settings import KafkaSettings, TopicSettings

if TYPE_CHECKING:
    from callgate.log.sqlite.hostile import Hostility

PARTITIONS = 4
"""N of a new embedded log: enough to use a laptop's cores, few enough to be cheap at rest."""

MEMORY = "sqlite://:memory:"
_KAFKA = "kafka://"
_FILE = "sqlite:///"
_HOSTILE = "?hostile="
_FIELD = "CALLGATE_LOG"


async def open_log(
    address: str,
    *,
    clock: Clock,
    partitions: int = PARTITIONS,
    hostile: Hostility | None = None,
    kafka: KafkaSettings | None = None,
    topic: TopicSettings | None = None,
) -> Log:
    """The log at `address`, made if it is a file that does not exist. Raises BadInput, `LogUnavailable`.

    `partitions` holds for a new file only; `kafka` and `topic` for brokers, whose topics are laid out before. `hostile`
    is for tests: the same log, as unkind as it may be; an address that ends in `?hostile=SEED` asks for it too.
    """
    seed = _seed_of(address)
    if hostile is None and seed is not None:
        from callgate.log.sqlite.hostile import Hostility  # noqa: PLC0415 - only tests pay for it

        hostile = Hostility(seed=seed)
    inner: Log
    path = file_of(address)
    if path is None:
        inner = await _brokers(address, clock, kafka or KafkaSettings(), topic or TopicSettings())
    else:
        from callgate.log.sqlite.engine import open_sqlite  # noqa: PLC0415 - an engine is loaded when it is used

        gap = hostile.gap if hostile is not None else None
        inner = await open_sqlite(path, partitions=partitions, clock=clock, gap=gap)
    if hostile is None:
        return inner
    from callgate.log.sqlite.hostile import HostileLog  # noqa: PLC0415 - only tests pay for it

    return HostileLog(inner, hostile, clock)


async def _brokers(address: str, clock: Clock, kafka: KafkaSettings, topic: TopicSettings) -> Log:
    from callgate.log.kafka.engine import open_kafka  # noqa: PLC0415 - an engine is loaded when it is used
    from callgate.log.kafka.names import Names  # noqa: PLC0415 - the same

    return await open_kafka(bootstrap_of(address), kafka=kafka, names=Names(topic.prefix), clock=clock)


def bootstrap_of(address: str) -> str:
    """The brokers of a Kafka address, as `host:port,host:port`."""
    return address.partition(_HOSTILE)[0].removeprefix(_KAFKA).rstrip("/")


def file_of(address: str) -> str | None:
    """The file of an embedded log's address, or ":memory:"; None where the log is on Kafka. Raises BadInput."""
    address = address.partition(_HOSTILE)[0]
    if address == MEMORY:
        return ":memory:"
    if address.startswith(_KAFKA):
        return None
    if not address.startswith(_FILE) or len(address) == len(_FILE):
        raise BadInput(
            _FIELD,
            f"{address!r} is no address of a log",
            f"Use sqlite:///callgate.db, {MEMORY} or kafka://host:9092,host:9092",
        )
    path = Path(address.removeprefix(_FILE))
    if path.is_dir():
        raise BadInput(_FIELD, f"{path} is a folder", "Name a file in it")
    if not path.parent.is_dir():
        raise BadInput(_FIELD, f"the folder {path.parent} does not exist", "Make it, or name another file")
    return str(path)


def _seed_of(address: str) -> int | None:
    seed = address.partition(_HOSTILE)[2]
    if not seed:
        return None
    if not (seed.isascii() and seed.isdigit()):
        raise BadInput(_FIELD, f"{seed!r} is no seed", "Use a whole number, like ?hostile=7")
    return int(seed)
