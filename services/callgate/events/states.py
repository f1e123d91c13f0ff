"""Which event may follow which in an action's life: the one table.

Whatever the table does not list is refused and counted by whoever meets it: a second end, a start after an end, an
event of a state that has passed. A repeat of the event that led to the present state is a duplicate, not a fault.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where an action stands."""

    UNKNOWN = "unknown"  # nothing is known of it yet
    PROPOSED = "proposed"
    DECIDED = "decided"  # a verdict that is not an end is known, such as a review
    CLAIMED = "claimed"  # the one start is committed; the tool may be running
    IN_DOUBT = "in_doubt"  # it was perhaps started, and its end is not known
    FINISHED = "finished"  # the one end is committed


class Step(StrEnum):
    """What can happen to it."""

    PROPOSE = "propose"
    DECIDE = "decide"
    CLAIM = "claim"
    WITHDRAW = "withdraw"  # the claim's own worker knows that the tool never started
    DOUBT = "doubt"
    FINISH = "finish"


TABLE: dict[State, dict[Step, State]] = {
    State.UNKNOWN: {Step.PROPOSE: State.PROPOSED, Step.DECIDE: State.DECIDED},
    State.PROPOSED: {Step.PROPOSE: State.PROPOSED, Step.DECIDE: State.DECIDED},
    State.DECIDED: {
        Step.PROPOSE: State.PROPOSED,
        Step.DECIDE: State.DECIDED,
        Step.CLAIM: State.CLAIMED,
        Step.FINISH: State.FINISHED,
    },
    State.CLAIMED: {Step.WITHDRAW: State.DECIDED, Step.DOUBT: State.IN_DOUBT, Step.FINISH: State.FINISHED},
    State.IN_DOUBT: {Step.FINISH: State.FINISHED},
    State.FINISHED: {},
}
"""State → step → next state. A state without steps is an end."""


def after(state: State, step: Step) -> State | None:
    """The state after `step`, or None where the step is not allowed in `state`."""
    return TABLE[state].get(step)
