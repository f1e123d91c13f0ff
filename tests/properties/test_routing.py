"""Every event has one address on every log, and a forged id has none."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.event_values import PARTITIONS, any_event, events, text

from callgate.events import ids, topics
from callgate.events.actions import ActionDecided
from callgate.events.event import Event
from callgate.events.outcomes import OutcomeObserved
from callgate.events.routing import address, ballot_partition, effect_address

_SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)


@_SLOW
@given(any_event())
def test_every_event_has_an_address(event: Event) -> None:
    """The address is on a topic that carries the event, on a partition that exists, and the same each time."""
    at = address(event, PARTITIONS)
    assert type(event) in topics.BY_NAME[at.topic].events
    assert 0 <= at.partition < PARTITIONS
    assert at == address(event, PARTITIONS)


@_SLOW
@given(any_event())
def test_an_id_of_a_wider_log_is_refused(event: Event) -> None:
    """On a log with one partition, an id that names another is a ValueError, never a guess."""
    with suppress(ValueError):
        assert address(event, 1).partition == 0


@_SLOW
@given(events(ActionDecided), text)
def test_equal_effects_meet(event: Event, key: str) -> None:
    """Two actions of one tenant with the same effect key are claimed on one partition."""
    assert isinstance(event, ActionDecided)
    one = msgspec.structs.replace(event, action=msgspec.structs.replace(event.action, effect_key=key))
    elsewhere = msgspec.structs.replace(one.action.ref, session="another", id=ids.located("act", 1, "another"))
    two = msgspec.structs.replace(one, action=msgspec.structs.replace(one.action, ref=elsewhere))
    assert effect_address(one, PARTITIONS).partition == effect_address(two, PARTITIONS).partition
    assert effect_address(one, PARTITIONS).topic == topics.EFFECTS.name


@_SLOW
@given(events(ActionDecided))
def test_without_an_effect_key_there_is_no_effect_address(event: Event) -> None:
    """An action that declares no effect key is claimed at home, and asking for elsewhere is a mistake."""
    assert isinstance(event, ActionDecided)
    keyless = msgspec.structs.replace(event, action=msgspec.structs.replace(event.action, effect_key=None))
    with pytest.raises(ValueError, match="no effect key"):
        effect_address(keyless, PARTITIONS)


@given(text, text, st.integers(1, 64))
def test_ballots_of_one_tool_are_counted_on_one_partition(tenant: str, tool: str, partitions: int) -> None:
    """The partition of a tenant's tool exists and never moves."""
    found = ballot_partition(tenant, tool, partitions)
    assert 0 <= found < partitions
    assert found == ballot_partition(tenant, tool, partitions)


@_SLOW
@given(events(OutcomeObserved))
def test_an_outcome_goes_where_its_action_lives(event: Event) -> None:
    """An outcome that names an action id goes to that action's home, whatever else it names."""
    assert isinstance(event, OutcomeObserved)
    named = msgspec.structs.replace(event, action_id=ids.located("act", 5, "x"))
    assert address(named, PARTITIONS).partition == 5


def test_what_no_topic_carries_has_no_address() -> None:
    """An event type outside the catalogue can't be written by accident."""
    with pytest.raises(ValueError, match="no topic carries"):
        address(Event(), PARTITIONS)
