"""The order of effects within a turn. Pure: over the positions that the table holds.

A model's calls are decided in parallel and arrive in any order; their effects keep the response's order, unless a tool
says that it may run beside others. So each position leaves a mark when it no longer holds up the ones behind it: it has
ended, waits for a person, is in doubt, may run beside others, or has gone to where its effect is claimed.
"""

from __future__ import annotations

from collections.abc import Iterator

from callgate.events.actions import ActionProposed
from callgate.worker.effects import Table

PASSED = b"passed"
QUEUED = b"queued"


def mark_key(turn_key: str, position: int) -> str:
    """The table's key of a position's mark."""
    return f"order/{turn_key}/{position:05d}"


def is_free(action: ActionProposed) -> bool:
    """Whether an action keeps no order: it declares that it may run beside others, or has no effect."""
    return action.parallel or action.effect == "read"


def may_start(table: Table, action: ActionProposed) -> bool:
    """Whether every earlier position of the turn has been passed."""
    if is_free(action):
        return True
    ref = action.ref
    return all(table.get(mark_key(ref.turn_key, position)) == PASSED for position in range(ref.position))


def lane(action: ActionProposed) -> str:
    """Where an action runs: with its session, in order; alone where it keeps none."""
    return action.ref.id if is_free(action) else session_lane(action)


def session_lane(action: ActionProposed) -> str:
    """The lane of everything in a session that keeps its order."""
    return f"session/{len(action.ref.tenant)}/{action.ref.tenant}/{action.ref.session}"


def queued(table: Table, turn_key: str) -> Iterator[int]:
    """The positions of a turn that wait for earlier ones, in order."""
    prefix = f"order/{turn_key}/"
    for key, value in table.items(prefix):
        if value.startswith(QUEUED):
            yield int(key.removeprefix(prefix))
