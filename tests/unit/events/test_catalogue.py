"""The catalogue: every event has its topic, and every topic says who writes and reads it."""

from __future__ import annotations

import re

import pytest

from callgate.events import topics
from callgate.events.actions import ActionDecided
from callgate.events.codec import REGISTRY
from callgate.events.event import Event


def _every_kind(kind: type[Event] = Event) -> set[type[Event]]:
    found = {each for each in kind.__subclasses__() if each.TYPE}
    return found.union(*(_every_kind(each) for each in kind.__subclasses__()))


def test_every_event_is_on_a_topic() -> None:
    """An event class that no topic carries could never be read."""
    assert {kind for kind in _every_kind() if kind.__module__.startswith("callgate.")} == set(REGISTRY.values())


def test_types_are_versioned_and_unique() -> None:
    """A type's name says family, fact and version, and names one class."""
    for name, kind in REGISTRY.items():
        assert re.fullmatch(r"callgate\.[a-z]+\.[a-z_]+\.v[1-9][0-9]*", name)
        assert name == kind.TYPE
    assert len({kind.TYPE for kind in REGISTRY.values()}) == len(set(REGISTRY.values()))


def test_only_decisions_have_two_topics() -> None:
    """One fact has one place; a decision moves to its effect's partition as well."""
    places: dict[type[Event], list[str]] = {}
    for topic in topics.CATALOGUE:
        for kind in topic.events:
            places.setdefault(kind, []).append(topic.name)
    assert {kind for kind, names in places.items() if len(names) > 1} == {ActionDecided}


def test_topic_names_are_unique_and_plain() -> None:
    """A name is legal on every broker, and never collides by dots and underscores."""
    names = [topic.name for topic in topics.CATALOGUE]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z.]{1,100}", name) for name in names)
    assert {topic.name: topic for topic in topics.CATALOGUE} == topics.BY_NAME


@pytest.mark.parametrize("topic", topics.CATALOGUE, ids=lambda topic: topic.name)
def test_a_topic_says_who_writes_and_reads_it(topic: topics.Topic) -> None:
    """No topic is without a writer and a reader, and entrances are exactly those where producers choose."""
    assert topic.written_by
    assert topic.read_by
    assert topic.entrance is (topic.spread == "any")
    assert topic.retention_seconds > 0


def test_what_outsiders_write_is_kept_for_the_identity_window() -> None:
    """Entrances and the topics that promises rest on outlive every approval and redrive."""
    short = {topic.name for topic in topics.CATALOGUE if topic.retention_seconds < topics.IDENTITY_WINDOW}
    assert short == {topics.STREAM.name}


def test_state_topics_are_named_after_their_group() -> None:
    """A group's state is never found under the name of another or of a catalogue topic."""
    assert topics.state_topic("executor") == "state.executor"
    assert not any(topic.name.startswith("state.") for topic in topics.CATALOGUE)
