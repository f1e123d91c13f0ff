"""How often a tool runs at once in this process, where it says that there is a limit.

A place is taken with the claim and given back when the tool has come back. A claim that is never started, because its
commit failed or the last look forbade it, gives its place back by its `start_by`: afterwards nobody starts it.
"""

from __future__ import annotations

from callgate.tools.tool import Tool


class Limits:
    """The places of all tools, by claim."""

    def __init__(self) -> None:
        """All are free."""
        self._taken: dict[str, dict[str, float]] = {}

    def take(self, tool: Tool, token: str, *, until: float, now: float) -> bool:
        """Take a place for a claim until a moment; False where there is none. Tools without a limit always have one."""
        if tool.concurrency is None:
            return True
        taken = self._taken.setdefault(tool.name, {})
        for gone in [each for each, at in taken.items() if at < now]:
            del taken[gone]
        if len(taken) >= tool.concurrency:
            return False
        taken[token] = until
        return True

    def started(self, tool: Tool, token: str) -> None:
        """The claim's tool is started: its place is taken for as long as it runs."""
        if tool.concurrency is not None:
            self._taken.setdefault(tool.name, {})[token] = float("inf")

    def ended(self, tool: Tool, token: str) -> None:
        """It has come back."""
        self._taken.get(tool.name, {}).pop(token, None)
