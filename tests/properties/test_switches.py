"""Whatever operators switch in whatever order, what is in force is the last word on each scope, and stops only add."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from callgate.control.scopes import Subject, Switches
from callgate.events.control import ControlChanged

FIELDS = ("tenant", "agent", "tool", "domain")
SUBJECTS = [Subject(*values) for values in product("ab", "ab", "ab", ("a", "b", None))]
Field = st.none() | st.sampled_from("ab")
Kind = st.sampled_from(("stop", "hold"))


def changes(active: Any = None) -> st.SearchStrategy[ControlChanged]:
    """Switches of few scopes, so that they meet."""
    return st.builds(
        ControlChanged,
        kind=Kind,
        active=st.booleans() if active is None else st.just(active),
        tenant=Field,
        agent=Field,
        tool=Field,
        domain=Field,
        reason=st.just("why"),
        changed_by=st.just("op"),
        changed_at=st.just(1.0),
    )


def after(history: Sequence[ControlChanged]) -> Switches:
    """The switches after a history."""
    switches = Switches()
    for offset, change in enumerate(history):
        switches = switches.apply(change, offset)
    return switches


def in_force(switches: Switches, kind: str) -> set[Subject]:
    """The subjects that a kind of switch concerns."""
    ask = switches.stopped if kind == "stop" else switches.held
    return {subject for subject in SUBJECTS if ask(subject) is not None}


def scope_of(change: ControlChanged) -> tuple[str | None, ...]:
    """What a change covers."""
    return tuple(getattr(change, name) for name in FIELDS)


@given(st.lists(changes(), max_size=12), changes(active=True))
def test_a_switch_more_lets_nothing_go(history: list[ControlChanged], more: ControlChanged) -> None:
    """Setting a switch never makes anything start that could not start before it."""
    before, then = after(history), after([*history, more])
    for kind in ("stop", "hold"):
        assert in_force(before, kind) <= in_force(then, kind)


@given(st.lists(changes(), max_size=12))
def test_the_last_word_on_each_scope_is_in_force(history: list[ControlChanged]) -> None:
    """A switch concerns an action if and only if some scope that covers it was last set and not lifted."""
    switches = after(history)
    last = {(change.kind, scope_of(change)): change.active for change in history}
    for kind in ("stop", "hold"):
        wanted = {
            subject
            for subject in SUBJECTS
            for (named, scope), active in last.items()
            if active
            and named == kind
            and all(each in {None, getattr(subject, name)} for name, each in zip(FIELDS, scope, strict=True))
        }
        assert in_force(switches, kind) == wanted


@given(st.lists(changes(), max_size=8), st.data())
def test_records_that_come_again_change_nothing(history: list[ControlChanged], data: st.DataObject) -> None:
    """Reading any part of the topic again after all of it was read leaves the switches and their epoch as they are."""
    switches = after(history)
    again = data.draw(st.lists(st.sampled_from(list(enumerate(history))), max_size=8)) if history else []
    for offset, change in again:
        assert switches.apply(change, offset) == switches


@given(st.lists(changes(), max_size=8))
def test_everything_is_stopped_where_nobody_can_know(history: list[ControlChanged]) -> None:
    """While the switches can't be read every action counts as stopped, whatever was read before."""
    switches = after(history)
    unreadable = Switches(switches.active, switches.epoch, readable=False)
    assert in_force(unreadable, "stop") == set(SUBJECTS)
