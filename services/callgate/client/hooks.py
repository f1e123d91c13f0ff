"""The `on_decision` hook of the published adapter: a function that is told where each call stands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from callgate.client.shapes import call_event
from callgate.events.turns import ActionReply

OnDecision = Callable[[dict[str, Any]], object]
"""Gets an execution event whenever a call has a new standing. Called on the client's event loop: keep it quick."""

_logger = logging.getLogger(__name__)
"""The standard library's: this runs in the user's program, whose logging is its own."""


class Hook:
    """Tells one turn's calls, each standing once, however often the log says it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """`options` are those of the call; without `on_decision` among them nobody is told."""
        self._told: set[tuple[str, str]] = set()
        self._tell: OnDecision | None = options.get("on_decision")

    def hear(self, reply: ActionReply) -> None:
        """Tell it. What the function raises is logged: it is no reason to stop waiting for the turn."""
        standing = (reply.action_id, reply.status)
        if self._tell is None or standing in self._told:
            return
        self._told.add(standing)
        try:
            self._tell(call_event(reply))
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            _logger.warning("on_decision failed for %s: %s", reply.action_id, type(error).__name__)
