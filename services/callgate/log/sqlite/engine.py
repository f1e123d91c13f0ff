"""The embedded engine as a `Log`: one thread that talks to the file, and wake-ups for whoever waits for records.

What this process writes wakes its own readers at once. What other processes write is noticed by one poller, which asks
SQLite whether another connection has committed: cheap enough to ask often.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import structlog

from callgate.clock import Clock
from callgate.events import topics as catalogue
from callgate.failures import BadInput
from callgate.log.bounds import partitions_of
from callgate.log.port import CommitUnknown, Group, Log, LogClosed, LogUnavailable, Outgoing, Position, Progress, Record
from callgate.log.sqlite.membership import SqliteGroup
from callgate.log.sqlite.records import Page
from callgate.log.sqlite.store import Store, Write
from callgate.log.sqlite.writer import Writer

T = TypeVar("T")

POLL_SECONDS = 0.1
"""How often other processes' commits are looked for at rest: a fraction of a percent of a core."""

BUSY_POLL_SECONDS = 0.02
"""The same for a second after another process has written records: each hop between processes waits for it."""

BEAT_SECONDS = 0.5
"""How often this process says that its members live."""

DEAD_SECONDS = 3.0
"""How long a member may be silent: with the beat, a dead holder's lease is taken over within 5 s on a busy host."""

MAINTENANCE_SECONDS = 300.0
"""How often old records are dropped and compacted topics compacted."""

TOMBSTONE_SECONDS = 7 * catalogue.DAY
"""How long a tombstone is kept, so that every follower sees it."""

_PAGE = 500

_logger = structlog.get_logger(__name__)


