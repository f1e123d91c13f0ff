"""What follows a failed attempt: one pure decision over values. The randomness is handed in."""

from __future__ import annotations

from dataclasses import dataclass

from callgate.events.codec import TooLarge, Undecodable
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Again:
    """Try again in the lane, whose other records wait, in so many seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class Park:
    """Put it, and what follows it in its lane, into the state for so many seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It can never succeed: a dead letter."""

    reason: str


Decision = Again | Park | GiveUp
"""The three things that can follow a failure."""


def decide(failure: Exception, *, attempt: int, elapsed: float, jitter: float, settings: WorkerSettings) -> Decision:
    """What to do after `failure` at attempt number `attempt` (0 first), `elapsed` seconds after the first.

    `jitter` in [0, 1) spreads those that failed together. A `TemporaryFailure` is never given up on here: the handler
    knows since when it has tried, and what its giving up must say.
    """
    if not isinstance(failure, TemporaryFailure):
        return GiveUp(_reason(failure))
    least = max(0.0, failure.delay or 0.0)
    doubled = settings.retry_first_seconds * 2.0 ** min(attempt, 32)
    backoff = max(least, min(settings.retry_most_seconds, doubled) * (0.5 + jitter / 2))
    if elapsed + backoff <= settings.retry_seconds:
        return Again(backoff)
    return Park(max(least, settings.park_seconds * (0.75 + jitter / 2)))


def _reason(failure: Exception) -> str:
    if isinstance(failure, PermanentFailure):
        return failure.reason
    if isinstance(failure, Undecodable | TooLarge):
        return str(failure)
    # A defect's message may quote what it stumbled over, secrets included: only its class is shown.
    return f"defect: {type(failure).__name__}"
