"""Asking the brokers about topics, and having topics made and set. Errors that stand inside answers are raised here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.api import Request

from callgate.failures import BadInput, CallgateError, PermanentFailure
from callgate.log.kafka.layout import ActualTopic, WantedTopic
from callgate.log.kafka.names import Names
from callgate.log.kafka.reaching import unanswered, unreachable
from callgate.log.kafka.requests import AlterTopics, TopicMetadata, decoded
from callgate.log.port import LogUnavailable

ASK_SECONDS = 15.0
"""How long the brokers may take for one answer."""

WRITE, READ, DESCRIBE_CONFIGS = 4, 3, 10
"""Operations as the protocol numbers them."""

_UNKNOWN_TOPIC, _TOPIC_REFUSED, _CLUSTER_REFUSED, _EXISTS, _BAD_REPLICAS = 3, 29, 31, 36, 38
_LOOKS, _LOOK_SECONDS = 50, 0.1
_NOT_TOLD = -(2**31)
_BROKERS_DEFAULT = -1


@dataclass(frozen=True, slots=True)
class Topics:
    """What the brokers say of the topics that they were asked about, by the catalogue's names."""

    there: Mapping[str, ActualTopic]
    hidden: frozenset[str]
    """Topics that this user may not even describe: nobody can say whether they are there."""
    led: frozenset[str]
    """Topics of which each partition has a leader."""
    allowed: Mapping[str, frozenset[int] | None]
    """What this user may do with each topic; None where the brokers do not tell."""
    brokers: tuple[int, ...]


class Administration:
    """One connection to ask with. Get it from `administration`."""

    def __init__(self, admin: Any, names: Names) -> None:
        self._admin = admin
        self._names = names

    async def topics(self, wanted: Sequence[str], *, configs: bool = True) -> Topics:
        """Look at topics, by the catalogue's names. Asking makes none, whatever the brokers' settings say."""
        answer = decoded(await self._ask(TopicMetadata([self._names.topic(name) for name in wanted])))
        found = {self._names.bare(each["topic"]): each for each in answer["topics"]}
        there = {name: each for name, each in found.items() if each["partitions"]}
        hidden = {name for name, each in found.items() if each["error_code"] == _TOPIC_REFUSED}
        settings = await self._configs(list(there)) if configs and there else {}
        return Topics(
            there={
                name: ActualTopic(
                    partitions=len(each["partitions"]),
                    replicas=min(len(part["replicas"]) for part in each["partitions"]),
                    config=settings.get(name, {}),
                )
                for name, each in there.items()
            },
            hidden=frozenset(hidden),
            led=frozenset(name for name, each in there.items() if all(p["leader"] >= 0 for p in each["partitions"])),
            allowed={name: _operations(each["authorized_operations"]) for name, each in there.items()},
            brokers=tuple(sorted(each["node_id"] for each in answer["brokers"])),
        )

    async def broker_config(self, broker: int) -> dict[str, str]:
        """A broker's settings; none where this user may not see them."""
        resource = ConfigResource(ConfigResourceType.BROKER, str(broker))
        for answer in await self._admin.describe_configs([resource]):
            for each in decoded(answer)["resources"]:
                if not each["error_code"]:
                    return _settings(each)
        return {}

    async def request_versions(self, broker: int) -> dict[int, int]:
        """The newest version of each kind of request that a broker takes."""
        answer = await self._ask(ApiVersionRequest(), broker)
        return {key: newest for key, _, newest in answer.api_versions}

    async def make(self, topics: Sequence[WantedTopic]) -> None:
        """Make topics. One that somebody else has made meanwhile is no error. Raises BadInput, PermanentFailure."""
        new = [_new(self._names.topic(each.name), each) for each in topics]
        answer = decoded(await self._admin.create_topics(new))
        for each in answer["topic_errors"]:
            if each["error_code"] not in {0, _EXISTS}:
                raise _refusal(f"{each['topic']} can't be made", each["error_code"], each["error_message"])

    async def set(self, settings: Mapping[str, Mapping[str, str]]) -> None:
        """Set settings of topics, and leave their others alone. Raises PermanentFailure."""
        named = {self._names.topic(name): values for name, values in settings.items()}
        for each in decoded(await self._ask(AlterTopics(named)))["resources"]:
            if each["error_code"]:
                raise _refusal(f"{each['resource_name']} can't be set", each["error_code"], each["error_message"])

    async def ask(self, request: Request[Any], broker: int | None = None) -> dict[str, Any]:
        """Any other question, answered by the names of its fields."""
        return decoded(await self._ask(request, broker))

    async def _ask(self, request: Any, broker: int | None = None) -> Any:
        return await self._admin._send_request(request, broker)  # noqa: SLF001 - the library has no other way to ask

    async def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for _ in range(_LOOKS):
            found, unknown = await self._configs_now(names)
            if not unknown:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return found

    async def _configs_now(self, names: Sequence[str]) -> tuple[dict[str, dict[str, str]], bool]:
        """The settings that can be seen, and whether the broker asked did not know a topic that another does."""
        unknown = False
        resources = [ConfigResource(ConfigResourceType.TOPIC, self._names.topic(name)) for name in names]
        found: dict[str, dict[str, str]] = {}
        for answer in await self._admin.describe_configs(resources):
            for each in decoded(answer)["resources"]:
                unknown = unknown or each["error_code"] == _UNKNOWN_TOPIC
                if not each["error_code"]:
                    found[self._names.bare(each["resource_name"])] = _settings(each)
        return found, unknown


