"""Whether different people can stand for different groups. Pure; policy and tally must agree on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def covers(people: Sequence[str], groups: Sequence[Collection[str]]) -> bool:
    """Whether every group can be given a member of its own among `people`: nobody stands for two groups."""
    standing: dict[str, int] = {}
    return all(_place(group, people, groups, standing, set()) for group in range(len(groups)))


def _place(
    group: int, people: Sequence[str], groups: Sequence[Collection[str]], standing: dict[str, int], tried: set[str]
) -> bool:
    """Give the group somebody, moving others to other groups where that helps (augmenting paths)."""
    for person in people:
        if person in tried or person not in groups[group]:
            continue
        tried.add(person)
        if person not in standing or _place(standing[person], people, groups, standing, tried):
            standing[person] = group
            return True
    return False
