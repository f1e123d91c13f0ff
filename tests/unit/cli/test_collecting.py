"""Garbage is sought seldom in a process that serves, and sought all the same."""

from __future__ import annotations

import gc

from callgate.cli.collecting import NEW_OBJECTS, collect_seldom


def test_only_the_youngest_are_looked_through_less_often() -> None:
    """The threshold of the youngest must rise, and those of the older stay as they were."""
    before = gc.get_threshold()
    try:
        collect_seldom()
        assert gc.get_threshold() == (NEW_OBJECTS, *before[1:])
        assert gc.isenabled()
    finally:
        gc.set_threshold(*before)
