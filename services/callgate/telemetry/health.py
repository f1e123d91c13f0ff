"""How a process is, in the words that an orchestrator asks in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a process can take work, and whether it should be left to live."""

    ready: bool
    live: bool
    reasons: tuple[str, ...] = ()
    """Why it is not ready or not live; short, and free of secrets."""


def together(parts: tuple[Health, ...]) -> Health:
    """The health of a process with several services: only as good as the worst of them."""
    return Health(
        ready=all(part.ready for part in parts),
        live=all(part.live for part in parts),
        reasons=tuple(reason for part in parts for reason in part.reasons),
    )
