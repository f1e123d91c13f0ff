"""What the topics on the brokers should be, and what of that they are not. Pure.

The topics are those of the catalogue, and `state.<group>` for each group. Nothing here ever shrinks or deletes: a topic
that keeps more than is wanted is left alone, and one whose partitions are not N is a finding, never a change, because
the homes of sessions go by that number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from callgate.events.topics import CATALOGUE, DAY, Topic, state_topic
from callgate.log.bounds import UNIT_RECORD_BYTES, partitions_of
from callgate.settings import TopicSettings

MESSAGE_BYTES = UNIT_RECORD_BYTES + 100_000
"""The largest batch that the brokers must take: one record of a unit, with what the batch itself needs."""

RESTORE_SECONDS = 600.0
"""No restore takes longer: records younger than this are never compacted away under somebody who is reading them."""

_COMPACT_AFTER_SECONDS = 3600.0
_TOMBSTONE_SECONDS = 7 * DAY
_SEGMENT_BYTES = 64 * 1024 * 1024
_UNLIMITED = -1

_AT_LEAST = frozenset(
    {
        "retention.ms",
        "retention.bytes",
        "max.message.bytes",
        "min.insync.replicas",
        "delete.retention.ms",
        "min.compaction.lag.ms",
    }
)
"""Settings that may be more than is wanted: what somebody keeps longer is not taken away."""

_AT_MOST = frozenset({"max.compaction.lag.ms", "segment.ms", "segment.bytes", "min.cleanable.dirty.ratio"})
"""Settings that may be less. All that are in neither must be as they are wanted."""

_WHY: dict[str, str] = {
    "message.timestamp.type": "producers could date their own records, so a vote could come in time whenever it comes",
    "cleanup.policy": "records would go, or stay, that should not",
    "retention.ms": "records would be gone before they are done, or while their ids may still come again",
    "retention.bytes": "records would be gone as soon as there are many, done or not",
    "max.message.bytes": "the largest records that Callgate writes would be refused",
    "min.insync.replicas": "a record would count as written with fewer copies than you have asked for",
    "unclean.leader.election.enable": "a copy that lags could become the leader, and what others had written be lost",
    "delete.retention.ms": "a slow reader could miss that something was deleted",
    "min.compaction.lag.ms": "records could go while a restore is reading them",
}
"""What goes wrong otherwise. Settings that are not named here cost time only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedTopic:
    """A topic as it should be. Its name is that of the catalogue, without any prefix."""

    name: str
    partitions: int
    replicas: int = 0
    """0 leaves it to the brokers."""
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActualTopic:
    """A topic as the brokers have it."""

    partitions: int
    replicas: int
    """The copies of the partition that has the fewest."""
    config: Mapping[str, str] = field(default_factory=dict)
    """Every setting in force, wherever its value comes from; empty where it can't be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that would make a topic as it should be."""

    topic: str
    setting: str | None = None
    """None: the topic is made, with all its settings."""
    before: str | None = None
    after: str

    def __str__(self) -> str:
        """In words."""
        if self.setting is None:
            return f"{self.topic}: make it, {self.after}"
        return f"{self.topic}: {self.setting} from {self.before} to {self.after}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, or that is worth knowing."""

    what: str
    """The topic, or what of the cluster."""
    serious: bool
    """Whether a promise can break, or nothing can run."""
    said: str
    """What is wrong, and how to mend it."""

    def __str__(self) -> str:
        """In words."""
        return f"{self.what}: {self.said}"


def desired(topic: TopicSettings, groups: Sequence[str]) -> tuple[WantedTopic, ...]:
    """Every topic of a log that these groups work on."""
    catalogue = (
        WantedTopic(
            name=each.name,
            partitions=partitions_of(each.name, topic.partitions),
            replicas=topic.replicas,
            config=_config(each, topic),
        )
        for each in CATALOGUE
    )
    states = (
        WantedTopic(
            name=state_topic(group),
            partitions=topic.partitions,
            replicas=topic.replicas,
            config=_compacted() | _safe(topic),
        )
        for group in groups
    )
    return (*catalogue, *states)


