"""The state table: whatever happens in whatever order, an action ends at most once and never starts after that."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callgate.events.states import TABLE, State, Step, after


def _walk(steps: list[Step]) -> tuple[list[Step], State]:
    state, accepted = State.UNKNOWN, list[Step]()
    for step in steps:
        reached = after(state, step)
        if reached is not None:
            state = reached
            accepted.append(step)
    return accepted, state


def test_the_table_speaks_of_every_state() -> None:
    """No state is missing, so no event meets a KeyError, and every target is a state."""
    assert set(TABLE) == set(State)
    assert {target for steps in TABLE.values() for target in steps.values()} <= set(State)


def test_finished_is_the_only_end() -> None:
    """Every other state has a way on, and from every state the end can be reached."""
    assert [state for state, steps in TABLE.items() if not steps] == [State.FINISHED]
    reached = {State.FINISHED}
    for _ in State:
        reached |= {state for state, steps in TABLE.items() if reached & set(steps.values())}
    assert reached == set(State)


@given(st.lists(st.sampled_from(Step), max_size=60))
def test_an_action_ends_once_whatever_happens(steps: list[Step]) -> None:
    """One end at most, nothing after it, one doubt at most, and only the end after a doubt."""
    accepted, state = _walk(steps)
    assert accepted.count(Step.FINISH) <= 1
    assert accepted.count(Step.DOUBT) <= 1
    assert (state is State.FINISHED) is (Step.FINISH in accepted)
    if Step.FINISH in accepted:
        assert accepted[-1] is Step.FINISH
    if Step.DOUBT in accepted:
        assert accepted[accepted.index(Step.DOUBT) + 1 :] in ([], [Step.FINISH])


@given(st.lists(st.sampled_from(Step), max_size=60))
def test_claims_never_overlap(steps: list[Step]) -> None:
    """A second claim needs the first to have been withdrawn by the worker that never started it."""
    accepted, _ = _walk(steps)
    open_claims = 0
    for step in accepted:
        open_claims += {Step.CLAIM: 1, Step.WITHDRAW: -1}.get(step, 0)
        assert open_claims in (0, 1)


@given(st.lists(st.sampled_from(Step), max_size=60))
def test_nothing_starts_undecided(steps: list[Step]) -> None:
    """Before every claim there is a decision, with no newer proposal in between."""
    accepted, _ = _walk(steps)
    for place, step in enumerate(accepted):
        if step is Step.CLAIM:
            before = [each for each in accepted[:place] if each in (Step.DECIDE, Step.PROPOSE)]
            assert before[-1] is Step.DECIDE
