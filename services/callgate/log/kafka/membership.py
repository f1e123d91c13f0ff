"""One member's part in a group on Kafka.

The brokers' group says who is a member and what each is to hold; a lease itself is made safe by its producer (see
`claiming`). What is held goes on undisturbed while the group shares out anew: what stays is not restored again, and
what moves is closed, finished and given back, while its new holder waits.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError

from callgate.log.kafka import clients
from callgate.log.kafka.assignor import Holding, LeaseAssignor, Share
from callgate.log.kafka.claiming import Claim, NotOurs
from callgate.log.kafka.heartbeats import Heartbeats, beside
from callgate.log.kafka.lease import KafkaLease
from callgate.log.port import CommitUnknown, Lease, LeaseLost, LogUnavailable

if TYPE_CHECKING:
    from callgate.log.kafka.engine import KafkaLog

CLOSING_SECONDS = 20.0
"""How long a lease that is wanted elsewhere may be finished with, unless the session lasts longer."""

PATIENCE_SECONDS = 5.0
"""How much longer than that its new holder waits: both begin to count when they hear of it, which is not at once."""

LAG_SECONDS = 5.0
"""How often the group's offsets are written for lag tools. Callgate itself never reads them."""

_LOOK_SECONDS = 0.5
_RETRY_SECONDS = (0.2, 5.0)

_logger = structlog.get_logger(__name__)


