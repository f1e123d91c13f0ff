"""Shares of leases: whole, fair, and soon at rest, whoever comes and goes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from callgate.log.sqlite.roster import Survey
from callgate.log.sqlite.sharing import share

members = st.sets(st.text(alphabet="abcdefg", min_size=1, max_size=3), min_size=1, max_size=7)


@given(members, st.integers(1, 12), st.data())
def test_shares_add_up_and_differ_by_one_at_most(names: set[str], partitions: int, data: st.DataObject) -> None:
    """Whoever holds what at the moment, the shares are fair and cover every partition."""
    holder = st.none() | st.sampled_from(sorted(names))
    holders = {number: data.draw(holder) for number in range(partitions)}
    shares = [share(name, names, holders, partitions) for name in names]
    assert sum(shares) == partitions
    assert max(shares) - min(shares) <= 1
    assert share("nobody", names, holders, partitions) == 0


def settle(held: dict[int, str | None], names: set[str], partitions: int) -> int:
    """Let everybody give up what is beyond its share and take what is free, until nothing moves; how many moved."""
    moved = 0
    for _ in range(4 * partitions + 4):
        before = dict(held)
        for name in sorted(names):
            survey = Survey(tuple(names), {number: (1, held[number]) for number in held})
            hunger = survey.hunger(name, partitions)
            if hunger < 0:
                mine = sorted(number for number in held if held[number] == name)
                for number in mine[hunger:]:
                    held[number] = None
                    moved += 1
            number_ = survey.next_for(name, partitions)
            if number_ is not None and held[number_] is None:
                held[number_] = name
        if held == before:
            return moved
    raise AssertionError("it does not come to rest")


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefg")), max_size=20), st.integers(1, 9))
def test_it_comes_to_rest_whoever_comes_and_goes(steps: list[tuple[bool, str]], partitions: int) -> None:
    """After each change all leases are held in fair shares, and no more have moved than had to."""
    held: dict[int, str | None] = dict.fromkeys(range(partitions))
    names: set[str] = set()
    for comes, name in steps:
        if comes:
            names.add(name)
        else:
            names.discard(name)
            held = {number: None if holder == name else holder for number, holder in held.items()}
        if not names:
            continue
        before = Counter(held.values())
        moved = settle(held, names, partitions)
        after = Counter(held.values())
        assert None not in after
        assert max(after.values()) - min(after.get(each, 0) for each in names) <= 1
        # A newcomer is given what it lacks; what a leaver left is taken without disturbing anybody.
        assert moved <= (after[name] - before[name] if comes else 0)
