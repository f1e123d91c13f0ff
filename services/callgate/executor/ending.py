"""What the executor writes of an action: its doubt, its end, its way back; all bookkeeping in the same unit. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from callgate.events import ids
from callgate.events.actions import (
    ActionDecided,
    ActionFinished,
    ActionInDoubt,
    ActionProposed,
    Status,
    Via,
)
from callgate.events.approvals import ApprovalRequested
from callgate.events.codec import MAX_RECORD_BYTES
from callgate.events.states import State
from callgate.events.topics import IDENTITY_WINDOW
from callgate.executor import order
from callgate.executor.claim import Standing
from callgate.worker.effects import Effects, Publish, Table, Timer

HORIZON = "horizon/"
"""Timers of claims; the standing's key in the table follows."""

NEXT = "next/"
"""Timers that start the next of a turn; the turn key follows."""

FORGET = "forget/"
"""Timers that end the memory of an action; keys in the table follow, separated by spaces."""

EFFECT = "effect/"
"""Keys of effects in the table; the value is the key of the standing whose claim has the effect."""

_SPARE_BYTES = 100_000
"""What an end holds beside what is large or nobody's to bound, at the most."""

_ESCAPED_MOST = 6
"""Bytes of one character in JSON, at the most."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an action's standing is kept, and in which lane it is worked on.

    An action with an effect key has two: at home, where it is only sent on, and where its effect is claimed. Both may
    lie on one lease, so their keys differ.
    """

    key: str
    lane: str
    home: bool

    @staticmethod
    def at_home(action: ActionProposed) -> Place:
        """Where its decisions arrive."""
        return Place(f"act/{action.ref.id}", order.lane(action), home=True)

    @staticmethod
    def at_effect(action: ActionProposed) -> Place:
        """Where its effect is claimed."""
        tenant = action.ref.tenant
        return Place(f"eff/{action.ref.id}", f"effect/{len(tenant)}/{tenant}/{action.effect_key}", home=False)


def end(  # noqa: PLR0913 - an end has this many facts
    decided: ActionDecided,
    place: Place,
    table: Table,
    *,
    now: float,
    status: Status,
    via: Via,
    claim: Standing | None = None,
    started_at: float | None = None,
    output: bytes | None = None,
    error: str | None = None,
) -> Effects:
    """The one end of an action. Whoever waits behind it in its turn is woken."""
    event = _fitting(
        ActionFinished(
            action=decided.action,
            decision=decided.decision,
            status=status,
            via=via,
            output=None if output is None else msgspec.Raw(output),
            error=error,
            claimed_at=claim.claimed_at if claim is not None else None,
            started_at=started_at,
            finished_at=now,
        )
    )
    ref = decided.action.ref
    standing = Standing(state=State.FINISHED, revision=ref.revision, attempt=ref.attempt, status=status)
    passing = passed(decided.action, place, table, now)
    noted = tuple(passing.put) if place.home else (effect_mark(decided.action),)
    return Effects(
        publish=(Publish(event),),
        put={place.key: keep(standing), **passing.put},
        timers=(*passing.timers, forgetting(place, noted, now)),
        cancel=(f"{HORIZON}{place.key}",),
    )


def doubt(  # noqa: PLR0913 - a doubt has this many facts
    claim: Standing,
    place: Place,
    table: Table,
    *,
    now: float,
    reason: str,
    horizon: float | None,
    started_at: float | None,
    look_again: float | None = None,
    ask: Callable[[ActionInDoubt], ApprovalRequested] | None = None,
) -> Effects:
    """The action is in doubt, which is said once. `look_again` sets when a probe or another start may settle it.

    `ask` makes the question to people, which is put once.
    """
    decided = claim.decided
    if decided is None or claim.token is None:
        message = "only what was claimed can be in doubt"
        raise ValueError(message)
    event = ActionInDoubt(
        action=decided.action,
        decision=decided.decision,
        token=claim.token,
        reason=reason,
        claimed_at=claim.claimed_at or now,
        started_at=started_at,
        horizon=horizon,
        doubted_at=now,
    )
    action = decided.action
    asks = ask is not None and not claim.asked
    standing = msgspec.structs.replace(
        claim, state=State.IN_DOUBT, horizon=horizon, doubted=True, asked=claim.asked or asks
    )
    passing = passed(action, place, table, now)
    key = f"{HORIZON}{place.key}"
    timers = (Timer(key, place.lane, look_again),) if look_again is not None else ()
    return Effects(
        publish=(
            *(() if claim.doubted else (Publish(event),)),
            *((Publish(ask(event)),) if ask is not None and asks else ()),
        ),
        put={place.key: keep(standing), **passing.put},
        timers=(*passing.timers, *timers),
        cancel=() if look_again is not None else (key,),
    )


