"""How often a process that serves looks for garbage: Python's default is for programs that keep little in memory."""

from __future__ import annotations

import gc

NEW_OBJECTS = 10_000
"""New containers before Python looks for cycles among them. Its default of 700 is a dozen records: what waits in a
window was looked through again and again, for 28 us of CPU with each record, where it takes 5 now. Almost nothing here
is in a cycle, so what is found later is some megabytes at the most."""


def collect_seldom() -> None:
    """For the whole process, from now on. The generations' ratios stay Python's."""
    _, *older = gc.get_threshold()
    gc.set_threshold(NEW_OBJECTS, *older)
