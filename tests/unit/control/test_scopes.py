"""Switches cover what they name, a narrower one never lifts a wider one, and what can't be understood is no go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.control.scopes import UNCLEAR, UNREADABLE, Subject, Switches
from callgate.events.control import ControlChanged

SUBJECT = Subject(tenant="acme", agent="bot", tool="pay", domain="money")
_FIELDS = ("tenant", "agent", "tool", "domain")


def change(kind: Any = "stop", *, active: bool = True, **scope: Any) -> ControlChanged:
    """A switch of the operator's."""
    return ControlChanged(kind=kind, active=active, reason="why", changed_by="op", changed_at=0.0, **scope)


def after(*changes: ControlChanged) -> Switches:
    """The switches after changes at offsets from 0."""
    switches = Switches()
    for offset, each in enumerate(changes):
        switches = switches.apply(each, offset)
    return switches


def test_without_switches_everything_may_go() -> None:
    """Nothing is stopped or held by default, once it is known."""
    assert Switches().stopped(SUBJECT) is None
    assert Switches().held(SUBJECT) is None


@given(st.sets(st.sampled_from(_FIELDS)), st.none() | st.sampled_from(_FIELDS))
def test_a_scope_covers_what_agrees_in_every_field_it_sets(named: set[str], differs: str | None) -> None:
    """One field that differs takes the action out of the scope; fields that are not set don't matter."""
    scope = {name: getattr(SUBJECT, name) for name in named}
    if differs in named:
        scope[differs] = "other"
    stopped = after(change(**scope)).stopped(SUBJECT)
    assert (stopped == "why") is (differs not in named)


def test_a_scope_with_a_domain_leaves_out_what_has_none() -> None:
    """An action without a domain is in no domain."""
    assert after(change(domain="money")).stopped(Subject("acme", "bot", "pay")) is None


def test_lifting_a_narrow_switch_leaves_the_wide_one() -> None:
    """Each scope is lifted by itself."""
    switches = after(change(), change(tool="pay"), change(tool="pay", active=False))
    assert switches.stopped(SUBJECT) == "why"
    assert switches.apply(change(active=False), 3).stopped(SUBJECT) is None


def test_stop_and_hold_are_two_switches() -> None:
    """Lifting the one leaves the other."""
    switches = after(change("stop"), change("hold"), change("stop", active=False))
    assert switches.stopped(SUBJECT) is None
    assert switches.held(SUBJECT) == "why"


def test_a_record_is_applied_once_and_the_epoch_is_its_offset() -> None:
    """A repeat or an older record changes nothing, so that what was lifted stays lifted."""
    switches = after(change(), change(active=False))
    assert switches.epoch == 1
    assert switches.apply(change(), 0) is switches
    assert switches.misread(b"key", 1) is switches


def test_a_switch_without_a_reason_names_who_set_it() -> None:
    """Nobody is stopped without being told by whom."""
    plain = ControlChanged(kind="stop", changed_by="op", changed_at=0.0)
    assert Switches().apply(plain, 0).stopped(SUBJECT) == "stop by op"


def test_the_number_of_partitions_is_no_switch() -> None:
    """A record that says how many partitions there are stops nothing."""
    switches = after(change("partitions", partitions=8))
    assert switches.stopped(SUBJECT) is None
    assert switches.held(SUBJECT) is None
    assert switches.epoch == 0


def test_unreadable_is_stopped() -> None:
    """While nobody knows the switches, everything counts as stopped."""
    assert Switches(readable=False).stopped(SUBJECT) == UNREADABLE


@pytest.mark.parametrize("key", [b"some scope", None])
def test_what_can_not_be_understood_holds_everything(key: bytes | None) -> None:
    """A record that may be a stop in newer words lets nothing start; it kills nothing, since it may be none."""
    switches = Switches().misread(key, 0)
    assert switches.held(SUBJECT) == UNCLEAR
    assert switches.stopped(SUBJECT) is None
    assert switches.epoch == 0
    assert switches.apply(change("partitions", partitions=8), 1).held(SUBJECT) == UNCLEAR


def test_a_readable_record_of_the_same_scope_puts_it_right() -> None:
    """The newest record under a key is what counts."""
    lifted = change(tool="pay", active=False)
    assert Switches().misread(lifted.scope().encode(), 0).apply(lifted, 1).held(SUBJECT) is None
    assert Switches().misread(b"another", 0).apply(lifted, 1).held(SUBJECT) == UNCLEAR


def test_a_word_about_everything_is_the_way_out() -> None:
    """Holding everything and lifting that again clears what nobody can read."""
    switches = Switches().misread(None, 0).apply(change("hold"), 1)
    assert switches.held(SUBJECT) == "why"
    assert switches.apply(change("hold", active=False), 2).held(SUBJECT) is None
