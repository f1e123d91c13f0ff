"""A lease on the embedded engine: fenced by its epoch, which every unit's transaction checks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from callgate.clock import wait
from callgate.log.port import CommitUnknown, LeaseLost, LogUnavailable, Progress, Record, Unit
from callgate.log.sqlite.store import Claimed, Fence

if TYPE_CHECKING:
    from callgate.log.sqlite.engine import SqliteLog
    from callgate.log.sqlite.membership import SqliteGroup


class SqliteLease:
    """See `log.port.Lease`."""

    def __init__(self, log: SqliteLog, group: SqliteGroup, claimed: Claimed) -> None:
        self._log = log
        self._group = group
        self._claimed = claimed
        self.fence = Fence(group.name, claimed.number, claimed.epoch, group.member)
        self._at = {topic: claimed.progress[topic].next_offset for topic in group.topics}
        self._closing: float | None = None
        self._changed = asyncio.Event()
        self._over = False
        self._turn = 0

    @property
    def number(self) -> int:
        """See `Lease.number`."""
        return self._claimed.number

    @property
    def epoch(self) -> int:
        """See `Lease.epoch`."""
        return self._claimed.epoch

    @property
    def table(self) -> Mapping[str, bytes]:
        """See `Lease.table`."""
        return self._claimed.table

    @property
    def progress(self) -> Mapping[str, Progress]:
        """See `Lease.progress`."""
        return self._claimed.progress

    @property
    def claim_ends(self) -> Mapping[str, int]:
        """See `Lease.claim_ends`."""
        return self._claimed.ends

    @property
    def closing(self) -> bool:
        """Whether it has been asked for."""
        return self._closing is not None

    @property
    def overdue(self) -> bool:
        """Whether the time to give it back is over."""
        return self._closing is not None and self._log.clock.monotonic() >= self._closing

    def closing_within(self) -> float | None:
        """See `Lease.closing_within`."""
        self._check()
        return None if self._closing is None else max(0.0, self._closing - self._log.clock.monotonic())

    def close_within(self, seconds: float) -> None:
        """Somebody else is to have it."""
        self._closing = self._log.clock.monotonic() + seconds
        self._changed.set()

    def end(self) -> None:
        """It is over, whatever the reason."""
        self._over = True
        self._changed.set()
        self._group.ended(self)

    async def held(self) -> bool:
        """See `Lease.held`. False, rather than `LeaseLost`, once it has ended."""
        if self._over:
            return False
        if not await self._log.call(lambda: self._log.store.holds(self.fence)):
            self.end()
        return not self._over

    async def fetch(self, limit: int, wait: float, topics: Sequence[str] | None = None) -> list[Record]:
        """See `Lease.fetch`. Where it is cancelled, the next one gives what this one would have given."""
        wanted = [topic for topic in (topics if topics is not None else self._group.topics) if topic in self._at]
        clock = self._log.clock
        until = clock.monotonic() + wait
        with self._log.watching([(topic, self.number) for topic in wanted]) as grown:
            while True:
                self._check()
                grown.clear()
                records = await self._read(wanted, limit)
                left = until - clock.monotonic()
                if records or left <= 0 or self._closing is not None:
                    return records
                await self._wait(grown, left)

    async def commit(self, unit: Unit) -> None:
        """See `Lease.commit`."""
        self._check()
        try:
            await self._log.write(self._log.store.committing(self.fence, unit, self._log.clock.now()))
        except (LeaseLost, CommitUnknown):
            self.end()
            raise

    async def release(self) -> None:
        """See `Lease.release`. Where the file can't be written now, the member's next heartbeat gives it back."""
        self.end()
        with suppress(LogUnavailable, CommitUnknown):
            await self._log.call(lambda: self._log.store.release(self.fence))
        self._log.stir(self._group.name)

    def _check(self) -> None:
        if self._over:
            raise LeaseLost(f"lease {self.number} of {self._group.name} has ended")

    async def _read(self, topics: Sequence[str], limit: int) -> list[Record]:
        found: list[Record] = []
        at: dict[str, int] = {}
        # Begin with another topic each time, so that a busy one can't starve its neighbours.
        self._turn += 1
        for index in range(len(topics)):
            topic = topics[(index + self._turn) % len(topics)]
            start, end = self._at[topic], self._log.end(topic, self.number)
            fresh: list[Record] = []
            # One page with something in it: the rest is for the next fetch, which bounds what one of them holds.
            while start < end and not fresh and len(found) < limit:
                page = await self._log.read(topic, self.number, start, end, limit - len(found))
                fresh = [record for record in page.records if not self._claimed.progress[topic].covers(record.offset)]
                start = at[topic] = page.after
            found.extend(fresh)
        # Only now, in one step: a caller that gave up meanwhile has not been given anything.
        self._check()
        self._at.update(at)
        return found

    async def _wait(self, grown: asyncio.Event, seconds: float) -> None:
        await wait(grown, self._changed, seconds=seconds, clock=self._log.clock)
