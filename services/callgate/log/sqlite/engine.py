"""The embedded engine as a `Log`: one thread that talks to the file, and wake-ups for whoever waits for records.

What this process writes wakes its own readers at once. What other processes write is noticed by one poller, which asks
SQLite whether another connection has committed: cheap enough to ask often.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import structlog

from callgate.clock import Clock
from callgate.events import topics as catalogue
from callgate.failures import BadInput
from callgate.log.port import CommitUnknown, Group, Log, LogUnavailable, Outgoing, Position, Progress, Record
from callgate.log.sqlite.membership import SqliteGroup
from callgate.log.sqlite.store import Store

T = TypeVar("T")

POLL_SECONDS = 0.05
"""How often other processes' commits are looked for: a fraction of a percent of a core."""

BEAT_SECONDS = 1.0
"""How often this process says that its members live."""

DEAD_SECONDS = 3.0
"""How long a member may be silent: with the beat, a dead holder's lease is taken over within 5 s."""

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
        self._ends: dict[tuple[str, int], int] = {}
        self._waiting: dict[tuple[str, int], set[asyncio.Event]] = {}
        self._groups: dict[str, SqliteGroup] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def partitions(self) -> int:
        """See `Log.partitions`."""
        return self.store.partitions

    async def start(self) -> None:
        """Read where the topics end and begin to watch."""
        self._ends = await self.call(self.store.ends)
        self._tasks = [asyncio.create_task(self._poll()), asyncio.create_task(self._keep())]

    async def call(self, work: Callable[[], T]) -> T:
        """Run a blocking call of the store in its thread."""
        if self._closed:
            raise LogUnavailable(f"the log {self.store.path} is closed")
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        """See `Log.publish`."""
        now = self.clock.now()
        positions = await asyncio.shield(asyncio.ensure_future(self.call(lambda: self.store.publish(records, now))))
        self.appended(positions)
        return positions

    async def join(self, group: str, topics: Sequence[str]) -> Group:
        """See `Log.join`. One process is one member of a group at the most."""
        if group in self._groups:
            raise ValueError(f"this log has joined {group} already")
        joined = SqliteGroup(self, group, tuple(topics))
        self._groups[group] = joined
        await self.beat()
        return joined

    async def follow(self, topic: str, partitions: Sequence[int], start: Mapping[int, int]) -> AsyncIterator[Record]:
        """See `Log.follow`."""
        at = {partition: start.get(partition, 0) for partition in partitions}
        places = [(topic, partition) for partition in partitions]
        with self.watching(places) as changed:
            while True:
                changed.clear()
                for partition in partitions:
                    while at[partition] < self.end(topic, partition):
                        page = await self._page(topic, partition, at[partition], self.end(topic, partition))
                        for record in page:
                            at[partition] = record.offset + 1
                            yield record
                        if len(page) < _PAGE:
                            at[partition] = (
                                max(at[partition], self.end(topic, partition)) if not page else at[partition]
                            )
                            break
                if all(at[partition] >= self.end(topic, partition) for partition in partitions):
                    await changed.wait()

    async def scan(self, topic: str, partition: int, start: int = 0) -> AsyncIterator[Record]:
        """See `Log.scan`."""
        ends = await self.call(self.store.ends)
        end = ends.get((topic, partition), 0)
        compacted = topic in catalogue.BY_NAME and catalogue.BY_NAME[topic].compacted
        latest = await self._latest(topic, partition, end) if compacted else {}
        at = start
        while at < end:
            page = await self._page(topic, partition, at, end)
            if not page:
                return
            for record in page:
                at = record.offset + 1
                if not compacted or record.key is None or latest[record.key] == record.offset:
                    yield record

    async def ends(self, topic: str) -> dict[int, int]:
        """See `Log.ends`."""
        ends = await self.call(self.store.ends)
        return {partition: ends.get((topic, partition), 0) for partition in range(self.partitions)}

    async def progress(self, group: str) -> dict[tuple[str, int], Progress]:
        """See `Log.progress`."""
        return await self.call(lambda: self.store.progress(group))

    async def tables(self, group: str) -> AsyncIterator[tuple[int, str, bytes]]:
        """See `Log.tables`."""
        after = (-1, "")
        while True:
            page = await self.call(lambda after=after: self.store.tables(group, after, _PAGE))  # type: ignore[misc]
            for entry in page:
                yield entry
            if len(page) < _PAGE:
                return
            after = (page[-1][0], page[-1][1])

    async def close(self) -> None:
        """See `Log.close`."""
        if self._closed:
            return
        for group in list(self._groups.values()):
            await group.leave()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        await self.call(self.store.close)
        self._closed = True
        self._executor.shutdown(wait=False)

    async def maintain(self) -> None:
        """Drop what is past its retention and compact what is compacted."""
        now = self.clock.now()
        for topic in catalogue.CATALOGUE:
            if topic.compacted:
                await self.call(lambda name=topic.name: self.store.compact(name, now - TOMBSTONE_SECONDS))  # type: ignore[misc]
            else:
                before = now - topic.retention_seconds
                await self.call(lambda name=topic.name, before=before: self.store.forget(name, before))  # type: ignore[misc]

    async def beat(self) -> None:
        """Say that our members live, and let each see who else does."""
        members = {group.name: group.member for group in self._groups.values()}
        if members:
            now = self.clock.monotonic()
            await self.call(lambda: self.store.beat(members, now, DEAD_SECONDS))
        for group in list(self._groups.values()):
            await group.look()

    def left(self, group: SqliteGroup) -> None:
        """A group has been left."""
        self._groups.pop(group.name, None)

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

    def _moved(self, place: tuple[str, int], end: int) -> None:
        if self._ends.get(place, 0) < end:
            self._ends[place] = end
            for event in self._waiting.get(place, ()):
                event.set()

    async def _page(self, topic: str, partition: int, start: int, end: int) -> list[Record]:
        return await self.call(lambda: self.store.read(topic, partition, start, end, _PAGE))

    async def _latest(self, topic: str, partition: int, end: int) -> dict[bytes, int]:
        latest: dict[bytes, int] = {}
        at = 0
        while page := await self._page(topic, partition, at, end):
            latest.update({record.key: record.offset for record in page if record.key is not None})
            at = page[-1].offset + 1
        return latest

    async def _poll(self) -> None:
        version = -1
        while True:
            await self.clock.sleep(POLL_SECONDS)
            with suppress(LogUnavailable):
                current = self.store.version()
                if current == version:
                    continue
                for place, end in (await self.call(self.store.ends)).items():
                    self._moved(place, end)
                for group in list(self._groups.values()):
                    if group.hungry:
                        group.stir()
                version = current

    async def _keep(self) -> None:
        maintained = self.clock.monotonic()
        while True:
            await self.clock.sleep(BEAT_SECONDS)
            try:
                await self.beat()
                if self.clock.monotonic() - maintained > MAINTENANCE_SECONDS:
                    maintained = self.clock.monotonic()
                    await self.maintain()
            except (LogUnavailable, CommitUnknown) as failure:
                _logger.warning("the log did not take a heartbeat", reason=str(failure))


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
