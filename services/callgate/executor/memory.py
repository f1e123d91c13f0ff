"""What this process knows of its own claims, beyond what it could commit.

A lease may be lost, or a commit's end be unknown, while the process lives on and its tool comes back. If the claim
returns to this process, it need not be in doubt: the one that started the tool knows how it ended, or that it never was
started. Nobody else may say so, and nothing here survives the process.
"""

from __future__ import annotations

from dataclasses import dataclass

from callgate.executor.running import Result, Returned

KEPT = 10_000
"""Claims remembered; far more than can be open at once, and bounded."""

KEPT_BYTES = 32_000_000
"""Output remembered in all. What had to be forgotten is settled like another process's claim."""


@dataclass(frozen=True, slots=True)
class Recollection:
    """What is known of one claim."""

    started_at: float | None = None
    """Wall time; None: its tool was never started."""
    result: Result | None = None
    """None while nothing came back."""

    def size(self) -> int:
        """Bytes of output, about."""
        return len(self.result.output or b"") if isinstance(self.result, Returned) else 0


class Memory:
    """Claims of this process by token."""

    def __init__(self) -> None:
        self._claims: dict[str, Recollection] = {}  # the one noted last stands last
        self._bytes = 0

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

    def _note(self, token: str, known: Recollection) -> None:
        self._drop(token)
        self._claims[token] = known
        self._bytes += known.size()
        while len(self._claims) > KEPT or self._bytes > KEPT_BYTES:
            self._drop(next(iter(self._claims)))

    def _drop(self, token: str) -> None:
        known = self._claims.pop(token, None)
        self._bytes -= known.size() if known is not None else 0
