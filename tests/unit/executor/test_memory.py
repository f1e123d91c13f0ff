"""A process remembers its own claims, within bounds."""

from __future__ import annotations

from callgate.executor import memory
from callgate.executor.memory import Memory, Recollection
from callgate.executor.running import Raised, Returned


def test_it_knows_what_was_claimed_started_and_ended() -> None:
    """Each step replaces what was known before; of other processes' claims it knows nothing."""
    known = Memory()
    known.claimed("tok_a")
    assert known.recall("tok_a") == Recollection()
    known.started("tok_a", 5.0)
    assert known.recall("tok_a") == Recollection(5.0)
    known.ended("tok_a", Raised("no"))
    assert known.recall("tok_a") == Recollection(5.0, Raised("no"))
    assert known.recall("tok_b") is None
    assert known.recall(None) is None


def test_what_ends_after_it_was_forgotten_stays_forgotten() -> None:
    """A result without its start would be half a memory."""
    known = Memory()
    known.ended("tok_a", Raised("no"))
    assert known.recall("tok_a") is None


def test_the_oldest_is_forgotten_by_number() -> None:
    """It never holds more claims than its bound."""
    known = Memory()
    for number in range(memory.KEPT + 1):
        known.claimed(f"tok_{number}")
    assert known.recall("tok_0") is None
    assert known.recall("tok_1") is not None


def test_the_oldest_is_forgotten_by_size() -> None:
    """Large outputs push out older ones, and what is replaced is not counted twice."""
    known = Memory()
    part = Returned(b"x" * (memory.KEPT_BYTES // 4))
    for name in "abcd":
        known.started(name, 0.0)
        for _ in range(3):
            known.ended(name, part)
    assert all(known.recall(name) is not None for name in "abcd")
    known.started("e", 0.0)
    known.ended("e", part)
    assert known.recall("a") is None
    assert known.recall("e") == Recollection(0.0, part)
