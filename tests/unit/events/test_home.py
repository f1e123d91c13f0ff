"""Home: the same murmur2 as Kafka's Java client, and one partition a session for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.events.home import home, murmur2, spread

_VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("data", "expected"), sorted(_VECTORS.items()))
def test_murmur2_agrees_with_java(data: bytes, expected: int) -> None:
    """The hash equals that of Kafka's own tests, as a signed 32-bit number."""
    value = murmur2(data)
    assert (value - 2**32 if value >= 2**31 else value) == expected


@given(st.binary(max_size=64))
def test_murmur2_is_32_bits(data: bytes) -> None:
    """Every length of rest is hashed into an unsigned 32-bit number."""
    assert 0 <= murmur2(data) < 2**32


_names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(_names, _names, st.integers(1, 512))
def test_a_home_exists(tenant: str, session: str, partitions: int) -> None:
    """A home is a partition of the log, and stays."""
    assert 0 <= home(tenant, session, partitions) < partitions
    assert home(tenant, session, partitions) == home(tenant, session, partitions)


def test_names_do_not_run_together() -> None:
    """Boundaries are part of the key: no tenant can choose names that hash as another's sessions."""
    pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", "")]
    assert len({spread(pair, 2**31 - 1) for pair in pairs}) == len(pairs)


def test_homes_are_spread() -> None:
    """Many sessions of one tenant fill every partition about evenly."""
    counts = [0] * 8
    for number in range(8000):
        counts[home("acme", f"session-{number}", 8)] += 1
    assert min(counts) > 800
    assert max(counts) < 1200


def test_homes_never_change_between_releases() -> None:
    """Where a session lives is on the log: these are the homes of the first release."""
    assert [home("acme", f"s-{number}", 8) for number in range(6)] == HOMES


HOMES = [3, 0, 3, 0, 6, 3]
