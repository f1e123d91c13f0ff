"""What people are asked about an action in doubt. Pure but for the policy, which is the one in force."""

from __future__ import annotations

from collections.abc import Callable

from callgate.events.actions import ActionInDoubt
from callgate.events.approvals import ApprovalRequested
from callgate.executor.claim import Standing
from callgate.policy.document import Policy
from callgate.policy.questioning import settlement
from callgate.worker.effects import Context

Ask = Callable[[ActionInDoubt], ApprovalRequested]


class Questions:
    """Makes the question what became of a claim."""

    def __init__(self, policy: Callable[[], Policy], settle_seconds: float) -> None:
        """`policy` gives what is in force at the moment; people have `settle_seconds` to find out."""
        self._policy = policy
        self._settle_seconds = settle_seconds

    def about(self, standing: Standing, context: Context) -> Ask | None:
        """The question as soon as there is a doubt to ask about; None where nothing was claimed."""
        decided = standing.decided
        if decided is None:
            return None

        def ask(doubt: ActionInDoubt) -> ApprovalRequested:
            return settlement(
                decided.action,
                decided.decision,
                doubt,
                self._policy(),
                context.partitions,
                now=context.clock.now(),
                deadline_seconds=self._settle_seconds,
            )

        return ask
