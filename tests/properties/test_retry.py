"""What follows a failure, over all failures, attempts and times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.events.codec import Undecodable
from callgate.failures import BadInput, PermanentFailure, TemporaryFailure
from callgate.settings import WorkerSettings
from callgate.worker.retry import Again, GiveUp, Park, decide

SETTINGS = WorkerSettings()
attempts = st.integers(0, 10_000)
elapsed = st.floats(0, 1e7)
jitter = st.floats(0, 1, exclude_max=True)
delays = st.none() | st.floats(-10, 1e5)


@given(attempts, elapsed, jitter, delays)
def test_a_temporary_failure_is_never_given_up_on(attempt: int, past: float, noise: float, delay: float | None) -> None:
    """It must be retried or parked, no sooner than the other side asked, and in the lane only within its time."""
    decision = decide(
        TemporaryFailure("x", delay=delay), attempt=attempt, elapsed=past, jitter=noise, settings=SETTINGS
    )
    assert isinstance(decision, Again | Park)
    assert decision.after >= max(0.0, delay or 0.0)
    assert decision.after > 0
    if isinstance(decision, Again):
        assert past + decision.after <= SETTINGS.retry_seconds
        assert decision.after <= max(SETTINGS.retry_most_seconds, delay or 0.0)


@given(attempts, elapsed, jitter)
def test_anything_else_is_given_up_at_once(attempt: int, past: float, noise: float) -> None:
    """No other failure may be tried again."""
    for failure in (PermanentFailure("x"), Undecodable("x"), BadInput("a", "b", "c"), KeyError("x")):
        decision = decide(failure, attempt=attempt, elapsed=past, jitter=noise, settings=SETTINGS)
        assert isinstance(decision, GiveUp)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (PermanentFailure("the reason"), "the reason"),
        (Undecodable("unreadable"), "unreadable"),
        (ValueError("password=hunter2"), "defect: ValueError"),
    ],
)
def test_the_reason_is_shown_only_where_it_was_written_to_be(failure: Exception, reason: str) -> None:
    """A defect's message must not leak into dead letters."""
    decision = decide(failure, attempt=0, elapsed=0, jitter=0, settings=SETTINGS)
    assert decision == GiveUp(reason)


def test_back_off_doubles_up_to_its_limit() -> None:
    """Without noise each wait must be twice the one before, until the limit."""
    waits = [
        decide(TemporaryFailure("x"), attempt=attempt, elapsed=0, jitter=0, settings=SETTINGS).after  # type: ignore[union-attr]
        for attempt in range(8)
    ]
    assert waits == [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
