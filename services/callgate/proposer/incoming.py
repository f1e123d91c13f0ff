"""A turn as it comes in: its key, what counts as its content, its first entry, and whether it comes too late."""

from __future__ import annotations

from typing import Any, TypeAlias

from callgate.events import ids
from callgate.events.home import home
from callgate.events.topics import DAY, IDENTITY_WINDOW
from callgate.events.turns import TurnOrigin, TurnRecorded, TurnSubmitted
from callgate.proposer import state
from callgate.proposer.state import TurnEntry
from callgate.worker.effects import Context

AnyTurn: TypeAlias = TurnSubmitted | TurnRecorded


def key(origin: TurnOrigin, context: Context) -> str:
    """The turn's key, computed from its origin: what a record says of its own home is not asked."""
    partition = home(origin.tenant, origin.session, context.partitions)
    return ids.turn_key(partition, origin.tenant, origin.session, origin.turn)


def content(turn: AnyTurn) -> str:
    """What must be equal for two records to be one turn."""
    if isinstance(turn, TurnRecorded):
        return state.content_of(turn.origin, turn.format, bytes(turn.response))
    asked = b'["%b",%b,%b]' % (ids.fingerprint(turn.model).encode(), bytes(turn.input), bytes(turn.options))
    # As it was before there was a choice, so that a turn that was submitted then is still the same.
    kind = "submitted" if turn.pending == "wait" else f"submitted/{turn.pending}"
    return state.content_of(turn.origin, kind, asked)


def entry(turn: AnyTurn, *, count: int, **more: Any) -> TurnEntry:
    """The first entry of a turn."""
    origin = turn.origin
    return TurnEntry(
        tenant=origin.tenant,
        session=origin.session,
        turn=origin.turn,
        agent=origin.agent,
        format=turn.format if isinstance(turn, TurnRecorded) else "responses",
        content=content(turn),
        count=count,
        **more,
    )


def too_late(turn: AnyTurn, context: Context) -> str | None:
    """Why the turn's time forbids it. A redriven record is new on the log, so what it says of itself counts too."""
    now = context.clock.now()
    appended = context.delivered.timestamp if context.delivered is not None else now
    if now - min(turn.submitted_at, appended) > IDENTITY_WINDOW:
        days = IDENTITY_WINDOW / DAY
        return f"The turn is older than {days:g} days: whether it was run before can't be known any more."
    if turn.submitted_at - now > DAY:
        return "The turn's `submitted_at` lies in the future; it is in seconds since the epoch."
    return None
