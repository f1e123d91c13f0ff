"""When a model that fails again and again is left alone, and when it is tried again. Pure: times come from the caller.

Closed, it lets everything through. Open, it lets nothing through for its time; then one call goes ahead as a probe, and
only its success lets the others follow. So a model that recovers is not met by everything that has waited for it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["closed", "open", "half_open"]


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """Where it stands; every step returns the next one."""

    limit: int
    """Failures one after another that open it."""
    rest: float
    """Seconds that it stays open, and the most that a probe may take before another may be sent."""
    failures: int = 0
    shut_until: float | None = None
    """Until when nothing goes through; None while it is closed. While a probe is out: until it counts as lost."""
    probing: bool = False

    def state(self, now: float) -> State:
        """What it is at a moment."""
        if self.shut_until is None:
            return "closed"
        return "half_open" if self.probing or now >= self.shut_until else "open"

    def wait(self, now: float) -> float:
        """Seconds until something may go through; 0 means now, and the caller must then say `sent`."""
        return 0.0 if self.shut_until is None else max(0.0, self.shut_until - now)

    def sent(self, now: float) -> Breaker:
        """A call goes ahead. Where the rest is over it is the probe, and the others wait for what becomes of it."""
        if self.shut_until is None:
            return self
        return msgspec.structs.replace(self, shut_until=now + self.rest, probing=True)

    def answered(self) -> Breaker:
        """The model has answered, if only with a refusal: it is there."""
        return Breaker(limit=self.limit, rest=self.rest)

    def failed(self, now: float) -> Breaker:
        """The model has failed. A call that was under way before it opened adds nothing."""
        if self.state(now) == "open":
            return self
        failures = self.failures + 1
        if self.probing or failures >= self.limit:
            return Breaker(limit=self.limit, rest=self.rest, shut_until=now + self.rest)
        return msgspec.structs.replace(self, failures=failures)
