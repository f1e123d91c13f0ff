"""Ids: deterministic, told apart by every part, and safe in a path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.events import ids

_any_text = st.text(max_size=12)
"""Lone surrogates included: an id must not fail on what a framework calls a session."""


@given(st.lists(_any_text, max_size=4), st.lists(_any_text, max_size=4))
def test_fingerprints_differ_where_any_part_differs(one: list[str], two: list[str]) -> None:
    """Parts never run together: only equal lists have equal fingerprints."""
    assert (ids.fingerprint(*one) == ids.fingerprint(*two)) is (one == two)


def test_a_moved_boundary_is_another_fingerprint() -> None:
    """`ab, c` and `a, bc` are different facts."""
    assert ids.fingerprint("ab", "c") != ids.fingerprint("a", "bc")
    assert ids.fingerprint("a", "") != ids.fingerprint("a")


def test_ids_never_change_between_releases() -> None:
    """Ids on a log outlive the process that made them: these are the ones of the first release."""
    turn = ids.turn_key(3, "acme", "s-1", "t-1")
    action = ids.action_id(turn, 0, 2, "call_9")
    assert turn == TURN
    assert action == ACTION
    assert ids.event_id(action, 1, "proposed") == EVENT


@given(_any_text, _any_text, _any_text, st.integers(0, 999), st.integers(0, 99), st.integers(0, 9999), _any_text)
def test_every_id_is_safe_and_says_where_it_lives(
    tenant: str, session: str, turn: str, partition: int, round_: int, position: int, call: str
) -> None:
    """Turn, action, approval and event ids match the pattern, and all but the last carry their partition."""
    key = ids.turn_key(partition, tenant, session, turn)
    action = ids.action_id(key, round_, position, call)
    approval = ids.approval_id(partition, action, 1, 0, "action")
    for identifier in (key, action, approval):
        assert ids.is_id(identifier)
        assert ids.partition_of(identifier) == partition
    assert ids.is_id(ids.event_id(action, 1, "decided.evaluation", 2))


def test_an_action_is_told_apart_by_round_position_and_call() -> None:
    """Providers reuse call ids, and equal calls recur: neither alone identifies an action."""
    turn = ids.turn_key(0, "t", "s", "1")
    made = {
        ids.action_id(turn, 0, 0, "call_1"),
        ids.action_id(turn, 1, 0, "call_1"),
        ids.action_id(turn, 0, 1, "call_1"),
        ids.action_id(turn, 0, 0, "call_2"),
    }
    assert len(made) == 4


def test_an_event_is_told_apart_by_revision_stage_and_attempt() -> None:
    """The same stage of another revision or attempt is another event."""
    made = {
        ids.event_id("act_000_x", 1, "proposed", 0),
        ids.event_id("act_000_x", 2, "proposed", 0),
        ids.event_id("act_000_x", 1, "proposed", 1),
        ids.event_id("act_000_x", 1, "finished", 0),
    }
    assert len(made) == 4


def test_an_action_of_no_turn_is_refused() -> None:
    """An action id can't be made from something that is no turn key."""
    with pytest.raises(ValueError, match="not a turn key"):
        ids.action_id("not a key", 0, 0, "c")


@pytest.mark.parametrize(
    "text", ["", "act", "act_1", "act__x", "act_-1_x", "act_٣_x", "act_1_x_y", "../act_1_x", "act_1_x/y", "a" * 129]
)
def test_what_is_no_id_of_ours_has_no_partition(text: str) -> None:
    """A forged id leads nowhere."""
    assert ids.partition_of(text) is None


@given(st.text())
def test_any_text_may_be_asked_for_its_partition(text: str) -> None:
    """Reading an id is total."""
    assert ids.partition_of(text) is None or ids.is_id(text)


def test_the_short_form_is_the_start_of_the_hash() -> None:
    """What people type is told apart by the hash, not by kind and partition."""
    assert ids.short("act_003_abcdefghijklmnop") == "abcdefgh"


TURN = "trn_003_bdd6qb2acyqhpxn6zeojsc2n"
ACTION = "act_003_7em2fh2wnvaabq6bmhbprrxm"
EVENT = "evt_blxrnjonpodon6shcjiugitv"
