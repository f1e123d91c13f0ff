"""One reader per place for all that a client waits for there, from where the log is now; what came before is scanned.

A reader of its own for each wait would read everything that was ever said to anybody, once per wait.

A log that is away ends no wait: the turn goes on, and its caller has a time of its own to wait for it. Reading goes on
where it was once the log is back.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress

import structlog

from callgate.events.approvals import ApprovalRequested
from callgate.events.codec import Undecodable, decode
from callgate.events.event import Event
from callgate.events.turns import ActionReply, ReplyStreamed, TurnCompleted
from callgate.log.port import Log, LogClosed, LogUnavailable, Record

AGAIN_SECONDS = 1.0
"""Between attempts to read a log that is away."""

_logger = structlog.get_logger(__name__)

_Heard = tuple[int, Event] | BaseException
"""An event and its offset, or why nothing more will come."""


def _tell(topic: str, failure: LogUnavailable) -> None:
    _logger.warning("the log is away: who waits goes on waiting", topic=topic, reason=failure.reason)


class Subscription:
    """The events of one turn at one place: those from `start` on, then new ones as they come, for ever.

    An event may come twice, as everything on the log may. Raises `LogClosed`, but not that the log is away.
    """

    def __init__(self, log: Log, place: tuple[str, int], turn_key: str, start: int | None) -> None:
        """`start` None: only what is new from the subscription on."""
        self._log = log
        self._place = place
        self._turn_key = turn_key
        self._start = start
        self.heard: asyncio.Queue[_Heard] = asyncio.Queue()

    async def events(self) -> AsyncGenerator[Event, None]:
        """What was said and what is being said. To be read once, and closed when left early."""
        after = -1
        if self._start is not None:
            topic, partition = self._place
            # The reader was at work before the scan began, so nothing falls between the two.
            scanned = outlasting(
                lambda starts: self._log.scan(topic, partition, starts[partition]), topic, {partition: self._start}
            )
            async with aclosing(scanned) as records:
                async for record in records:
                    after = record.offset
                    event = understood(record)
                    if event is not None and turn_of(event) == self._turn_key:
                        yield event
        while True:
            heard = await self.heard.get()
            if isinstance(heard, BaseException):
                raise heard
            offset, event = heard
            if offset > after:
                yield event


class Followers:
    """The readers of one client, started when somebody subscribes and ended with the last who does.

    Kept between subscriptions once `keep` is called, until `aclose`.
    """

    def __init__(self, log: Log) -> None:
        """Read nothing yet."""
        self._log = log
        self._readers: dict[tuple[str, int], _Reader] = {}
        self._starting = asyncio.Lock()
        self._kept = False

    def keep(self) -> None:
        """Leave readers running: for a client that will be closed."""
        self._kept = True

    async def aclose(self) -> None:
        """End every reader."""
        self._kept = False
        readers, self._readers = list(self._readers.values()), {}
        for reader in readers:
            await reader.stop()

    @asynccontextmanager
    async def subscribed(
        self, topic: str, partition: int, turn_key: str, *, start: int | None = 0
    ) -> AsyncIterator[Subscription]:
        """Hear of one turn until the context ends. Whatever is written after the context was entered is heard.

        Raises `LogUnavailable` where nobody can say as yet from where on.
        """
        place = (topic, partition)
        subscription = Subscription(self._log, place, turn_key, start)
        async with self._starting:
            reader = self._readers.get(place)
            if reader is None or reader.ended:
                reader = _Reader(self._log, topic, partition)
                await reader.start()
                self._readers[place] = reader
            reader.subscribers[turn_key].append(subscription)
        try:
            yield subscription
        finally:
            reader.forget(turn_key, subscription)
            if not reader.subscribers and not self._kept:
                if self._readers.get(place) is reader:
                    del self._readers[place]
                await reader.stop()


class _Reader:
    """Reads one place from its present end on, and tells each event to those who asked for its turn."""

    def __init__(self, log: Log, topic: str, partition: int) -> None:
        self._log = log
        self._topic = topic
        self._partition = partition
        self._task: asyncio.Task[None] | None = None
        self.subscribers: defaultdict[str, list[Subscription]] = defaultdict(list)

    @property
    def ended(self) -> bool:
        """Whether it reads no more, because it failed or was stopped."""
        return self._task is None or self._task.done()

    async def start(self) -> None:
        """The end is taken before anybody relies on it."""
        end = (await self._log.ends(self._topic)).get(self._partition, 0)
        self._task = asyncio.create_task(self._run(end), name=f"follow {self._topic}/{self._partition}")

    async def stop(self) -> None:
        """Read no more. Idempotent."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def forget(self, turn_key: str, subscription: Subscription) -> None:
        """Tell this subscription nothing more."""
        left = [each for each in self.subscribers.get(turn_key, ()) if each is not subscription]
        if left:
            self.subscribers[turn_key] = left
        else:
            self.subscribers.pop(turn_key, None)

    async def _run(self, start: int) -> None:
        try:
            followed = outlasting(
                lambda starts: self._log.follow(self._topic, [self._partition], starts),
                self._topic,
                {self._partition: start},
            )
            async with aclosing(followed) as records:
                async for record in records:
                    event = understood(record)
                    if event is not None:
                        for each in self.subscribers.get(turn_of(event), ()):
                            each.heard.put_nowait((record.offset, event))
        except Exception as failure:  # noqa: BLE001 - whatever ends the reading is what each waiting caller must hear
            for waiting in self.subscribers.values():
                for each in waiting:
                    each.heard.put_nowait(failure)


def understood(record: Record) -> Event | None:
    """The event in a record. None for what can't be read: that is for operators, not for agents."""
    try:
        return decode(record.value, record.headers).event
    except Undecodable:
        return None


def turn_of(event: Event) -> str:
    """The key of the turn that an event is about; empty where it is about none."""
    if isinstance(event, ActionReply | TurnCompleted | ReplyStreamed):
        return event.turn_key
    return event.action.ref.turn_key if isinstance(event, ApprovalRequested) else ""


async def outlasting(
    read: Callable[[Mapping[int, int]], AsyncIterator[Record]],
    topic: str,
    starts: Mapping[int, int],
    tell: Callable[[str, LogUnavailable], None] = _tell,
) -> AsyncGenerator[Record, None]:
    """The records that `read` gives from `starts` per partition, and from where it was when the log has been away.

    `tell` hears each time that it is. Raises `LogClosed`.
    """
    at = dict(starts)
    while True:
        try:
            async with aclosing(closable(read(dict(at)))) as records:
                async for record in records:
                    at[record.partition] = record.offset + 1
                    yield record
        except LogClosed:
            raise
        except LogUnavailable as failure:
            tell(topic, failure)
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            return


async def closable(records: AsyncIterator[Record]) -> AsyncGenerator[Record, None]:
    """The same records; closing this closes an engine's generator too, at once and not when it is collected."""
    try:
        async for record in records:
            yield record
    finally:
        if isinstance(records, AsyncGenerator):
            await records.aclose()
