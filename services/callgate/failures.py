"""How things fail, in the only words that the worker knows.

    CallgateError
    ├── TemporaryFailure    try again, later
    ├── PermanentFailure    never try again: dead-letter it
    └── BadInput            a person gave something that can't be used: name it, and the way out

Adapters translate what their libraries raise into these; nothing else crosses a layer on purpose.
"""

from __future__ import annotations


class CallgateError(Exception):
    """The root, so that an edge can tell our failures from a defect."""


class TemporaryFailure(CallgateError):  # noqa: N818 - named for what the caller should do
    """The same work may succeed later: it is retried in its lane, and parked when that takes too long.

    `delay` is the least number of seconds to wait, where the other side has said so (Retry-After), else None.
    """

    def __init__(self, reason: str, *, delay: float | None = None) -> None:
        """Keep `reason` free of secrets: it is logged, counted and shown."""
        super().__init__(reason)
        self.reason = reason
        self.delay = delay


class PermanentFailure(CallgateError):  # noqa: N818 - named for what the caller should do
    """The same work can never succeed: the record becomes a dead letter that can be redriven."""

    def __init__(self, reason: str) -> None:
        """Keep `reason` free of secrets: it is written into the dead letter."""
        super().__init__(reason)
        self.reason = reason


class BadInput(CallgateError):  # noqa: N818 - it is the input that is wrong, not the program
    """What a person or a file gave can't be used. Printed without a traceback, exit code 2."""

    def __init__(self, field: str, problem: str, way_out: str) -> None:
        """Name the field as the person wrote it, what is wrong with it, and what would be right."""
        super().__init__(f"{field}: {problem}. {way_out}")
        self.field = field
        self.problem = problem
        self.way_out = way_out
