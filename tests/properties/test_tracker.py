"""The tracker against a plain set: whatever the order of completion, the gaps and the restarts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callgate.log.port import Progress
from callgate.worker.tracker import Tracker

offsets = st.lists(st.integers(1, 5), min_size=1, max_size=30).map(
    lambda steps: [sum(steps[: index + 1]) for index in range(len(steps))]
)
"""Ascending offsets with gaps."""


def is_done(progress: Progress, offset: int) -> bool:
    """Whether a progress says of an offset that it is done."""
    return offset < progress.next_offset or any(start <= offset < end for start, end in progress.done)


def check_shape(progress: Progress) -> None:
    """What the port asks of a progress: runs ascending, disjoint, not empty, above the lowest offset that is open."""
    last = progress.next_offset
    for start, end in progress.done:
        assert last < start < end
        last = end


@given(offsets, st.data())
def test_progress_says_exactly_what_is_done(log: list[int], data: st.DataObject) -> None:
    """After any completions in any order, each record must count as done if and only if it is."""
    tracker = Tracker(Progress())
    for offset in log:
        assert tracker.begin(offset)
    done: set[int] = set()
    for offset in data.draw(st.permutations(log)):
        tracker.complete(offset)
        done.add(offset)
        progress = tracker.progress()
        check_shape(progress)
        assert {each for each in log if is_done(progress, each)} == done
    assert tracker.progress() == Progress(log[-1] + 1)


@given(offsets, st.data())
def test_restarts_repeat_nothing_and_lose_nothing(log: list[int], data: st.DataObject) -> None:
    """Over any number of restarts each record must be begun until it is complete, and never after."""
    progress, done = Progress(), set[int]()
    for _ in range(data.draw(st.integers(1, 4))):
        tracker = Tracker(progress)
        visible = log[: data.draw(st.integers(0, len(log)))]
        begun = [offset for offset in visible if tracker.begin(offset)]
        assert begun == [offset for offset in visible if offset not in done]
        for offset in data.draw(st.lists(st.sampled_from(begun), unique=True)) if begun else []:
            tracker.complete(offset)
            done.add(offset)
        progress = tracker.progress()
        check_shape(progress)
        assert {each for each in log if is_done(progress, each)} == done


@given(offsets, st.data())
def test_repeats_are_refused_whatever_their_state(log: list[int], data: st.DataObject) -> None:
    """A record delivered twice in one claim must be refused the second time, done or in flight."""
    tracker = Tracker(Progress())
    for offset in log:
        assert tracker.begin(offset)
        again = data.draw(st.sampled_from([each for each in log if each <= offset]))
        if data.draw(st.booleans()) and len(tracker) > 0 and not is_done(tracker.progress(), again):
            tracker.complete(again)
        assert not tracker.begin(again)
