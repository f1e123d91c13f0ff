"""What is said of a cluster that can't be had in a test: old brokers, narrow limits, copies that are too few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from callgate.log.kafka.administration import Administration, Topics
from callgate.log.kafka.layout import ActualTopic, desired, findings
from callgate.log.kafka.names import Names
from callgate.log.kafka.surroundings import surroundings
from callgate.settings import KafkaSettings, TopicSettings

ROOMY = {
    "group.min.session.timeout.ms": "6000",
    "group.max.session.timeout.ms": "1800000",
    "transaction.max.timeout.ms": "900000",
    "offsets.retention.minutes": "10080",
    "auto.create.topics.enable": "false",
}


class Told(Administration):
    """Brokers that say what they are told to say."""

    def __init__(self, *, produce: int = 12, config: Mapping[str, str] | None = None) -> None:
        super().__init__(None, Names("p."))
        self._produce = produce
        self._config = {**ROOMY, **(config or {})}

    async def request_versions(self, broker: int) -> dict[int, int]:
        """The same of each broker."""
        assert broker in {1, 2}
        return {0: self._produce, 18: 4}

    async def broker_config(self, broker: int) -> dict[str, str]:
        """Those of the test."""
        assert broker == 1
        return dict(self._config)

    async def ask(self, request: Any, broker: int | None = None) -> dict[str, Any]:
        """No ACLs, and a coordinator for everybody."""
        assert broker is None
        return {"error_code": 54 if "Acls" in type(request).__name__ else 0}


async def said(admin: Told, kafka: KafkaSettings | None = None) -> list[tuple[str, bool]]:
    """What is found on two brokers, but for the ACLs."""
    seen = Topics(there={}, hidden=frozenset(), led=frozenset(), allowed={}, brokers=(1, 2))
    found = await surroundings(admin, Names("p."), seen, kafka or KafkaSettings())
    return [(str(each), each.serious) for each in found if each.what != "ACLs"]


async def test_nothing_is_said_where_nothing_is_wrong() -> None:
    """Brokers as they should be."""
    assert await said(Told()) == []


async def test_each_old_broker_is_named() -> None:
    """Kafka before 3.7 is told by the requests that it knows, broker by broker: they may differ in an upgrade."""
    found = await said(Told(produce=9))
    assert [text.partition(" is older")[0] for text, _ in found] == ["broker 1:", "broker 2:"]
    assert all(serious for _, serious in found)


@pytest.mark.parametrize(
    ("config", "serious", "names"),
    [
        ({"group.min.session.timeout.ms": "30000"}, True, "CALLGATE_KAFKA_SESSION_SECONDS"),
        ({"group.max.session.timeout.ms": "5000"}, True, "CALLGATE_KAFKA_SESSION_SECONDS"),
        ({"transaction.max.timeout.ms": "5000"}, True, "CALLGATE_KAFKA_TRANSACTION_SECONDS"),
        ({"offsets.retention.minutes": "60"}, False, "offsets.retention.minutes"),
        ({"auto.create.topics.enable": "true"}, False, "auto.create.topics.enable"),
    ],
)
async def test_limits_that_are_too_narrow_are_named(config: dict[str, str], names: str, *, serious: bool) -> None:
    """Each limit by the setting that would mend it; only what keeps a service from working is serious."""
    ((text, grade),) = await said(Told(config=config))
    assert names in text
    assert grade is serious


@pytest.mark.parametrize(
    ("replicas", "least", "what", "serious"),
    [
        (1, "1", "one copy only", False),
        (1, "2", "nothing can be written", True),
        (3, "3", "one broker that is away stops all writing", False),
        (3, "1", "it can be lost with one broker", True),
        (3, "2", None, False),
    ],
)
def test_copies_are_held_to_what_writing_needs(replicas: int, least: str, what: str | None, *, serious: bool) -> None:
    """Too few copies, too many demanded, and one that is enough are told apart; three and two are right."""
    wanted = desired(TopicSettings(), ("executor",))
    actual = {
        topic.name: ActualTopic(
            partitions=topic.partitions, replicas=replicas, config={**topic.config, "min.insync.replicas": least}
        )
        for topic in wanted
    }
    found = [each for each in findings(wanted, actual) if what is None or what in each.said]
    assert [each.serious for each in found] == ([] if what is None else [serious])
