"""Responses that are stored, and how far those have come that are made in the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from callgate.sandbox.model.items import Item, Shape
from callgate.sandbox.model.refusals import Invalid

_MOST = 10_000
_UNSTORED_SECONDS = 600.0


@dataclass(slots=True)
class Kept:
    """One response. A background one is queued, then in progress, then what it becomes, a step at every look."""

    history: list[Item]
    """What it was the answer to."""
    final: Shape
    background: bool = False
    ready_at: float = 0.0
    """Before this it does not come to its end, however often one looks."""
    until: float | None = None
    """When it is forgotten; None for never."""
    stored: bool = True
    """Whether another response may go on from it."""
    state: str = "queued"

    def now(self) -> Shape:
        """The response as it stands."""
        if not self.background or self.state == "done":
            return self.final
        over = self.state == "cancelled"
        bare: Shape = {"output": [], "usage": None, "error": None, "incomplete_details": None, "completed_at": None}
        return {**self.final, **bare, "status": "cancelled" if over else self.state}

    def look(self, now: float) -> Shape:
        """The response as it stands after one more look."""
        if self.state == "queued":
            self.state = "in_progress"
        elif self.state == "in_progress" and now >= self.ready_at:
            self.state = "done"
        return self.now()

    def finish(self) -> Shape:
        """The response at its end: whoever streams it waits for that."""
        if self.state != "cancelled":
            self.state = "done"
        return self.now()


class Responses:
    """The stored responses, the latest ten thousand."""

    def __init__(self, *, lenient: bool = False) -> None:
        """`lenient` stores also what says `store: false`, for clients that chain from it nevertheless."""
        self._lenient = lenient
        self._kept: dict[str, Kept] = {}

    def keep(self, kept: Kept, *, store: bool, now: float) -> None:
        """Remember a response; one that is not to be stored only while it is made, for the polling."""
        kept.stored = store or self._lenient
        if not kept.stored and not kept.background:
            return
        if not kept.stored:
            kept.until = now + _UNSTORED_SECONDS
        self._kept[kept.final["id"]] = kept
        if len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]

    def found(self, name: str, now: float) -> Kept:
        """The response of that id. Raises `Invalid` with 404."""
        kept = self._kept.get(name)
        if kept is None or (kept.until is not None and now >= kept.until):
            raise Invalid(f"Response with id '{name}' not found.", param="response_id", status=404)
        return kept

    def get(self, name: str) -> Kept | None:
        """The response of that id, if it is kept."""
        return self._kept.get(name)

    def before(self, name: object, now: float) -> Sequence[Any]:
        """The history behind `previous_response_id`, which must be stored and at its end."""
        if name is None:
            return []
        kept = self._kept.get(str(name))
        if kept is None or not kept.stored or (kept.until is not None and now >= kept.until):
            message = f"Previous response with id '{name}' not found."
            raise Invalid(message, param="previous_response_id", code="previous_response_not_found")
        if kept.now()["status"] in {"queued", "in_progress", "cancelled"}:
            message = f"Previous response with id '{name}' is {kept.now()['status']}."
            raise Invalid(message, param="previous_response_id", code="previous_response_not_completed")
        return [*kept.history, *kept.final["output"]]

    def drop(self, name: str) -> None:
        """Forget the response of that id."""
        self._kept.pop(name, None)
