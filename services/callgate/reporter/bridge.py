"""The bridge from BIGHUB's own approval queue: what is answered there comes in as the ballot of a named identity.

It is one voter among others. The policy must name it where it names anybody, the order of the ballots decides between
it and our own people, and whoever is later is told (`mirroring`). What is asked stands in the lease's table under
BIGHUB's id of the evaluation; a durable timer looks at the queue while anything is open, so that for each approval one
holder of a lease does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from callgate.bighub.queue import Answered
from callgate.clock import Clock
from callgate.events import ids
from callgate.events.approvals import ApprovalRequested, ApprovalVoted, BallotCast
from callgate.events.codec import Envelope
from callgate.events.event import Event
from callgate.log.port import Record
from callgate.worker.effects import NOTHING, Context, Effects, Publish, Timer

_ASKED = "asked/"
_POLL = "poll"


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """An approval that BIGHUB may know under its own id."""

    approval_id: str
    digest: str
    deadline: float


class Queue(Protocol):
    """What the bridge needs of BIGHUB."""

    async def answered_approvals(self) -> Sequence[Answered]:
        """What was answered in its queue, as far as it shows."""
        ...


class SharedLook:
    """One look at the queue for all leases of a process: they poll at about the same time."""

    def __init__(self, queue: Queue, clock: Clock, fresh_seconds: float) -> None:
        """A look is good for `fresh_seconds`."""
        self._queue = queue
        self._clock = clock
        self._fresh = fresh_seconds
        self._lock = asyncio.Lock()
        self._seen: float | None = None
        self._found: Mapping[str, Answered] = {}

    async def answered(self) -> Mapping[str, Answered]:
        """The answers by BIGHUB's id of the evaluation."""
        async with self._lock:
            now = self._clock.monotonic()
            if self._seen is None or now - self._seen >= self._fresh:
                self._found = {each.request_id: each for each in await self._queue.answered_approvals()}
                self._seen = now
            return self._found


class BridgeHandler:
    """See `worker.effects.Handler`."""

    def __init__(self, queue: Queue, clock: Clock, *, identity: str, seconds: float) -> None:
        """Poll every `seconds`; vote as `identity`."""
        self._look = SharedLook(queue, clock, seconds / 2)
        self._identity = identity
        self._seconds = seconds

    def lane(self, event: Event, record: Record) -> str:  # noqa: ARG002 - the port's
        """The event: what is noted of one approval touches no other."""
        return event.identity()

    def tenant(self, event: Event) -> str:
        """The action's tenant."""
        return event.action.ref.tenant if isinstance(event, ApprovalRequested) else ""

    async def handle(self, envelope: Envelope, context: Context) -> Effects:
        """Note a question that BIGHUB has asked for, and begin to poll."""
        event = envelope.event
        if not isinstance(event, ApprovalRequested) or event.kind != "action" or not event.decision.request_id:
            return NOTHING
        now = context.clock.now()
        key = f"{_ASKED}{event.decision.request_id}"
        if now > event.deadline or context.table.get(key) is not None:
            return NOTHING
        asked = Asked(event.approval_id, event.action.ref.digest, event.deadline)
        put: dict[str, bytes | None] = {key: msgspec.json.encode(asked)}
        timers = [Timer(key, key, event.deadline)]
        if context.table.get(_POLL) is None:
            put[_POLL] = b"1"
            timers.append(Timer(_POLL, _POLL, now + self._seconds))
        return Effects(put=put, timers=tuple(timers))

    async def on_timer(self, key: str, context: Context) -> Effects:
        """Look at the queue; or forget a question whose deadline has passed."""
        if key != _POLL:
            return Effects(put={key: None})
        found = await self._look.answered()
        put: dict[str, bytes | None] = {}
        publish: list[Publish] = []
        cancel: list[str] = []
        for request_id, answer in found.items():
            kept = context.table.get(entry := f"{_ASKED}{request_id}")
            if kept is not None:
                asked = msgspec.json.decode(kept, type=Asked)
                publish.append(Publish(_ballot(asked, answer, self._identity, context.clock.now())))
                put[entry] = None
                cancel.append(entry)
        if all(entry in put for entry, _ in context.table.items(_ASKED)):
            put[_POLL] = None
            return Effects(publish=tuple(publish), put=put, cancel=tuple(cancel))
        again = Timer(_POLL, _POLL, context.clock.now() + self._seconds)
        return Effects(publish=tuple(publish), put=put, cancel=tuple(cancel), timers=(again,))

    async def on_dead(self, envelope: Envelope, context: Context, reason: str) -> Effects:  # noqa: ARG002 - the port's
        """An approval that can't be noted can still be answered by our own people."""
        return NOTHING


def _ballot(asked: Asked, answer: Answered, identity: str, now: float) -> BallotCast:
    """One ballot for each answer, under the same id however often it is seen. It is in time by when it was seen."""
    origin = f"bighub/{answer.request_id}"
    return BallotCast(
        approval_id=asked.approval_id,
        vote=ApprovalVoted(
            vote_id=f"bighub-{ids.fingerprint(answer.request_id, answer.answer)}",
            approval_id=asked.approval_id,
            digest=asked.digest,
            answer="approve" if answer.answer == "approved" else "reject",
            approver=identity,
            comment=answer.comment,
        ),
        verification="trusted",
        appended_at=now,
        origin=origin,
    )
