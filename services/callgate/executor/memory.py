"""What this process knows of its own claims, beyond what it could commit.

A lease may be lost, or a commit's end be unknown, while the process lives on and its tool comes back. If the claim
returns to this process, it need not be in doubt: the one that started the tool knows how it ended, or that it never was
started. Nobody else may say so, and nothing here survives the process.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from callgate.executor.running import Result

KEPT = 10_000
"""Claims remembered; far more than can be open at once, and bounded."""


@dataclass(frozen=True, slots=True)
class Recollection:
    """What is known of one claim."""

    started_at: float | None = None
    """Wall time; None: its tool was never started."""
    result: Result | None = None
    """None while nothing came back."""


class Memory:
    """Claims of this process by token."""

    def __init__(self) -> None:
        self._claims: OrderedDict[str, Recollection] = OrderedDict()

    def claimed(self, token: str) -> None:
        """A claim was made under this token; nothing is started yet."""
        self._note(token, Recollection())

    def started(self, token: str, at: float) -> None:
        """Its tool is started now."""
        self._note(token, Recollection(at))

    def ended(self, token: str, result: Result) -> None:
        """Its tool came back, perhaps long after anybody waited for it."""
        known = self._claims.get(token)
        if known is not None:
            self._note(token, Recollection(known.started_at, result))

    def recall(self, token: str | None) -> Recollection | None:
        """What is known; None where the claim is another process's, or long past."""
        return self._claims.get(token) if token is not None else None

    def forget(self, token: str) -> None:
        """Its end is committed."""
        self._claims.pop(token, None)

    def _note(self, token: str, known: Recollection) -> None:
        self._claims[token] = known
        self._claims.move_to_end(token)
        while len(self._claims) > KEPT:
            self._claims.popitem(last=False)
