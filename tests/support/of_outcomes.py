"""Handlers under test read outcomes: each event says by itself in whose share and in which lane it is handled."""

from __future__ import annotations

from callgate.events.event import Event
from callgate.events.outcomes import OutcomeObserved
from callgate.log.port import Record


class OfOutcomes:
    """The part of a handler that is the same for all of them."""

    def lane(self, event: Event, record: Record) -> str:
        """The one that its external reference names."""
        assert isinstance(event, OutcomeObserved)
        return event.external_ref or ""

    def tenant(self, event: Event) -> str:
        """Its own."""
        assert isinstance(event, OutcomeObserved)
        return event.tenant
