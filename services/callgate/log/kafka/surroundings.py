"""What of the cluster itself Callgate depends on: the brokers' versions, their limits, and what this user may do."""

from __future__ import annotations

from collections.abc import Mapping

from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DescribeAclsRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest

from callgate.events.topics import BY_NAME, DAY
from callgate.log.kafka.administration import READ, WRITE, Administration, Topics
from callgate.log.kafka.layout import Finding
from callgate.log.kafka.names import Names
from callgate.settings import KafkaSettings

OFFSETS_SECONDS = 7 * DAY
"""How long group offsets should be kept. Only tools that show lag read them: progress stands in the state topics."""

_PRODUCE, _PRODUCE_OF_3_7 = 0, 10
_TRANSACTIONS = 1
_SECURITY_DISABLED = 54
_TRANSACTIONAL_REFUSED = 53
_ANY, _TOPIC, _MATCHING, _ALLOW, _ALL = 1, 2, 3, 3, 2


async def surroundings(admin: Administration, names: Names, seen: Topics, kafka: KafkaSettings) -> list[Finding]:
    """Look around. What can't be seen is said too."""
    found: list[Finding] = []
    for broker in seen.brokers:
        found.extend(await _version(admin, broker))
    config = await admin.broker_config(seen.brokers[0])
    if config:
        found.extend(_limits(config, kafka))
    else:
        said = "this user may not see the brokers' settings, so their limits were not looked at (DESCRIBE_CONFIGS)"
        found.append(Finding("brokers", serious=False, said=said))
    found.extend(_allowed(names, seen))
    found.extend(await _transactional(admin, names))
    found.extend(await _writers(admin, names, seen))
    return found


async def _version(admin: Administration, broker: int) -> list[Finding]:
    newest = (await admin.request_versions(broker)).get(_PRODUCE, 0)
    if newest >= _PRODUCE_OF_3_7:
        return []
    said = "is older than Kafka 3.7, the oldest that the promises are tested on. Upgrade it"
    return [Finding(f"broker {broker}", serious=True, said=said)]


def _limits(config: Mapping[str, str], kafka: KafkaSettings) -> list[Finding]:
    found: list[Finding] = []
    least = _number(config, "group.min.session.timeout.ms", 0) / 1000
    most = _number(config, "group.max.session.timeout.ms", 1e12) / 1000
    if not least <= kafka.session_seconds <= most:
        said = (
            f"CALLGATE_KAFKA_SESSION_SECONDS is {kafka.session_seconds:g}, and the brokers take {least:g} to {most:g}"
        )
        found.append(Finding("sessions", serious=True, said=f"{said}: no service can join its group. Set it so"))
    longest = _number(config, "transaction.max.timeout.ms", 1e12) / 1000
    if kafka.transaction_seconds > longest:
        said = f"CALLGATE_KAFKA_TRANSACTION_SECONDS is {kafka.transaction_seconds:g}, and the brokers take {longest:g} "
        found.append(Finding("transactions", serious=True, said=f"{said}at the most: nothing can commit. Lower it"))
    offsets = _number(config, "offsets.retention.minutes", 1e12) * 60
    if offsets < OFFSETS_SECONDS:
        said = f"group offsets are kept for {offsets / 3600:g} h: after such a rest, tools show a wrong lag. Nothing "
        said += "else reads them. Set offsets.retention.minutes to 10080 or more"
        found.append(Finding("offsets", serious=False, said=said))
    if config.get("auto.create.topics.enable") == "true":
        said = "the brokers make any topic that somebody names (auto.create.topics.enable), with their defaults: a "
        found.append(Finding("brokers", serious=False, said=f"{said}misspelt prefix of a producer goes unnoticed"))
    return found


def _allowed(names: Names, seen: Topics) -> list[Finding]:
    found: list[Finding] = []
    if seen.hidden:
        hidden = ", ".join(sorted(names.topic(name) for name in seen.hidden))
        said = f"{hidden}: this user may not describe them, so nobody can say whether they are there or right"
        found.append(Finding("ACLs", serious=True, said=f"{said}. Give it DESCRIBE"))
    for operation, word in ((READ, "read"), (WRITE, "write")):
        refused = [names.topic(name) for name, may in sorted(seen.allowed.items()) if may and operation not in may]
        if refused:
            said = f"{', '.join(refused)}: this user may not {word}. Give it {word.upper()}, unless it only looks"
            found.append(Finding("ACLs", serious=False, said=said))
    return found


async def _transactional(admin: Administration, names: Names) -> list[Finding]:
    """Whether a lease's producer could be found its coordinator. Starting one would write, and might fence."""
    answer = await admin.ask(FindCoordinatorRequest(f"{names.prefix}check", _TRANSACTIONS))
    if answer["error_code"] == _TRANSACTIONAL_REFUSED:
        said = f"this user may not use transactional ids that begin with {names.prefix or 'the services names'!r}: "
        return [
            Finding("ACLs", serious=False, said=f"{said}give WRITE and DESCRIBE on them, prefixed, to the services")
        ]
    return []


async def _writers(admin: Administration, names: Names, seen: Topics) -> list[Finding]:
    """Who may write to topics that are no entrance. Whoever may can forge decisions."""
    try:
        answer = await admin.ask(DescribeAclsRequest(_TOPIC, None, _ANY, None, None, _ANY, _ALLOW))
    except (KafkaError, NotImplementedError):
        return [Finding("ACLs", serious=False, said="the brokers do not show them, so they were not looked at")]
    if answer["error_code"] == _SECURITY_DISABLED:
        said = "the brokers enforce none: whoever reaches them can write decisions, votes and switches"
        return [Finding("ACLs", serious=False, said=f"{said}. Do not let anybody but the services reach them")]
    if answer["error_code"]:
        said = "this user may not see them (DESCRIBE on the cluster), so who else may write was not looked at"
        return [Finding("ACLs", serious=False, said=said)]
    ours = [names.topic(name) for name in seen.there if name not in BY_NAME or not BY_NAME[name].entrance]
    writers: set[str] = set()
    for resource in answer["resources"]:
        pattern, prefixed = resource["resource_name"], resource["resource_pattern_type"] == _PREFIXED
        if any(pattern in {topic, "*"} or (prefixed and topic.startswith(pattern)) for topic in ours):
            writers.update(acl["principal"] for acl in resource["acls"] if acl["operation"] in {WRITE, _ALL})
    if not writers:
        return []
    said = f"{', '.join(sorted(writers))} may write to topics that are no entrance: whoever may can forge decisions"
    return [Finding("ACLs", serious="User:*" in writers, said=f"{said}. It should be the services only")]


_PREFIXED = 4


def _number(config: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(config.get(name, default))
    except ValueError:
        return default
