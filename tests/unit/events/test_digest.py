"""The digest: one for each set of facts, however they were written down."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.event_values import json_values, text

from callgate.events.digest import canonical, canonical_digest, digest

_FACTS: dict[str, Any] = {
    "tenant": "acme",
    "agent": "ops",
    "tool": "restart",
    "tool_version": "v1",
    "target": "db-1",
    "arguments": {"host": "db-1", "force": False},
}


@given(st.dictionaries(text, json_values, max_size=5), st.randoms())
def test_the_order_of_keys_does_not_matter(arguments: dict[str, Any], random: Any) -> None:
    """The same object with its keys in another order has the same digest."""
    names = list(arguments)
    random.shuffle(names)
    assert canonical_digest({name: arguments[name] for name in names}) == canonical_digest(arguments)


@given(json_values)
def test_writing_and_reading_keeps_the_digest(value: object) -> None:
    """What was canonical once is canonical after a round trip: the executor can recompute it from the log."""
    assert canonical(orjson.loads(canonical(value))) == canonical(value)


def test_escapes_do_not_matter() -> None:
    """Escaped and plain characters are the same text."""
    assert canonical_digest(orjson.loads(b'{"a": "\\u00e9\\u4e2d"}')) == canonical_digest({"a": "é中"})


def test_composed_and_decomposed_text_differ() -> None:
    """Text is not normalised: a tool sees the difference, so the digest does."""
    assert canonical_digest("é") != canonical_digest("e\u0301")


@pytest.mark.parametrize("one_and_other", [(1, 1.0), (1, "1"), (1, True), (None, ""), ([], {}), (0.0, -0.0)])
def test_values_that_a_tool_can_tell_apart_differ(one_and_other: tuple[object, object]) -> None:
    """No coercion hides a difference in arguments."""
    one, other = one_and_other
    assert canonical_digest({"x": one}) != canonical_digest({"x": other})


@pytest.mark.parametrize("name", sorted(_FACTS))
def test_every_fact_is_inside(name: str) -> None:
    """A yes to one call is no yes to a call that differs in any one fact."""
    other = {"host": "db-2"} if name == "arguments" else "other"
    assert digest(**_FACTS) != digest(**(_FACTS | {name: other}))


def test_the_digest_never_changes_between_releases() -> None:
    """Approvals on a log name digests: this is the one of the first release."""
    assert digest(**_FACTS) == DIGEST


@pytest.mark.parametrize("value", ["\ud800", {"a": object()}, {1: 2}, 2**70])
def test_what_is_not_json_is_a_value_error(value: object) -> None:
    """Arguments that have no canonical form are reported, not hashed approximately."""
    with pytest.raises((ValueError, TypeError)):
        canonical(value)


DIGEST = "130fe30ccd8a9c06e83c53bb50718eceddb9733e67790788160129c0c6671d99"
