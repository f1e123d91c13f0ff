"""One member's part in a group on the embedded engine.

Every member computes its own share from the same rows (members in the order of their names): the first ones hold one
lease more where the number does not divide. Shares are sticky: a member gives up only what is beyond its share, and
takes only what is free.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from typing import TYPE_CHECKING

from callgate.log.port import Lease
from callgate.log.sqlite.lease import SqliteLease

if TYPE_CHECKING:
    from callgate.log.sqlite.engine import SqliteLog

CLOSING_SECONDS = 20.0
"""How long a lease that is wanted elsewhere may be finished with before it is taken away."""


class SqliteGroup:
    """See `log.port.Group`."""

    def __init__(self, log: SqliteLog, name: str, topics: tuple[str, ...]) -> None:
        self._log = log
        self.name = name
        self.topics = topics
        self._member = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._held: dict[int, SqliteLease] = {}
        self.hungry = False
        """Whether it holds less than its share, and so wants to hear of any change."""
        self._stirred = asyncio.Event()
        self._left = False

    @property
    def member(self) -> str:
        """See `Group.member`."""
        return self._member

    async def claim(self, wait: float) -> Lease | None:
        """See `Group.claim`."""
        clock = self._log.clock
        until = clock.monotonic() + wait
        while not self._left:
            self._stirred.clear()
            lease = await asyncio.shield(asyncio.ensure_future(self._take()))
            if lease is not None:
                return lease
            left = until - clock.monotonic()
            if left <= 0:
                return None
            await self._stir_or(left)
        return None

    async def leave(self) -> None:
        """See `Group.leave`."""
        if self._left:
            return
        self._left = True
        for lease in list(self._held.values()):
            await lease.release()
        await self._log.call(lambda: self._log.store.leave(self.name, self._member))
        self._log.left(self)
        self._stirred.set()

    async def look(self) -> None:
        """Compare what is held with the file: what is lost is ended, what is beyond the share begins to close."""
        rows = await self._log.call(lambda: self._log.store.leases(self.name))
        for number, lease in list(self._held.items()):
            if rows.get(number) != (lease.epoch, self._member):
                lease.end()
        rank, count = await self._log.call(lambda: self._log.store.member_rank(self.name, self._member))
        if rank >= 0:
            beyond = len(self._held) - self._share(rank, count)
            closing = sum(lease.closing_within() is not None for lease in self._held.values())
            for lease in sorted(self._held.values(), key=lambda each: -each.number)[: max(0, beyond - closing)]:
                if lease.closing_within() is None:
                    lease.close_within(CLOSING_SECONDS)
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

    def _share(self, rank: int, count: int) -> int:
        whole, rest = divmod(self._log.partitions, count)
        return whole + (1 if rank < rest else 0)

    async def _take(self) -> SqliteLease | None:
        store = self._log.store
        rank, count = await self._log.call(lambda: store.member_rank(self.name, self._member))
        self.hungry = rank >= 0 and len(self._held) < self._share(rank, count)
        if not self.hungry:
            return None
        rows = await self._log.call(lambda: store.leases(self.name))
        for number in range(self._log.partitions):
            if rows.get(number, (0, None))[1] is not None or self._left:
                continue
            claimed = await self._log.call(
                lambda number=number: store.claim(self.name, self._member, number, self.topics)  # type: ignore[misc]
            )
            if claimed is not None:
                lease = SqliteLease(self._log, self, claimed)
                self._held[number] = lease
                return lease
        return None

    async def _stir_or(self, seconds: float) -> None:
        sleep = asyncio.ensure_future(self._log.clock.sleep(seconds))
        stirred = asyncio.ensure_future(self._stirred.wait())
        try:
            await asyncio.wait((sleep, stirred), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            stirred.cancel()
