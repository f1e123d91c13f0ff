"""Switches: one compaction key per kind and scope, and never one key for two scopes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callgate.events.control import ControlChanged

_FIELDS = ("tenant", "agent", "tool", "domain")
_scopes = st.fixed_dictionaries({name: st.none() | st.sampled_from(["", "*", "a", "tenant"]) for name in _FIELDS})


def _switch(scope: dict[str, str | None], *, active: bool = True, changed_at: float = 0.0) -> ControlChanged:
    return ControlChanged(
        kind="stop",
        active=active,
        tenant=scope["tenant"],
        agent=scope["agent"],
        tool=scope["tool"],
        domain=scope["domain"],
        changed_by="ops",
        changed_at=changed_at,
    )


@given(_scopes, _scopes)
def test_two_scopes_never_share_a_key(one: dict[str, str | None], other: dict[str, str | None]) -> None:
    """Lifting a stop of one tenant, whatever it is called, never compacts away the stop of the fleet."""
    assert (_switch(one).scope() == _switch(other).scope()) is (one == other)


def test_lifting_has_the_key_of_setting() -> None:
    """The later word on a scope takes the earlier one's place, and is another event."""
    scope = dict.fromkeys(_FIELDS)
    stop, lifted = _switch(scope), _switch(scope, active=False, changed_at=5.0)
    assert stop.scope() == lifted.scope()
    assert stop.identity() != lifted.identity()


def test_a_hold_and_a_stop_of_one_scope_stand_side_by_side() -> None:
    """Lifting a hold leaves the stop."""
    hold = ControlChanged(kind="hold", changed_by="ops", changed_at=0.0)
    assert hold.scope() != _switch(dict.fromkeys(_FIELDS)).scope()
