"""One member's part in a group on the embedded engine.

Every member computes its own share from the same rows. Shares are sticky: a member gives up only what is beyond its
share, and takes only what is free.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from callgate.clock import wait
from callgate.log.port import CommitUnknown, Lease, LogUnavailable
from callgate.log.sqlite.lease import SqliteLease
from callgate.log.sqlite.store import Fence

if TYPE_CHECKING:
    from callgate.log.sqlite.engine import SqliteLog

CLOSING_SECONDS = 20.0
"""How long a lease that is wanted elsewhere may be finished with before it is taken away."""

_logger = structlog.get_logger(__name__)


class SqliteGroup:
    """See `log.port.Group`."""

    def __init__(self, log: SqliteLog, name: str, topics: tuple[str, ...]) -> None:
        self._log = log
        self.name = name
        self.topics = topics
        self._member = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._held: dict[int, SqliteLease] = {}
        self._taking: asyncio.Task[SqliteLease | None] | None = None
        # A lease is in the file before it is in `_held`: whoever compares the two must not look in between.
        self._changing = asyncio.Lock()
        self.hungry = True
        """Whether it holds less than its share, and so wants to hear of any change."""
        self._stirred = asyncio.Event()
        self._left = False
        self._leaving: asyncio.Task[None] | None = None

    @property
    def member(self) -> str:
        """See `Group.member`."""
        return self._member

    async def claim(self, wait: float) -> Lease | None:
        """See `Group.claim`. Where it is cancelled, the next claim gives what this one would have given."""
        clock = self._log.clock
        until = clock.monotonic() + wait
        while not self._left:
            self._stirred.clear()
            lease, fresh = await self._taken()
            if lease is not None:
                return lease
            if not fresh:
                continue
            left = until - clock.monotonic()
            if left <= 0:
                return None
            await self._stir_or(left)
        await clock.sleep(0)  # a caller that goes on asking after it has left must not stop the loop
        return None

    async def leave(self) -> None:
        """See `Group.leave`. Where the file can't be written now, the others notice the silence."""
        if self._leaving is None:
            self._left = True
            self._stirred.set()
            # Once begun it goes on although its caller gives up: half a leave would beat for leases that nobody works.
            self._leaving = asyncio.ensure_future(self._leave())
        await asyncio.shield(self._leaving)

    async def _leave(self) -> None:
        async with self._changing:
            for lease in list(self._held.values()):
                lease.end()
            self._log.left(self)
            try:
                await self._log.call(lambda: self._log.store.leave(self.name, self._member))
            except (LogUnavailable, CommitUnknown) as failure:
                _logger.warning("a member could not say that it leaves", group=self.name, reason=str(failure))
        self._log.stir(self.name)

    async def look(self) -> None:
        """Compare what is held with the file: end what is lost, close what is beyond the share, free what was left."""
        async with self._changing:
            survey = await self._log.call(lambda: self._log.store.survey(self.name))
            for number, lease in list(self._held.items()):
                if survey.leases.get(number) != (lease.epoch, self._member):
                    lease.end()
            for number, (epoch, holder) in survey.leases.items():
                if holder == self._member and number not in self._held:
                    # It ended here, but the file could not be told: by an unknown commit, or a failed release.
                    await self._free(Fence(self.name, number, epoch, self._member))
            beyond = -survey.hunger(self._member, self._log.partitions) if self._member in survey.members else 0
            self._close(beyond)
        for lease in list(self._held.values()):
            if lease.overdue:
                await lease.release()
        self.stir()

    def stir(self) -> None:
        """Something in the group may have changed."""
        self._stirred.set()

    def ended(self, lease: SqliteLease) -> None:
        """A lease of ours is over."""
        if self._held.get(lease.number) is lease:
            del self._held[lease.number]
            self.stir()

    def _close(self, beyond: int) -> None:
        closing = sum(lease.closing for lease in self._held.values())
        rest = sorted((lease for lease in self._held.values() if not lease.closing), key=lambda each: -each.number)
        for lease in rest[: max(0, beyond - closing)]:
            lease.close_within(CLOSING_SECONDS)

    async def _taken(self) -> tuple[SqliteLease | None, bool]:
        """What could be taken, and whether it says how things are now.

        It does not where it was begun for a call that gave up, or another call that waited for it too has got it.
        """
        own = self._taking is None
        if self._taking is None:
            self._taking = asyncio.ensure_future(self._take())
        taking = self._taking
        # Where this is cancelled, what it takes is kept for the next call.
        await asyncio.wait((taking,))
        if self._taking is not taking:
            return None, False
        self._taking = None
        return taking.result(), own

    async def _free(self, fence: Fence) -> None:
        with suppress(LogUnavailable, CommitUnknown):
            await self._log.call(lambda: self._log.store.release(fence))

    async def _take(self) -> SqliteLease | None:
        store, partitions = self._log.store, self._log.partitions
        async with self._changing:
            if self._left:
                return None
            # Asked first without a lock on the file: this happens often, and mostly there is nothing to take.
            survey = await self._log.call(lambda: store.survey(self.name))
            self.hungry = survey.hunger(self._member, partitions) > 0
            if survey.next_for(self._member, partitions) is None:
                return None
            claimed = await self._log.call(lambda: store.claim(self.name, self._member, self.topics))
            if claimed is None:
                return None
            self._held[claimed.number] = lease = SqliteLease(self._log, self, claimed)
            return lease

    async def _stir_or(self, seconds: float) -> None:
        await wait(self._stirred, seconds=seconds, clock=self._log.clock)