class SqliteLog:
    """See `log.port.Log`. Open it with `open_sqlite`."""

    def __init__(self, store: Store, executor: ThreadPoolExecutor, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self._executor = executor
        self._writer = Writer(store, executor, self.appended)
        self._ends: dict[tuple[str, int], int] = {}
        self._waiting: dict[tuple[str, int], set[asyncio.Event]] = {}
        self._groups: list[SqliteGroup] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._beaten: float | None = None
        self._version = 0
        self._closing: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def partitions(self) -> int:
        """See `Log.partitions`."""
        return self.store.partitions

    async def start(self) -> None:
        """Read where the topics end and begin to watch."""
        self._version = self.store.version()
        self._ends = await self.call(self.store.ends)
        self._tasks = [asyncio.create_task(self._poll()), asyncio.create_task(self._keep(self.beat, BEAT_SECONDS))]
        # Beside the beats: dropping a month of records takes longer than a member may be silent.
        self._tasks.append(asyncio.create_task(self._keep(self.maintain, MAINTENANCE_SECONDS)))

    async def call(self, work: Callable[[], T]) -> T:
        """Run a blocking call of the store in its thread."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def write(self, part: Write) -> list[Position]:
        """Write a part and wake who waits for its records."""
        self._check_open()
        return await self._writer.write(part)

    async def read(self, topic: str, partition: int, start: int, end: int, limit: int) -> Page:
        """Up to `limit` records from `start` to before `end`."""
        return await self.call(lambda: self.store.read(topic, partition, start, end, limit))

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        """See `Log.publish`. Raises ValueError for a topic or partition that is not there, `TooLarge`."""
        return await self.write(self.store.publishing(records, self.clock.now()))

    async def join(self, group: str, topics: Sequence[str]) -> Group:
        """See `Log.join`. Several members may join through one log."""
        for topic in topics:
            partitions_of(topic, self.partitions)
        joined = SqliteGroup(self, group, tuple(topics))
        self._groups.append(joined)
        try:
            await self.beat()
        except BaseException:
            self.left(joined)
            raise
        return joined

    async def follow(self, topic: str, partitions: Sequence[int], start: Mapping[int, int]) -> AsyncIterator[Record]:
        """See `Log.follow`. Raises ValueError for a topic or partition that is not there."""
        self._check_place(topic, *partitions)
        at = {partition: start.get(partition, 0) for partition in partitions}
        with self.watching([(topic, partition) for partition in partitions]) as grown:
            while True:
                grown.clear()
                self._check_open()
                for partition in partitions:
                    end = self.end(topic, partition)
                    while at[partition] < end:
                        page = await self.read(topic, partition, at[partition], end, _PAGE)
                        at[partition] = page.after
                        for record in page.records:
                            yield record
                if all(at[partition] >= self.end(topic, partition) for partition in partitions):
                    await grown.wait()

    async def scan(self, topic: str, partition: int, start: int = 0) -> AsyncIterator[Record]:
        """See `Log.scan`. Raises ValueError for a topic or partition that is not there."""
        self._check_place(topic, partition)
        known = catalogue.BY_NAME.get(topic)
        if known is not None and known.compacted:
            # At once and not in pages: a key that is written meanwhile would be in no page.
            for record in await self.call(lambda: self.store.latest(topic, partition, start)):
                yield record
            return
        end = (await self.call(self.store.ends)).get((topic, partition), 0)
        at = start
        while at < end:
            page = await self.read(topic, partition, at, end, _PAGE)
            at = page.after
            for record in page.records:
                yield record

    async def ends(self, topic: str) -> dict[int, int]:
        """See `Log.ends`."""
        ends = await self.call(self.store.ends)
        return {
            partition: ends.get((topic, partition), 0) for partition in range(partitions_of(topic, self.partitions))
        }

    async def progress(self, group: str) -> dict[tuple[str, int], Progress]:
        """See `Log.progress`."""
        return await self.call(lambda: self.store.progress(group))

    async def tables(self, group: str) -> AsyncIterator[tuple[int, str, bytes]]:
        """See `Log.tables`. Each page is as the file was when it was read."""
        after = (-1, "")
        while True:
            page = await self.call(lambda after=after: self.store.tables(group, after, _PAGE))  # type: ignore[misc]
            for entry in page:
                yield entry
            if len(page) < _PAGE:
                return
            after = (page[-1][0], page[-1][1])

    async def close(self) -> None:
        """See `Log.close`. Whoever follows or publishes afterwards gets `LogUnavailable`."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def maintain(self) -> None:
        """Drop what is past its retention, compact what is compacted, and write the write-ahead log back."""
        now = self.clock.now()
        for topic in catalogue.CATALOGUE:
            for partition in range(partitions_of(topic.name, self.partitions)):
                if topic.compacted:
                    await self._compact(topic.name, partition, now - TOMBSTONE_SECONDS)
                else:
                    await self._forget(topic.name, partition, now - topic.retention_seconds)
        await self.call(self.store.checkpoint)

    async def beat(self) -> None:
        """Say that our members live, free what the dead held, and let each member see how the group is now."""
        if not self._groups:
            self._beaten = None
            return
        members = [(group.name, group.member) for group in self._groups]
        now = self.clock.monotonic()
        # Where we could not say so in time ourselves (a locked file), neither could the others: they get another beat.
        late = self._beaten is not None and now - self._beaten > DEAD_SECONDS
        await self.call(lambda: self.store.beat(members, now, None if late else DEAD_SECONDS))
        self._beaten = now
        for group in list(self._groups):
            await group.look()

    def left(self, group: SqliteGroup) -> None:
        """A member has left."""
        if group in self._groups:
            self._groups.remove(group)

    def stir(self, group: str) -> None:
        """Something in a group may have changed: its members here look again."""
        for each in self._groups:
            if each.name == group:
                each.stir()

    def end(self, topic: str, partition: int) -> int:
        """The end of a partition as this process knows it; never ahead of the file."""
        return self._ends.get((topic, partition), 0)

    def appended(self, positions: Iterable[Position]) -> None:
        """This process has written records: wake who waits for them."""
        for position in positions:
            self._moved((position.topic, position.partition), position.offset + 1)

    def watching(self, places: Sequence[tuple[str, int]]) -> _Watch:
        """An event that is set whenever one of the partitions grows; to be used as a context manager."""
        return _Watch(self._waiting, places)

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed(f"the log {self.store.path} is closed")

    def _check_place(self, topic: str, *partitions: int) -> None:
        # Nothing would ever come of it, and its reader would wait for ever.
        for partition in partitions:
            if not 0 <= partition < partitions_of(topic, self.partitions):
                raise ValueError(f"{topic} has no partition {partition}")

    def _moved(self, place: tuple[str, int], end: int) -> bool:
        if self._ends.get(place, 0) >= end:
            return False
        self._ends[place] = end
        for event in self._waiting.get(place, ()):
            event.set()
        return True

    async def _close(self) -> None:
        for group in list(self._groups):
            await group.leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._closed = True
        for events in self._waiting.values():
            for event in events:
                event.set()
        await self._writer.drained()
        await asyncio.get_running_loop().run_in_executor(self._executor, self.store.close)
        self._executor.shutdown(wait=False)

    async def _forget(self, topic: str, partition: int, before: float) -> None:
        # Bit by bit: a transaction that drops a month at once would hold up everybody else's.
        dropped = _PAGE
        while dropped == _PAGE:
            dropped = await self.call(lambda: self.store.forget(topic, partition, before, _PAGE))

    async def _compact(self, topic: str, partition: int, tombstones_before: float) -> None:
        await self.call(lambda: self.store.compact(topic, partition, tombstones_before))

    async def _poll(self) -> None:
        busy_until = 0.0
        while True:
            busy = self.clock.monotonic() < busy_until
            await self.clock.sleep(BUSY_POLL_SECONDS if busy else POLL_SECONDS)
            with suppress(LogUnavailable):
                current = self.store.version()
                if current == self._version:
                    continue
                ends = await self.call(self.store.ends)
                if any([self._moved(place, end) for place, end in ends.items()]):  # noqa: C419 - all, not the first
                    busy_until = self.clock.monotonic() + 1.0
                for group in self._groups:
                    if group.hungry:
                        group.stir()
                self._version = current

    async def _keep(self, work: Callable[[], Awaitable[None]], every: float) -> None:
        while True:
            await self.clock.sleep(every)
            try:
                await work()
            except (LogUnavailable, CommitUnknown) as failure:
                _logger.warning("the log could not be kept", reason=str(failure))
            except Exception:
                _logger.exception("keeping the log has a defect, and is not done any more")
                raise


class _Watch:
    """Registers an event with some partitions for as long as it is used."""

    def __init__(self, waiting: dict[tuple[str, int], set[asyncio.Event]], places: Sequence[tuple[str, int]]) -> None:
        self._waiting = waiting
        self._places = places
        self._event = asyncio.Event()

    def __enter__(self) -> asyncio.Event:
        for place in self._places:
            self._waiting.setdefault(place, set()).add(self._event)
        return self._event

    def __exit__(self, *_: object) -> None:
        for place in self._places:
            self._waiting[place].discard(self._event)


async def open_sqlite(path: str, *, partitions: int, clock: Clock, gap: Callable[[], int] | None = None) -> SqliteLog:
    """Open a file, or make it with so many partitions. Raises BadInput, `LogUnavailable`."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="callgate-sqlite")
    loop = asyncio.get_running_loop()
    try:
        store = await loop.run_in_executor(executor, lambda: Store(path, partitions, gap))
    except (LogUnavailable, BadInput):
        executor.shutdown(wait=False)
        raise
    log = SqliteLog(store, executor, clock)
    await log.start()
    return log


def _conforms(log: SqliteLog) -> Log:
    return log