def back(decided: ActionDecided, place: Place, reason: str, now: float) -> Effects:
    """Send an action whose yes is stale back to be evaluated anew. A claim that was never used is withdrawn with it."""
    action, ref = decided.action, decided.action.ref
    again = msgspec.structs.replace(
        action,
        ref=msgspec.structs.replace(ref, attempt=ref.attempt + 1),
        cause="gate",
        gate_reason=reason,
        grant=decided.decision.grant,
    )
    # Decisions on the attempt that was sent back are past from here on.
    standing = Standing(state=State.PROPOSED, revision=ref.revision, attempt=ref.attempt + 1)
    # It may end at home, of which its place at the effect would never hear.
    timers = () if place.home else (forgetting(place, (), now),)
    return Effects(
        publish=(Publish(again),),
        put={place.key: keep(standing)},
        timers=timers,
        cancel=(f"{HORIZON}{place.key}",),
    )


def passed(action: ActionProposed, place: Place, table: Table, now: float) -> Effects:
    """The action holds up nothing behind it any more; the next of its turn is woken if there is one."""
    if not place.home:
        return Effects()
    ref = action.ref
    mark = order.mark_key(ref.turn_key, ref.position)
    waiting = any(position != ref.position for position in order.queued(table, ref.turn_key))
    wake = (Timer(f"{NEXT}{ref.turn_key}", order.session_lane(action), now),) if waiting else ()
    return Effects(put={mark: order.PASSED}, timers=wake)


def forgetting(place: Place, others: Iterable[str], now: float) -> Timer:
    """When an action and what was noted with it may be forgotten: inputs older than that are refused."""
    return Timer(f"{FORGET}{' '.join((place.key, *others))}", place.lane, now + IDENTITY_WINDOW)


def forget(keys: Iterable[str], table: Table) -> Effects:
    """Drop what was kept of an action. An effect that another action has claimed since stays noted."""
    place, *others = keys
    gone = [key for key in others if not key.startswith(EFFECT) or table.get(key) == place.encode()]
    return Effects(put=dict.fromkeys((place, *gone)))


def effect_mark(action: ActionProposed) -> str:
    """The table's key of an action's effect."""
    return f"{EFFECT}{ids.fingerprint(action.ref.tenant, action.effect_key or '')}"


def keep(standing: Standing) -> bytes:
    """A standing as the table holds it."""
    return msgspec.json.encode(standing)


def _fitting(event: ActionFinished) -> ActionFinished:
    """The end as it fits into a record, or its action would have none. What would have been better gives way first."""
    if not _too_large(event):
        return event
    event = msgspec.structs.replace(event, decision=msgspec.structs.replace(event.decision, better_action=None))
    if event.output is None or not _too_large(event):
        return event
    return msgspec.structs.replace(
        event, output=None, error="the tool ran, but its output is too large beside the call"
    )


def _too_large(event: ActionFinished) -> bool:
    """Measured only where it may be so."""
    action, decision = event.action, event.decision
    raw = (
        action.arguments,
        action.context,
        decision.constraints,
        decision.better_action,
        decision.response,
        event.output,
    )
    held = sum(len(bytes(each)) for each in raw if each is not None)
    texts = (action.target, action.effect_key or "", event.error or "")
    held += _ESCAPED_MOST * sum(map(len, texts))
    return held + _SPARE_BYTES > MAX_RECORD_BYTES and len(msgspec.json.encode(event)) > MAX_RECORD_BYTES
