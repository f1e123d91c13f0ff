"""Claims: the right to one start, and what an executor remembers of an action. Pure.

A claim says until when its tool may be started (`start_by`) and from when its end is certainly known to nobody else
(`horizon`). Between the two nobody probes, settles or starts again.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from callgate.events import ids
from callgate.events.actions import ActionDecided, Effect, Status
from callgate.events.states import State


class Standing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where an action stands with its executor: one entry of the table, kept for the identity window."""

    state: State
    revision: int = 1
    attempt: int = 0
    """The last revision and attempt that were dealt with: decisions on earlier ones are past."""
    decided: ActionDecided | None = None
    """The decision under which it waits, runs or is in doubt; dropped at the end."""
    waits: Literal["person", "order", "elsewhere"] | None = None
    """What a decided action waits for: a person's answer, earlier calls of its turn, or its claim on another lease."""
    token: str | None = None
    claimed_at: float | None = None
    start_by: float | None = None
    horizon: float | None = None
    runs: int = 0
    """Starts under this action's claims; more than one only for tools that may be started again."""
    doubted: bool = False
    """Whether it was ever said to be in doubt: that is said once, whatever is tried afterwards."""
    asked: bool = False
    """Whether people were asked what became of it: once."""
    status: Status | None = None
    """Its end."""

    def rank(self) -> tuple[int, int]:
        """Its place among revisions and attempts."""
        return self.revision, self.attempt


Settlement = Literal["run_again", "probe", "doubt"]


def claimed(
    decided: ActionDecided,
    before: Standing | None,
    *,
    now: float,
    start_seconds: float,
    skew_seconds: float,
    epoch: int,
) -> Standing:
    """The claim for one start. Times in seconds."""
    ref = decided.action.ref
    start_by = now + start_seconds
    runs = (before.runs if before is not None else 0) + 1
    return Standing(
        state=State.CLAIMED,
        revision=ref.revision,
        attempt=ref.attempt,
        decided=decided,
        token=f"tok_{ids.fingerprint(ref.id, epoch, runs, repr(now))}",
        claimed_at=now,
        start_by=start_by,
        horizon=start_by + decided.action.timeout_seconds + skew_seconds,
        runs=runs,
        doubted=before.doubted if before is not None else False,
        asked=before.asked if before is not None else False,
    )


def settlement(effect: Effect, runs: int, attempts: int, *, probes: bool) -> Settlement:
    """What is to be done with a claim whose worker is gone, once its horizon has passed."""
    if effect in {"read", "idempotent"} and runs < attempts:
        return "run_again"
    if effect == "verifiable" and probes:
        return "probe"
    return "doubt"
