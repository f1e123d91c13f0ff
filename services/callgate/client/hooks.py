"""The `on_decision` hook of the published adapter: a function that is told where each call stands."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from callgate.client.shapes import call_event
from callgate.events.turns import ActionReply
from callgate.failures import BadInput

OnDecision = Callable[[dict[str, Any]], object]
"""Gets an execution event whenever a call has a new standing. Called on the client's event loop: keep it quick."""

_logger = logging.getLogger(__name__)
"""The standard library's: this runs in the user's program, whose logging is its own."""


class Hook:
    """Tells one turn's calls, each standing once, however often the log says it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """`options` are those of the call; without `on_decision` among them nobody is told. Raises BadInput."""
        self._told: set[tuple[str, str]] = set()
        self._tell: OnDecision | None = options.get("on_decision")
        if self._tell is not None and (not callable(self._tell) or inspect.iscoroutinefunction(self._tell)):
            raise BadInput("on_decision", "is no plain function", "Give one without `async`, which may start a task")

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


def no_hook(options: Mapping[str, Any], instead: str) -> None:
    """Raise BadInput where a hook is given and nobody would call it."""
    if options.get("on_decision") is not None:
        raise BadInput("on_decision", "is not called here", f"Leave it out, and {instead}")
