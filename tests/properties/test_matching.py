"""Different people for different groups: the quick answer is that of trying everything."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from callgate.events.matching import covers

_people = st.lists(st.sampled_from("abcde"), unique=True, max_size=5)
_groups = st.lists(st.sets(st.sampled_from("abcde"), max_size=3), max_size=4)


@given(_people, _groups)
def test_it_agrees_with_trying_every_way(people: list[str], groups: list[set[str]]) -> None:
    """Groups are covered exactly when some choice of different people has one of each."""
    tried = any(
        all(person in group for person, group in zip(chosen, groups, strict=True))
        for chosen in permutations(people, len(groups))
    )
    assert covers(people, groups) is tried
