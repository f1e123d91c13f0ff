"""Laying topics out: applied once there is nothing left to do, and nothing ever becomes less."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.events.topics import CATALOGUE, IDENTITY_WINDOW
from callgate.log.bounds import UNIT_RECORD_BYTES
from callgate.log.kafka.layout import (
    ActualTopic,
    Change,
    WantedTopic,
    desired,
    difference,
    findings,
    mismatches,
    satisfied,
)
from callgate.settings import TopicSettings

GROUPS = ("proposer", "executor")

SETTINGS = st.builds(
    TopicSettings,
    partitions=st.integers(1, 64),
    replicas=st.integers(0, 5),
    min_insync=st.integers(0, 3),
)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "cleanup.policy": st.sampled_from(["delete", "compact", "compact,delete", "delete, compact"]),
    "message.timestamp.type": st.sampled_from(["CreateTime", "LogAppendTime"]),
    "unclean.leader.election.enable": st.sampled_from(["true", "false"]),
    "min.cleanable.dirty.ratio": st.floats(0, 1).map(str),
    "min.insync.replicas": st.integers(1, 5).map(str),
}
NUMBER = st.one_of(st.just("-1"), st.integers(0, 2**62).map(str))
NEVER_LESS = ("retention.ms", "retention.bytes", "delete.retention.ms", "max.message.bytes", "min.insync.replicas")


def existing(wanted: WantedTopic) -> st.SearchStrategy[ActualTopic]:
    """A topic that somebody has made, with any settings."""
    names = sorted({*wanted.config, "min.insync.replicas"})
    config = st.fixed_dictionaries({name: VALUES.get(name, NUMBER) for name in names})
    return st.builds(ActualTopic, partitions=st.integers(1, 64), replicas=st.integers(1, 5), config=config)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[tuple[WantedTopic, ...], dict[str, ActualTopic]]:
    """A layout, and a cluster that has some of it."""
    wanted = desired(draw(SETTINGS), GROUPS)
    there = draw(st.lists(st.sampled_from(wanted), unique_by=lambda topic: topic.name, max_size=4))
    return wanted, {topic.name: draw(existing(topic)) for topic in there}


def applied(
    wanted: tuple[WantedTopic, ...], actual: dict[str, ActualTopic], changes: tuple[Change, ...]
) -> dict[str, ActualTopic]:
    """The cluster after the changes, as the brokers would carry them out."""
    after = dict(actual)
    by_name = {topic.name: topic for topic in wanted}
    for change in changes:
        if change.setting is None:
            made = by_name[change.topic]
            after[change.topic] = ActualTopic(
                partitions=made.partitions,
                replicas=made.replicas or 1,
                config={"min.insync.replicas": "1"} | dict(made.config),
            )
        else:
            there = after[change.topic]
            after[change.topic] = replace(there, config={**there.config, change.setting: change.after})
    return after


@given(clusters())
def test_what_is_applied_is_done(cluster: tuple[tuple[WantedTopic, ...], dict[str, ActualTopic]]) -> None:
    """After one apply there is nothing to change, whatever was there before; only numbers of partitions stay wrong."""
    wanted, actual = cluster
    after = applied(wanted, actual, difference(wanted, actual))
    assert difference(wanted, after) == ()
    assert mismatches(wanted, after) == mismatches(wanted, actual)
    mendable = [each for each in findings(wanted, after) if "topics apply` mends it" in each.said]
    assert mendable == []


@given(clusters())
def test_nothing_becomes_less(cluster: tuple[tuple[WantedTopic, ...], dict[str, ActualTopic]]) -> None:
    """No topic is dropped, no partition is added or taken, and nothing is kept for less long or in fewer copies."""
    wanted, actual = cluster
    after = applied(wanted, actual, difference(wanted, actual))
    for name, before in actual.items():
        assert after[name].partitions == before.partitions
        for setting in NEVER_LESS:
            if setting in before.config:
                was, now = (float(each.config[setting]) for each in (before, after[name]))
                assert now >= was or now == -1 or (was == -1 and not setting.startswith("retention."))


@given(SETTINGS)
def test_the_layout_keeps_what_the_promises_need(settings: TopicSettings) -> None:
    """Entrances are stamped by the brokers, inputs outlast the identity window, state is compacted."""
    wanted = {topic.name: topic for topic in desired(settings, GROUPS)}
    assert len(wanted) == len(CATALOGUE) + len(GROUPS)
    for topic in CATALOGUE:
        laid = wanted[topic.name]
        assert (laid.config.get("message.timestamp.type") == "LogAppendTime") == topic.entrance
        assert laid.partitions == (1 if topic.spread == "single" else settings.partitions)
        if topic.entrance:
            assert int(laid.config["retention.ms"]) >= IDENTITY_WINDOW * 1000
    for group in GROUPS:
        state = wanted[f"state.{group}"]
        assert state.config["cleanup.policy"] == "compact"
        assert state.partitions == settings.partitions
    for laid in wanted.values():
        assert int(laid.config["max.message.bytes"]) > UNIT_RECORD_BYTES
        assert laid.replicas == settings.replicas
        assert laid.config.get("min.insync.replicas") == (str(settings.min_insync) if settings.min_insync else None)


@pytest.mark.parametrize(
    ("setting", "wanted", "actual", "will_do"),
    [
        ("retention.ms", "1000", "999", False),
        ("retention.ms", "1000", "1001", True),
        ("retention.ms", "1000", "-1", True),
        ("retention.bytes", "-1", "1000000000000", False),
        ("segment.ms", "1000", "1001", False),
        ("segment.ms", "1000", "10", True),
        ("cleanup.policy", "compact", "compact,delete", False),
        ("cleanup.policy", "delete", "delete", True),
        ("message.timestamp.type", "LogAppendTime", "CreateTime", False),
        ("min.insync.replicas", "2", "3", True),
        ("max.message.bytes", "2100000", "what", False),
    ],
)
def test_what_will_do(setting: str, wanted: str, actual: str, *, will_do: bool) -> None:
    """Longer, larger and more will do where less would lose something; what has one right value needs that."""
    assert satisfied(setting, wanted, actual) is will_do
