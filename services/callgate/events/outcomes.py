"""What happened in the world after an action, as somebody observed it, perhaps days later."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from callgate.events import ids
from callgate.events.event import Event, Identifier, Name, Seconds

OutcomeStatus = Literal[
    "SUCCESS",
    "FAILURE",
    "ROLLBACK",
    "INCIDENT",
    "CHURN",
    "FRAUD",
    "NO_EFFECT",
    "ESCALATION",
    "CORRECTION",
]
"""BIGHUB's words for outcomes, of those that an observer can know."""


class OutcomeObserved(Event, frozen=True, kw_only=True):
    """Signals an outcome in the world, named by our action id, BIGHUB's request id or an outside reference."""

    TYPE: ClassVar[str] = "callgate.outcome.observed.v1"

    outcome_id: Name
    """Chosen by the observer; the same outcome twice counts once."""
    tenant: Name
    action_id: Identifier | None = None
    request_id: Identifier | None = None
    external_ref: str | None = None
    """At least one of the three must be given; the first that is given decides."""
    status: OutcomeStatus
    description: str | None = None
    details: msgspec.Raw = msgspec.Raw(b"{}")
    revenue_impact: float | None = None
    correction: bool = False
    """Whether somebody had to put it right."""
    reported_by: str | None = None
    observed_at: Seconds

    def identity(self) -> str:
        """See `Event.identity`."""
        return f"evt_{ids.fingerprint('outcome', self.tenant, self.outcome_id)}"