class KafkaGroup(ConsumerRebalanceListener):  # type: ignore[misc] # the library is untyped
    """See `log.port.Group`."""

    def __init__(self, log: KafkaLog, name: str, topics: tuple[str, ...]) -> None:
        self._log = log
        self.name = name
        self.topics = topics
        self._member = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._closing_seconds = max(CLOSING_SECONDS, log.kafka.session_seconds + PATIENCE_SECONDS)
        self._consumer: Any = None
        self._heartbeats = Heartbeats(log.clock, log.kafka.session_seconds)
        self._assigned: frozenset[int] = frozenset()
        self._telling: asyncio.Task[None] | None = None
        self._before: dict[int, float] = {}
        """Until when the living holder of a lease is waited for."""
        self._told: Share = Share({})
        self._held: dict[int, KafkaLease] = {}
        self._claiming: dict[int, asyncio.Task[None]] = {}
        self._failures: dict[int, tuple[int, float]] = {}
        self._trouble: LogUnavailable | None = None
        self._ready: deque[KafkaLease] = deque()
        self._stirred = asyncio.Event()
        self._looked = asyncio.Event()
        self._wanting = 0
        self._keeping: asyncio.Task[None] | None = None
        self._left = False
        self._leaving: asyncio.Task[None] | None = None
        self._reported = log.clock.monotonic()

    @property
    def member(self) -> str:
        """See `Group.member`."""
        return self._member

    async def start(self) -> None:
        """Become a member. Raises `LogUnavailable`."""
        await self._join()
        self._keeping = asyncio.ensure_future(self._keep())

    async def claim(self, wait: float) -> Lease | None:
        """See `Group.claim`. Where it is cancelled, the next claim gives what this one would have given.

        Raises `LogUnavailable` where leases are due to this member and can't be claimed for now.
        """
        until = self._log.clock.monotonic() + wait
        self._wanting += 1
        self._stirred.set()
        try:
            while not self._left:
                while self._ready:
                    lease = self._ready.popleft()
                    if not lease.over:
                        return lease
                left = until - self._log.clock.monotonic()
                if left <= 0:
                    break
                self._looked.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._looked.wait()
        finally:
            self._wanting -= 1
        await asyncio.sleep(0)  # a caller that goes on asking after it has left must not stop the loop
        if self._trouble is not None and not self._left:
            trouble, self._trouble = self._trouble, None
            raise trouble
        return None

    async def leave(self) -> None:
        """See `Group.leave`. Whoever stops waiting for it leaves it to come to its end."""
        if self._leaving is None:
            self._left = True
            self._looked.set()
            self._stirred.set()
            self._leaving = asyncio.ensure_future(self._leave())
        await asyncio.shield(self._leaving)

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        """Nothing is given up before the new shares are known. Waiting here would stop the whole group (F4, F7)."""

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Note the new share; what follows from it is done beside."""
        places = list(assigned)
        # First of all: the member never fetches, and records would come during this very call (F7).
        self._consumer.pause(*places)
        numbers = [{place.partition for place in places if place.topic == each} for each in self._subscribed()]
        # A lease that lacks one of its topics is not claimed.
        self._assigned = frozenset(set.intersection(*numbers)) if numbers else frozenset()
        patient = self._log.clock.monotonic() + self._closing_seconds + PATIENCE_SECONDS
        self._before = {number: patient for number, member in self._told.before.items() if member}
        self._stirred.set()

    def _subscribed(self) -> list[str]:
        return [self._log.names.topic(topic) for topic in self.topics]

    async def _join(self) -> None:
        assignor = LeaseAssignor(self._log.partitions, self._holding, self._hear)
        group = self._log.names.group(self.name)
        self._consumer = clients.member(self._log.options, self._log.kafka, group, assignor)
        try:
            await clients.start(self._consumer, clients.REQUEST_SECONDS)
        except (KafkaError, TimeoutError, OSError) as error:
            raise LogUnavailable(f"the brokers can't be reached ({type(error).__name__})") from error
        self._consumer.subscribe(topics=self._subscribed(), listener=self)
        self._heartbeats.watch(self._consumer, self._put_out)

    def _holding(self) -> Holding:
        # A lease that is closing is on its way to somebody: not to be taken for one that stays.
        return Holding(self._member, {number: lease.epoch for number, lease in self._held.items()})

    def _hear(self, share: Share) -> None:
        self._told = share

    async def _keep(self) -> None:
        while not self._left:
            # Not wait_for: in Python 3.11 it may swallow that we are cancelled.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._stirred.wait()
            self._stirred.clear()
            try:
                await self._look()
            except LogUnavailable as failure:
                self._trouble = failure
                _logger.warning("a member can't be kept", group=self.name, reason=str(failure))
                await self._log.clock.sleep(1.0)

    async def _look(self) -> None:
        await self._check_membership()
        await self._give_back()
        now = self._log.clock.monotonic()
        if self._wanting:
            for number in sorted(self._assigned - self._held.keys() - self._claiming.keys()):
                if self._failures.get(number, (0, 0.0))[1] <= now:
                    self._claiming[number] = asyncio.ensure_future(self._claim(number))
        if now - self._reported >= LAG_SECONDS:
            self._reported = now
            await self._report()

    async def _give_back(self) -> None:
        for number, lease in list(self._held.items()):
            if lease.overdue:
                lease.end()
            elif number not in self._assigned:
                if lease in self._ready:
                    self._ready.remove(lease)
                    await lease.release()
                else:
                    lease.close_within(self._closing_seconds)
        for number, task in list(self._claiming.items()):
            if number not in self._assigned:
                _give_up(task)

    async def _check_membership(self) -> None:
        """Errors of the library's own tasks come out only where they are asked for, and hold up everything else."""
        try:
            self._consumer._coordinator.check_errors()  # noqa: SLF001 - it is asked in getmany, which a member never calls
        except KafkaError as error:
            _logger.warning("the membership has failed, and is begun anew", group=self.name, failure=repr(error))
            await self._begin_anew()

    def _put_out(self) -> None:
        """The group has gone on without us: whatever we held may be another's by now."""
        self._assigned = frozenset()
        for lease in list(self._held.values()):
            lease.end()
        self._stirred.set()

    async def _begin_anew(self) -> None:
        self._heartbeats.forget()
        self._put_out()
        await self._part()
        await self._join()

    async def _claim(self, number: int) -> None:
        try:
            claimed = await self._claim_of(number).claimed()
        except NotOurs:
            self._retry(number, None)
        except (LeaseLost, CommitUnknown, LogUnavailable) as failure:
            self._retry(number, failure)
        except asyncio.CancelledError:
            raise
        except Exception as defect:
            _logger.exception("a lease could not be claimed", group=self.name, lease=number)
            self._retry(number, defect)
        else:
            lease = KafkaLease(
                claimed, self._log.names, self._log.clock, confirmed=self._heartbeats.confirmed, ended=self._ended
            )
            if self._left or number not in self._assigned:
                await lease.release()
            else:
                self._held[number] = lease
                self._ready.append(lease)
        finally:
            self._claiming.pop(number, None)
            self._looked.set()
            self._stirred.set()

    def _claim_of(self, number: int) -> Claim:
        log = self._log
        return Claim(
            options=log.options,
            kafka=log.kafka,
            names=log.names,
            clock=log.clock,
            group=self.name,
            member=self._member,
            number=number,
            topics=self.topics,
            partitions=log.partitions,
            offsets=log.offsets,
            lend=log.borrowed,
            confirmed=lambda: self._ours(number),
            busy=lambda: self._busy(number),
        )

    async def _ours(self, number: int) -> bool:
        return number in self._assigned and await self._heartbeats.confirmed() and number in self._assigned

    def _busy(self, number: int) -> bool:
        return self._log.clock.monotonic() < self._before.get(number, 0.0)

    def _retry(self, number: int, failure: Exception | None) -> None:
        times = self._failures.get(number, (0, 0.0))[0] + 1
        first, most = _RETRY_SECONDS
        self._failures[number] = (times, self._log.clock.monotonic() + min(most, first * 2 ** min(times, 10)))
        if failure is not None:
            self._trouble = failure if isinstance(failure, LogUnavailable) else LogUnavailable(str(failure))
            _logger.warning("a lease could not be claimed", group=self.name, lease=number, reason=str(failure))

    def _ended(self, lease: KafkaLease) -> None:
        if self._held.get(lease.number) is lease:
            del self._held[lease.number]
            self._before.pop(lease.number, None)
            if lease.worked:
                self._failures.pop(lease.number, None)
            else:
                self._retry(lease.number, None)  # else what can never be written would be tried without a pause
        self._log.leave_behind(lease.stopped())
        self._stirred.set()

    async def _report(self) -> None:
        offsets: dict[TopicPartition, int] = {}
        for number, lease in self._held.items():
            if number in self._assigned and not lease.over:
                offsets |= lease.consumed()
        busy = self._telling is not None and not self._telling.done()
        if busy or not offsets or not await self._heartbeats.confirmed():
            return
        # Never cut off: the library would let go of what it has begun, and nobody would hear how that ended.
        self._telling = asyncio.create_task(self._tell(offsets))
        await asyncio.wait((self._telling,), timeout=clients.REQUEST_SECONDS)

    async def _tell(self, offsets: Mapping[TopicPartition, int]) -> None:
        # Best effort: lag tools may be a little behind, and nothing of ours depends on it.
        beside.set(True)  # of this task, and of what the library begins for it
        with suppress(KafkaError, ValueError):
            await self._consumer.commit(offsets)

    async def _part(self) -> None:
        # What still tries to tell offsets would look for a coordinator for ever, and connect to whom it asks.
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait((self._telling,))
        await clients.stop(self._consumer)

    async def _leave(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait((self._keeping,))
        for task in list(self._claiming.values()):
            _give_up(task)
        if self._claiming:
            await asyncio.wait(list(self._claiming.values()))
        with suppress(TimeoutError):
            async with asyncio.timeout(clients.REQUEST_SECONDS):
                await self._report()
                await asyncio.gather(*(lease.release() for lease in list(self._held.values())))
        for lease in list(self._held.values()):
            lease.end()
        await self._part()
        self._log.left(self)


def _give_up(claim: asyncio.Task[None]) -> None:
    """Cancel it, but once: a second time would cut off its cleaning up."""
    if not claim.cancelling():
        claim.cancel()
