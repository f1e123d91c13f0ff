"""The brake: stops a service that gives up on too much, before it empties its topics into the dead letters. Pure."""

from __future__ import annotations

from collections import deque

from callgate.settings import WorkerSettings


class Brake:
    """Counts how records ended, over all leases of a worker. A restart begins anew: the operator has looked."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._recent: deque[tuple[int, bool]] = deque(maxlen=max(1, settings.brake_window))
        self._dead = 0
        self._run = 0

    def passed(self, claim: int) -> None:
        """A record of a claim was handled."""
        self._push(claim, dead=False)

    def buried(self, claim: int) -> None:
        """A record of a claim became a dead letter."""
        self._push(claim, dead=True)

    def forget(self, claim: int) -> None:
        """A claim's lease was lost: what it gave up on in the end, out of tables that are not the truth, is no sign."""
        kept = [each for each in self._recent if each[0] != claim]
        self._recent.clear()
        self._dead = self._run = 0
        for number, dead in kept:
            self._push(number, dead=dead)

    def refusal(self) -> str | None:
        """Why no dead letter more may be written, or None while one may. Ask before each."""
        if self._run + 1 >= self._settings.brake_run:
            return f"{self._run} dead letters one after another, and one more to come"
        full = len(self._recent) + 1 >= self._settings.brake_window
        # The oldest falls out when one more comes in.
        leaving = bool(len(self._recent) == self._recent.maxlen and self._recent[0][1])
        dead = self._dead - leaving + 1
        if full and dead > self._settings.brake_ratio * self._settings.brake_window:
            return f"{dead} dead letters among the last {self._settings.brake_window} records"
        return None

    def _push(self, claim: int, *, dead: bool) -> None:
        if len(self._recent) == self._recent.maxlen:
            self._dead -= self._recent[0][1]
        self._recent.append((claim, dead))
        self._dead += dead
        self._run = self._run + 1 if dead else 0
