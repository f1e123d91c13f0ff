"""How surely this process is a member of its group now.

The brokers put out a member that was silent for a session's time, and not sooner: a rebalance lasts longer than that.
So a heartbeat that was answered proves our membership for a session from when it was *sent*. Time passes also while the
process stands still, so whoever wakes up finds the proof expired, and asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from aiokafka.errors import KafkaError, NoError, RebalanceInProgressError, for_code
from aiokafka.protocol.group import HeartbeatRequest

from callgate.clock import Clock

beside: ContextVar[bool] = ContextVar("beside", default=False)
"""Set while offsets are told for lag tools. The library gives the membership up where such a commit comes at the wrong
moment of a rebalance (F3); that is for the heartbeats to say, and for nobody else."""

MARGIN = 0.2
"""The part of a session by which the proof expires early: clocks drift, and the answer itself takes time to use."""


class Heartbeats:
    """Watches the library's own heartbeats, and asks by itself when they are too old."""

    def __init__(self, clock: Clock, session_seconds: float) -> None:
        """Nothing is confirmed yet."""
        self._clock = clock
        self._valid_seconds = session_seconds * (1.0 - MARGIN)
        self._seconds = session_seconds
        self._coordinator: Any = None
        self._sent: float | None = None

    def watch(self, consumer: Any, put_out: Callable[[], None]) -> None:
        """Watch a started consumer. The library does not tell of its heartbeats, so its methods are wrapped.

        `put_out` is called at once when the group no longer knows the member, before the library joins anew: the new
        membership proves nothing of what was held under the old one.
        """
        self.forget()
        coordinator = self._coordinator = consumer._coordinator  # noqa: SLF001 - pinned, and a test looks for it
        beat, reset = coordinator._do_heartbeat, coordinator.reset_generation  # noqa: SLF001 - the same

        async def watched() -> Any:
            sent = self._clock.monotonic()
            answered = await beat()
            if answered and coordinator is self._coordinator:
                self._sent = sent
            return answered

        def reset_generation() -> None:
            if beside.get():
                return
            reset()
            if coordinator is self._coordinator:
                self.forget()
                put_out()

        coordinator._do_heartbeat = watched  # noqa: SLF001 - the same
        coordinator.reset_generation = reset_generation

    def forget(self) -> None:
        """Nothing is confirmed any more."""
        self._sent = None

    async def confirmed(self) -> bool:
        """Whether the group counts us as a member of its current generation, or has done so until now."""
        sent = self._sent
        if sent is not None and self._clock.monotonic() - sent < self._valid_seconds:
            return bool(self._coordinator.generation > 0)
        return await self._ask()

    async def _ask(self) -> bool:
        coordinator = self._coordinator
        if coordinator is None or coordinator.generation <= 0:
            return False
        sent, generation = self._clock.monotonic(), coordinator.generation
        # A request of our own: the library's would also begin a new membership where the answer is no.
        request = HeartbeatRequest(coordinator.group_id, generation, coordinator.member_id)
        try:
            async with asyncio.timeout(self._seconds / 2):
                answer = await coordinator._send_req(request)  # noqa: SLF001 - there is no other way to ask
        except (KafkaError, TimeoutError):
            return False
        if for_code(answer.error_code) not in (NoError, RebalanceInProgressError):
            return False
        self._sent = sent
        return True
