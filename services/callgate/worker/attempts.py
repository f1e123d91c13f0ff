"""One attempt at one piece of work: all its stages, and what its failure means.

The next stage starts only after the one before is committed. A failure in any stage means a new attempt from the
beginning, just as a crash there would: the handler knows what it has done by the state that it committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
import structlog

from callgate.events.codec import TooLarge, Undecodable
from callgate.events.topics import BY_NAME
from callgate.failures import PermanentFailure
from callgate.log.port import LeaseLost
from callgate.worker.committer import Entry
from callgate.worker.effects import Context, Effects
from callgate.worker.ledger import Ledger
from callgate.worker.retry import Again, GiveUp, Park, decide
from callgate.worker.work import Work
from callgate.worker.workshop import Workshop

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """The work came to its end, as effects or as a dead letter."""


@dataclass(frozen=True, slots=True)
class Braked:
    """It would have become a dead letter, and the brake forbids more of them. Nothing was accepted."""

    reason: str


Outcome = Done | Again | Park | Braked
"""What the lane is to do next."""

Label = Literal["done", "retried", "parked", "dead", "braked"]


class Attempts:
    """Runs work of one lease through its handler.

    What is accepted on the way goes to `submit` at once, so that the state which later work sees and the order of the
    commits are the same. `context` makes what the handler may look at.
    """

    def __init__(
        self,
        claim: int,
        workshop: Workshop,
        ledger: Ledger,
        *,
        submit: Callable[[Entry], None],
        context: Callable[[Work], Context],
    ) -> None:
        self._claim = claim
        self._shop = workshop
        self._handler = workshop.job.handler
        self._ledger = ledger
        self._clock = workshop.clock
        self._metrics = workshop.metrics
        self._submit = submit
        self._context = context

    async def run(self, work: Work) -> Outcome:
        """One attempt. Raises only CancelledError and LeaseLost: then nothing of it counts."""
        began = self._clock.monotonic()
        if work.first_tried is None:
            work.first_tried = self._clock.now()
        outcome, label = await self._run(work)
        self._metrics.handled(label, self._clock.monotonic() - began)
        return outcome

    async def _run(self, work: Work) -> tuple[Outcome, Label]:
        if work.timer is not None and not self._ledger.timers.current(work.timer):
            return Done(), "done"  # set anew or cancelled while it waited in its lane
        try:
            if work.fault is not None:
                raise work.fault  # noqa: TRY301 - an unreadable record fails like any other
            await self._stages(work, await self._first(work))
        except LeaseLost:
            raise
        except asyncio.CancelledError as cancelled:
            if _cancelling():
                raise
            # Left alone, it would end this task without an outcome and its lane would stand still for ever.
            return await self._failed(work, _OwnCancellation(cancelled))
        except Exception as failure:  # noqa: BLE001 - a defect in a handler must not stop its neighbours
            return await self._failed(work, failure)
        # The brake is about records: timers that succeed must not hide a topic that goes into the dead letters.
        if work.record is not None:
            self._shop.brake.passed(self._claim)
        return Done(), "done"

    async def _first(self, work: Work) -> Effects:
        context = self._context(work)
        if work.timer is not None:
            return await self._handler.on_timer(work.timer.key, context)
        assert work.envelope is not None
        return await self._handler.handle(work.envelope, context)

    async def _stages(self, work: Work, effects: Effects, reason: str | None = None) -> None:
        """Accept stage after stage; the dead letter for `reason`, if any, goes with the last.

        Waiting for a commit fails with `LeaseLost` when the lease ends first: the next stage must not begin then.
        """
        while effects.then is not None:
            stage = effects.then
            entry = self._ledger.accept(work, effects, last=False)
            entry.committed = asyncio.get_running_loop().create_future()
            self._submit(entry)
            await entry.committed
            effects = await stage()
        self._submit(self._ledger.accept(work, effects, last=True, reason=reason))

    async def _failed(self, work: Work, failure: Exception) -> tuple[Outcome, Label]:
        self._metrics.failed(type(failure).__name__)
        decision = self._decide(work, failure)
        if isinstance(decision, GiveUp):
            _log.warning("given up", reason=decision.reason, **_where(work), exc_info=_defect(failure))
            if work.timer is None:
                return await self._bury(work, decision.reason, braked=not _outsiders(work, failure))
            # A timer has no record that could be sent again, so it is never given up: a mended handler will serve it.
            decision = Park(self._shop.settings.park_seconds)
        return self._wait(work, decision)

    async def _bury(self, work: Work, reason: str, *, braked: bool) -> tuple[Outcome, Label]:
        refusal = self._shop.brake.refusal() if braked else None
        if refusal is not None:
            # Who has stood still and lost the lease without knowing gives up on much that its old tables don't explain.
            if not await self._context(work).held():
                raise LeaseLost("the lease ended before anything was given up")
            return Braked(refusal), "braked"
        effects = Effects()
        try:
            # What can't be read stands for no action that is known here: there is nothing to end.
            if work.envelope is not None:
                effects = await self._handler.on_dead(work.envelope, self._context(work), reason)
            await self._stages(work, effects, reason)
        except (asyncio.CancelledError, LeaseLost):
            raise
        except Exception as failure:  # noqa: BLE001 - see below
            # Burying it alone would leave its action without an end: it waits, loudly, for a handler that can end it.
            self._metrics.failed(type(failure).__name__)
            _log.error("could not be given up properly", **_where(work), exc_info=failure)
            return self._wait(work, Park(self._shop.settings.park_seconds))
        if braked:
            self._shop.brake.buried(self._claim)
        return Done(), "dead"

    def _wait(self, work: Work, decision: Again | Park) -> tuple[Outcome, Label]:
        work.attempt += 1
        return decision, "retried" if isinstance(decision, Again) else "parked"

    def _decide(self, work: Work, failure: Exception) -> Again | Park | GiveUp:
        assert work.first_tried is not None
        return decide(
            failure,
            attempt=work.attempt,
            elapsed=max(0.0, self._clock.now() - work.first_tried),
            jitter=self._shop.jitter(),
            settings=self._shop.settings,
        )


class _OwnCancellation(RuntimeError):  # noqa: N818 - named for what happened
    """A handler let a cancellation of its own making escape: nobody has cancelled the attempt."""


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _outsiders(work: Work, failure: Exception) -> bool:
    """Whether the failure is the doing of whoever writes to an entrance: junk must not be able to stop a service."""
    topic = BY_NAME.get(work.record.topic) if work.record is not None else None
    theirs = isinstance(failure, Undecodable | TooLarge | msgspec.ValidationError | PermanentFailure)
    return topic is not None and topic.entrance and theirs


def _where(work: Work) -> dict[str, object]:
    if work.record is None:
        return {"timer": work.timer.key if work.timer is not None else ""}
    return {"topic": work.record.topic, "partition": work.record.partition, "offset": work.record.offset}


def _defect(failure: Exception) -> Exception | None:
    expected = isinstance(failure, PermanentFailure | Undecodable | TooLarge)
    return None if expected else failure