def difference(wanted: Sequence[WantedTopic], actual: Mapping[str, ActualTopic]) -> tuple[Change, ...]:
    """What would have to change. `actual` is by the catalogue's names; a topic that is not in it is made."""
    changes: list[Change] = []
    for topic in wanted:
        there = actual.get(topic.name)
        if there is None:
            changes.append(Change(topic=topic.name, after=_described(topic)))
            continue
        changes.extend(
            Change(topic=topic.name, setting=setting, before=there.config[setting], after=value)
            for setting, value in sorted(topic.config.items())
            if setting in there.config and not satisfied(setting, value, there.config[setting])
        )
    return tuple(changes)


def mismatches(wanted: Sequence[WantedTopic], actual: Mapping[str, ActualTopic]) -> tuple[Finding, ...]:
    """Topics whose number of partitions is not what it must be. Nobody can mend that in place."""
    return tuple(
        Finding(
            topic.name,
            serious=True,
            said=f"has {there.partitions} partitions instead of {topic.partitions}. Sessions have their homes by this "
            "number, so it can't be changed: set CALLGATE_TOPIC_PARTITIONS to the number that the log was made with, "
            "or begin a new log under another CALLGATE_TOPIC_PREFIX",
        )
        for topic in wanted
        if (there := actual.get(topic.name)) is not None and there.partitions != topic.partitions
    )


def findings(wanted: Sequence[WantedTopic], actual: Mapping[str, ActualTopic]) -> tuple[Finding, ...]:
    """Everything about the topics that is not as it should be."""
    missing = [topic.name for topic in wanted if topic.name not in actual]
    found: list[Finding] = []
    if missing:
        said = f"{', '.join(missing)}: missing. Run `callgate topics apply`"
        found.append(Finding("topics", serious=True, said=said))
    found.extend(mismatches(wanted, actual))
    for change in difference(wanted, actual):
        if change.setting is None:
            continue
        why = _WHY.get(change.setting)
        said = f"{change.setting} is {change.before} and should be {_bound(change.setting)}{change.after}: "
        said += why or "nothing breaks, but starting takes longer"
        found.append(Finding(change.topic, serious=why is not None, said=f"{said}. `callgate topics apply` mends it"))
    unseen = [topic.name for topic in wanted if topic.name in actual and not actual[topic.name].config]
    if unseen:
        said = f"the settings of {', '.join(unseen)} can't be seen. Give this user DESCRIBE_CONFIGS on them"
        found.append(Finding("topics", serious=False, said=said))
    return (*found, *_copies(wanted, actual))


def satisfied(setting: str, wanted: str, actual: str) -> bool:
    """Whether a value will do. More than is wanted is never taken away, nor patience that somebody has shortened."""
    if setting not in _AT_LEAST | _AT_MOST:
        return {*wanted.split(",")} == {*actual.replace(" ", "").split(",")}
    try:
        bound, given = float(wanted), float(actual)
    except ValueError:
        return False
    if setting in _AT_MOST:
        return given <= bound
    if setting.startswith("retention.") and _UNLIMITED in {bound, given}:
        return given == _UNLIMITED
    return given >= bound


def _config(topic: Topic, settings: TopicSettings) -> dict[str, str]:
    kept = {
        "cleanup.policy": "delete",
        "retention.ms": str(int(topic.retention_seconds * 1000)),
        "retention.bytes": str(_UNLIMITED),
    }
    config = (_compacted() if topic.compacted else kept) | _safe(settings)
    if topic.entrance:
        config["message.timestamp.type"] = "LogAppendTime"
    return config