@asynccontextmanager
async def administration(options: Mapping[str, Any], names: Names) -> AsyncIterator[Administration]:
    """Connect, and disconnect at the end. Raises BadInput, `LogUnavailable`, whatever the library raised."""
    admin = AIOKafkaAdminClient(**options, request_timeout_ms=int(ASK_SECONDS * 1000))
    try:
        try:
            await admin.start()
        except (KafkaError, OSError, TimeoutError) as error:
            raise await unreachable(options, error) from None
        if not admin._client.cluster.brokers():  # noqa: SLF001 - it has no public way to say so
            raise unanswered(options)
        yield Administration(admin, names)
    except (KafkaError, OSError, TimeoutError) as error:
        raise LogUnavailable(f"the brokers do not answer ({type(error).__name__})") from error
    finally:
        await admin.close()


def _new(name: str, topic: WantedTopic) -> Any:
    new = NewTopic(name, topic.partitions, topic.replicas or 1, topic_configs=dict(topic.config))
    if not topic.replicas:
        # The brokers take it for their own default; only the library would not hear of it.
        new.replication_factor = _BROKERS_DEFAULT
    return new


def _settings(resource: Mapping[str, Any]) -> dict[str, str]:
    return {
        entry["config_names"]: entry["config_value"]
        for entry in resource["config_entries"]
        if entry["config_value"] is not None
    }


def _operations(bits: int) -> frozenset[int] | None:
    if bits == _NOT_TOLD:
        return None
    return frozenset(number for number in range(31) if bits >> number & 1)


def _refusal(what: str, code: int, message: str | None) -> CallgateError:
    said = message or for_code(code).__name__
    if code == _BAD_REPLICAS:
        return BadInput(
            "CALLGATE_TOPIC_REPLICAS", f"{what} ({said})", "Ask for at most as many copies as there are brokers"
        )
    if code in {_TOPIC_REFUSED, _CLUSTER_REFUSED}:
        return PermanentFailure(
            f"{what}: this user may not. It needs CREATE, ALTER_CONFIGS, DESCRIBE_CONFIGS and DESCRIBE on the topics "
            "for `callgate topics apply`; the services need neither CREATE nor ALTER_CONFIGS"
        )
    return PermanentFailure(f"{what}: {said}")
