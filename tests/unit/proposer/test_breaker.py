"""The breaker: it opens after enough failures, and one probe decides whether it closes."""

from __future__ import annotations

from callgate.proposer.breaker import Breaker


def opened() -> Breaker:
    """One that opened at 0 and rests for 10 seconds."""
    return Breaker(limit=2, rest=10).failed(0).failed(0)


def test_only_failures_in_a_row_open_it() -> None:
    """An answer between two failures forgets the first."""
    breaker = Breaker(limit=2, rest=10).failed(0).answered().failed(1)
    assert (breaker.state(1), breaker.wait(1)) == ("closed", 0)
    assert (opened().state(0), opened().wait(4)) == ("open", 6)


def test_one_probe_goes_ahead_and_the_others_wait() -> None:
    """When the rest is over one call may go; until it is known what became of it no other may."""
    probing = opened().sent(10)
    assert opened().wait(10) == 0
    assert (probing.state(10), probing.wait(10)) == ("half_open", 10)
    assert probing.answered().state(11) == "closed"
    assert probing.failed(12).wait(12) == 10


def test_a_probe_that_never_comes_back_is_followed_by_another() -> None:
    """A call that was cancelled says nothing: it must not keep the breaker shut for ever."""
    assert opened().sent(10).wait(20) == 0


def test_what_was_under_way_when_it_opened_does_not_keep_it_open() -> None:
    """Late failures of calls that were sent before add nothing to the rest."""
    assert opened().failed(9).wait(9) == 1