def _compacted() -> dict[str, str]:
    """Small segments and eager cleaning: whoever claims a lease reads all of its state first."""
    return {
        "cleanup.policy": "compact",
        "segment.ms": str(int(RESTORE_SECONDS * 1000)),
        "segment.bytes": str(_SEGMENT_BYTES),
        "min.cleanable.dirty.ratio": "0.1",
        "min.compaction.lag.ms": str(int(RESTORE_SECONDS * 1000)),
        "max.compaction.lag.ms": str(int(_COMPACT_AFTER_SECONDS * 1000)),
        "delete.retention.ms": str(int(_TOMBSTONE_SECONDS * 1000)),
    }


def _safe(settings: TopicSettings) -> dict[str, str]:
    config = {"max.message.bytes": str(MESSAGE_BYTES), "unclean.leader.election.enable": "false"}
    if settings.min_insync:
        config["min.insync.replicas"] = str(settings.min_insync)
    return config


def _copies(wanted: Sequence[WantedTopic], actual: Mapping[str, ActualTopic]) -> tuple[Finding, ...]:
    there = {topic.name: actual[topic.name] for topic in wanted if topic.name in actual}
    single = [name for name, topic in there.items() if topic.replicas == 1]
    found: list[Finding] = []
    if single:
        said = f"{_some(single, there)} one copy only: a broker's disk that is lost loses them. In production set "
        said += "CALLGATE_TOPIC_REPLICAS=3 and CALLGATE_TOPIC_MIN_INSYNC=2 before the first apply"
        found.append(Finding("replicas", serious=False, said=said))
    fewer = [topic.name for topic in wanted if topic.name in there and there[topic.name].replicas < topic.replicas]
    if fewer:
        said = f"{_some(fewer, there)} fewer copies than CALLGATE_TOPIC_REPLICAS says: that holds for topics when they "
        said += "are made. Move their partitions with Kafka's own kafka-reassign-partitions"
        found.append(Finding("replicas", serious=False, said=said))
    return (*found, *_insync(there))


def _insync(there: Mapping[str, ActualTopic]) -> tuple[Finding, ...]:
    seen = {
        name: (topic.replicas, int(topic.config["min.insync.replicas"]))
        for name, topic in there.items()
        if "min.insync.replicas" in topic.config
    }
    stuck = [name for name, (replicas, least) in seen.items() if least > replicas]
    brittle = [name for name, (replicas, least) in seen.items() if least == replicas > 1]
    thin = [name for name, (replicas, least) in seen.items() if least == 1 < replicas]
    found: list[Finding] = []
    if stuck:
        said = f"{_some(stuck, there)} more copies demanded than there are, so that nothing can be written. "
        found.append(Finding("min.insync.replicas", serious=True, said=f"{said}Lower it, or add copies"))
    if brittle:
        said = f"{_some(brittle, there)} every copy demanded: one broker that is away stops all writing. "
        found.append(Finding("min.insync.replicas", serious=False, said=f"{said}Demand one fewer than there are"))
    if thin:
        said = f"{_some(thin, there)} several copies, and one is enough to count as written: it can be lost with one "
        said += "broker. Set CALLGATE_TOPIC_MIN_INSYNC=2 and run `callgate topics apply`"
        found.append(Finding("min.insync.replicas", serious=True, said=said))
    return tuple(found)


def _some(names: Sequence[str], of: Mapping[str, object]) -> str:
    return "all topics have" if len(names) == len(of) else f"{', '.join(names)}:"


def _bound(setting: str) -> str:
    return "at least " if setting in _AT_LEAST else "at most " if setting in _AT_MOST else ""


def _described(topic: WantedTopic) -> str:
    partitions = "1 partition" if topic.partitions == 1 else f"{topic.partitions} partitions"
    copies = f"{topic.replicas} copies" if topic.replicas else "as many copies as the brokers' default says"
    config = ", ".join(f"{setting}={value}" for setting, value in sorted(topic.config.items()))
    return f"{partitions}, {copies}, {config}"
