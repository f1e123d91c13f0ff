"""Laying the topics out on a cluster, looking whether they are as they should be, and agreeing on N."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from callgate.clock import Clock, SystemClock
from callgate.events.topics import CATALOGUE, CONTROL, TURNS
from callgate.failures import BadInput
from callgate.log.bounds import partitions_of
from callgate.log.kafka import agreement
from callgate.log.kafka.administration import Administration, administration
from callgate.log.kafka.layout import Change, Finding, WantedTopic, difference, findings, mismatches
from callgate.log.kafka.names import Names
from callgate.log.kafka.surroundings import surroundings
from callgate.log.port import LogUnavailable
from callgate.settings import KafkaSettings

SPREAD_SECONDS = 30.0
"""How long new topics and settings may take until the brokers show them."""

_LOOK_SECONDS = 0.1
_FIELD = "CALLGATE_TOPIC_PARTITIONS"


async def apply(
    options: Mapping[str, Any],
    names: Names,
    wanted: Sequence[WantedTopic],
    *,
    dry_run: bool,
    clock: Clock | None = None,
) -> tuple[Change, ...]:
    """Make the topics as they are wanted; what had to change (for a dry run: would have to).

    Idempotent, and safe beside another apply. N is recorded last, so that a log on which it stands is complete. Raises
    BadInput where partitions can't be as they are wanted, before anything is changed; PermanentFailure where the
    brokers refuse, and `LogUnavailable` where they do not answer: then run it again.
    """
    clock = clock or SystemClock()
    bare = [topic.name for topic in wanted]
    async with administration(options, names) as admin:
        actual = (await admin.topics(bare)).there
        n = await agreement.recorded(options, names) if CONTROL.name in actual else None
        _refuse_other_n(wanted, n)
        wrong = mismatches(wanted, actual)
        if wrong:
            raise BadInput(_FIELD, "; ".join(str(each) for each in wrong), "Nothing was changed")
        changes = difference(wanted, actual)
        if n is None:
            changes = (*changes, Change(topic=CONTROL.name, setting="N", before="nothing", after=f"{_n(wanted)}"))
        if dry_run or not changes:
            return changes
        await _change(admin, wanted, changes)
        await _spread(admin, wanted, clock)
    if n is None:
        # Somebody else may have been quicker; this also waits until the topic's leader answers.
        n = await agreement.recorded(options, names)
        _refuse_other_n(wanted, n)
    if n is None:
        await agreement.record(options, names, _n(wanted), clock)
    return changes


async def survey(
    options: Mapping[str, Any], names: Names, wanted: Sequence[WantedTopic], *, kafka: KafkaSettings | None = None
) -> tuple[Finding, ...]:
    """Everything on the cluster that is not as it should be, or that can't be seen. Changes nothing."""
    bare = [topic.name for topic in wanted]
    async with administration(options, names) as admin:
        seen = await admin.topics(bare)
        visible = [topic for topic in wanted if topic.name not in seen.hidden]
        found = [*findings(visible, seen.there), *await surroundings(admin, names, seen, kafka or KafkaSettings())]
    if CONTROL.name in seen.there:
        n = await agreement.recorded(options, names)
        if n is None:
            found.append(
                Finding(CONTROL.name, serious=True, said="does not say what N is. Run `callgate topics apply`")
            )
        elif n != _n(wanted):
            said = f"says that N is {n}, not {_n(wanted)}. Set {_FIELD}={n}"
            found.append(Finding(CONTROL.name, serious=True, said=said))
    return tuple(found)


async def agreed_partitions(options: Mapping[str, Any], names: Names) -> int:
    """N, as the topics have it and `control` says it.

    Raises BadInput where a topic of the catalogue is missing or has another number of partitions, or where no apply
    has come to its end; `LogUnavailable` where the brokers do not answer.
    """
    async with administration(options, names) as admin:
        seen = await admin.topics([topic.name for topic in CATALOGUE], configs=False)
    if seen.hidden:
        raise BadInput(
            "CALLGATE_KAFKA_USER",
            f"this user may not describe {', '.join(sorted(names.topic(name) for name in seen.hidden))}",
            "Give it DESCRIBE on the topics, or set the right CALLGATE_TOPIC_PREFIX",
        )
    missing = [topic.name for topic in CATALOGUE if topic.name not in seen.there]
    if missing:
        shown = ", ".join(names.topic(name) for name in missing[:3])
        more = f" and {len(missing) - 3} more topics" if len(missing) > 3 else ""  # noqa: PLR2004 - as many as shown
        raise BadInput("CALLGATE_LOG", f"{shown}{more} are missing there", "Run `callgate topics apply`")
    n = await agreement.recorded(options, names)
    if n is None:
        raise BadInput("CALLGATE_LOG", "`control` does not say how many partitions N is", "Run `callgate topics apply`")
    different = [
        f"{names.topic(topic.name)} has {there.partitions}"
        for topic in CATALOGUE
        if (there := seen.there[topic.name]).partitions != partitions_of(topic.name, n)
    ]
    if different:
        raise BadInput(
            "CALLGATE_LOG",
            f"N is {n}, but {', '.join(different)} partitions",
            "Sessions have their homes by N: begin a new log under another CALLGATE_TOPIC_PREFIX",
        )
    return n


async def known_partitions(options: Mapping[str, Any], names: Names) -> int | None:
    """N of a log that is there already, for whoever lays it out again; None for a new one. Raises `LogUnavailable`."""
    async with administration(options, names) as admin:
        seen = await admin.topics([CONTROL.name], configs=False)
    return await agreement.recorded(options, names) if CONTROL.name in seen.there else None


async def _change(admin: Administration, wanted: Sequence[WantedTopic], changes: Sequence[Change]) -> None:
    by_name = {topic.name: topic for topic in wanted}
    new = [by_name[change.topic] for change in changes if change.setting is None]
    settings: dict[str, dict[str, str]] = {}
    for change in changes:
        if change.setting is not None and change.setting in by_name[change.topic].config:
            settings.setdefault(change.topic, {})[change.setting] = change.after
    if new:
        await admin.make(new)
    if settings:
        await admin.set(settings)


async def _spread(admin: Administration, wanted: Sequence[WantedTopic], clock: Clock) -> None:
    """Wait until the brokers show what was made and set."""
    until = clock.monotonic() + SPREAD_SECONDS
    while True:
        seen = await admin.topics([topic.name for topic in wanted])
        wrong = mismatches(wanted, seen.there)
        if wrong:
            raise BadInput(_FIELD, "; ".join(str(each) for each in wrong), "Somebody else lays the topics out too")
        left = difference(wanted, seen.there)
        if not left and all(topic.name in seen.led for topic in wanted):
            return
        if clock.monotonic() >= until:
            shown = "; ".join(str(change) for change in left) or "a partition without a leader"
            raise LogUnavailable(f"the brokers took the layout and do not show it: {shown}")
        # A topic that was too new to be seen at first is there now, and with its maker's settings.
        await _change(admin, wanted, left)
        await clock.sleep(_LOOK_SECONDS)


def _refuse_other_n(wanted: Sequence[WantedTopic], n: int | None) -> None:
    if n is not None and n != _n(wanted):
        raise BadInput(
            _FIELD,
            f"this log was made with {n} partitions, and {_n(wanted)} are asked for. Nothing was changed",
            f"Sessions have their homes by this number: use {n}, or another CALLGATE_TOPIC_PREFIX for a new log",
        )


def _n(wanted: Sequence[WantedTopic]) -> int:
    return next(topic.partitions for topic in wanted if topic.name == TURNS.name)
