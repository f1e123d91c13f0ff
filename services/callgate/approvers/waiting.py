"""How many votes wait for keys that can't be had now: a bounded number, whatever is written to the entrance."""

from __future__ import annotations

from callgate.clock import Clock
from callgate.log.port import Record

MOST = 500
"""Votes of a process that may wait. Well below a lease's window, or they would keep it from reading the others."""

FORGOTTEN_SECONDS = 600.0
"""After which a vote that was not tried again is taken to be another process's, which has its lease now."""


class WaitingRoom:
    """Who waits, by place on the log. Told of each attempt."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[tuple[str, int, int], float] = {}

    def wait(self, record: Record) -> bool:
        """Whether the vote may wait, once more or for the first time."""
        place, now = _place(record), self._clock.monotonic()
        if place not in self._since and len(self._since) >= MOST:
            self._since = {each: at for each, at in self._since.items() if now - at < FORGOTTEN_SECONDS}
            if len(self._since) >= MOST:
                return False
        self._since[place] = now
        return True

    def done(self, record: Record) -> None:
        """The vote waits no longer, if it did."""
        self._since.pop(_place(record), None)


def _place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset
