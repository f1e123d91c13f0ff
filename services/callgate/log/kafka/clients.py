"""Making the broker's clients, each with the options that its use needs, and getting rid of them without hanging."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer import sender

from callgate.log.bounds import UNIT_RECORD_BYTES
from callgate.log.kafka.assignor import LeaseAssignor
from callgate.settings import KafkaSettings

REQUEST_SECONDS = 10.0
"""How long a broker may take for an answer before another is asked; it is also how long a hung one is noticed after."""

HEARTBEAT_SECONDS = 1.0
"""How often a member says that it lives, and learns that others have come or gone."""

BATCH_BYTES = 1_000_000
"""The largest batch that is built. Larger ones save nothing; a record beyond it has a batch of its own."""

_PATIENT_MS, _HASTY_MS = 500, 20
_PARTITION_BYTES = 4 * UNIT_RECORD_BYTES
_NEVER_MS = 10**12
_STOP_SECONDS = 2.0

sender.BACKOFF_OVERRIDE = 0.003
"""Seconds after which a transaction is begun again that was begun before the markers of the one before it were written.
That takes a few milliseconds; the library's own 20 would stand between any two commits of a busy lease."""

_behind: set[asyncio.Task[None]] = set()
"""What goes on beside; held here, because the loop itself would forget it. Each comes to its end within seconds."""

_starting: set[asyncio.Future[None]] = set()
"""Starts that nobody waits for any more."""


def reader(options: Mapping[str, Any], *, committed: bool = True, patient: bool = False) -> Any:
    """A consumer outside any group. It never guesses a position: one that is out of range is an error (see reading).

    A `patient` one is for partitions that are read for long: its fetches wait at the broker, which is cheap at rest.
    """
    return AIOKafkaConsumer(
        **options,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed" if committed else "read_uncommitted",
        fetch_max_wait_ms=_PATIENT_MS if patient else _HASTY_MS,
        max_partition_fetch_bytes=_PARTITION_BYTES,
        request_timeout_ms=int(REQUEST_SECONDS * 1000),
        metadata_max_age_ms=60_000,
        retry_backoff_ms=20,
    )


def member(options: Mapping[str, Any], kafka: KafkaSettings, group: str, assignor: LeaseAssignor) -> Any:
    """A consumer that is only a member: it never fetches, so that a rebalance disturbs no reading.

    The rebalance must outlast a session, else a member that stands still could be left out while its session lasts; and
    a join must outlast the rebalance, else the member takes its coordinator for dead again and again. It is never put
    out for not polling: the worker's own watch is over progress.
    """
    rebalance = kafka.session_seconds + 5.0
    return AIOKafkaConsumer(
        **options,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=int(kafka.session_seconds * 1000),
        heartbeat_interval_ms=int(min(HEARTBEAT_SECONDS, kafka.session_seconds / 3) * 1000),
        rebalance_timeout_ms=int(rebalance * 1000),
        max_poll_interval_ms=_NEVER_MS,
        request_timeout_ms=int((rebalance + 5.0) * 1000),
        metadata_max_age_ms=60_000,
        partition_assignment_strategy=[assignor],
    )


def transactional(options: Mapping[str, Any], kafka: KafkaSettings, transactional_id: str) -> Any:
    """A producer of a lease or of a publisher. Starting it fences every earlier one of the same id."""
    return AIOKafkaProducer(
        **options,
        transactional_id=transactional_id,
        transaction_timeout_ms=int(kafka.transaction_seconds * 1000),
        acks="all",
        max_batch_size=BATCH_BYTES,
        max_request_size=_PARTITION_BYTES,
        request_timeout_ms=int(REQUEST_SECONDS * 1000),
        metadata_max_age_ms=60_000,
        retry_backoff_ms=20,
    )


def idempotent(options: Mapping[str, Any]) -> Any:
    """A producer for what is published outside leases."""
    return AIOKafkaProducer(
        **options,
        enable_idempotence=True,
        acks="all",
        max_batch_size=BATCH_BYTES,
        max_request_size=_PARTITION_BYTES,
        request_timeout_ms=int(REQUEST_SECONDS * 1000),
        metadata_max_age_ms=60_000,
    )


async def start(client: Any, seconds: float) -> None:
    """Start a client. Raises KafkaError, TimeoutError, OSError; a client that is not started is got rid of.

    The library leaves a connection open where its start is cut off: so it is never cut off, but left to itself.
    """
    starting = asyncio.ensure_future(client.start())
    try:
        await asyncio.wait((starting,), timeout=seconds)
    except asyncio.CancelledError:
        _leave_behind(_late(starting, client))
        raise
    if not starting.done():
        _leave_behind(_late(starting, client))
        raise TimeoutError
    try:
        starting.result()
    except BaseException:
        await abandon(client)
        raise


async def stop(client: Any) -> None:
    """Stop a client whose work is done. Its own stop may wait for brokers that are gone: it is given up on then.

    Whoever stops waiting for it leaves it to come to its end: connections that are not closed here, nobody closes.
    """
    await asyncio.wait((_leave_behind(_stop(client)),))


async def _stop(client: Any) -> None:
    stopping = asyncio.ensure_future(_stopped(client))
    await asyncio.wait((stopping,), timeout=_STOP_SECONDS)
    if stopping.done() and not stopping.cancelled():
        return
    # The library closes the connections last: after a good-bye to a coordinator that may be dead, and never where it
    # takes the end of one of its own tasks, which it has cancelled, for its own.
    if _is_producer(client):
        await _abandon(client)
    stopping.cancel()
    await asyncio.wait((stopping,), timeout=_STOP_SECONDS)
    await _disconnect(client)


def stop_behind(client: Any) -> None:
    """Stop a client beside whatever goes on: what others have given it to send is still sent."""
    _leave_behind(_stop(client))


async def abandon(client: Any) -> None:
    """Cut off a client: what it has not sent is not sent any more, and nothing is waited for."""
    await asyncio.wait((_leave_behind(_abandon(client)),))


async def _abandon(client: Any) -> None:
    if not _is_producer(client):
        await _stop(client)
        return
    client._closed = True  # noqa: SLF001 - its own stop would first wait for its batches
    _heard(client)
    sender_task = client._sender.sender_task  # noqa: SLF001 - the library has no other way
    if sender_task is not None:
        sender_task.cancel()
        await asyncio.wait((sender_task,), timeout=_STOP_SECONDS)
    await _disconnect(client)


def _is_producer(client: Any) -> bool:
    return hasattr(client, "_sender")


async def _disconnect(client: Any) -> None:
    with suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(_STOP_SECONDS):
            await (client.client if _is_producer(client) else client._client).close()  # noqa: SLF001 - the same


def _heard(client: Any) -> None:
    """Take note of how a producer's own futures ended: it was said where it mattered, and nobody waits for them."""
    batches = [batch for queue in client._message_accumulator._batches.values() for batch in queue]  # noqa: SLF001
    ends = [batch._drain_waiter for batch in batches]  # noqa: SLF001 - the library has no other way
    if client._txn_manager is not None:  # noqa: SLF001 - the same
        ends.append(client._txn_manager._transaction_waiter)  # noqa: SLF001 - the same
    for ended in ends:
        if ended is not None and ended.done() and not ended.cancelled():
            ended.exception()


async def settled() -> None:
    """Wait until what was left to itself has come to its end; what is still starting then is cut off."""
    for patience in (2 * _STOP_SECONDS, None):
        if _behind:
            await asyncio.wait(list(_behind), timeout=patience)
        for starting in list(_starting):
            starting.cancel()


async def _late(starting: asyncio.Future[None], client: Any) -> None:
    _starting.add(starting)
    try:
        await asyncio.wait((starting,), timeout=REQUEST_SECONDS)
    finally:
        _starting.discard(starting)
    starting.cancel()
    await asyncio.wait((starting,), timeout=_STOP_SECONDS)
    if starting.done() and not starting.cancelled():
        starting.exception()  # it was said to whoever waited that this took too long
    await _abandon(client)


def _leave_behind(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.ensure_future(work)
    _behind.add(task)
    task.add_done_callback(_behind.discard)
    return task


async def _stopped(client: Any) -> None:
    with suppress(KafkaError, OSError, TimeoutError):
        await client.stop()


def places(topics: Sequence[Any]) -> list[str]:
    """Partitions in words, for errors and logs."""
    return [f"{place.topic}[{place.partition}]" for place in topics]
