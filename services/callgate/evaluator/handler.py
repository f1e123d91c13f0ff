"""The evaluator's handler: switches first, then BIGHUB, then one decision, and a question to people where it asks.

BIGHUB that can't be reached is retried by the worker, then parked; what has waited too long is blocked. A key that is
refused blocks nothing: nothing runs, the service is unready, and it goes on when the key is mended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from callgate.bighub.failures import Unauthorized
from callgate.bighub.requests import EvaluateRequest
from callgate.bighub.resolve import Resolution
from callgate.control.scopes import Subject, Switches
from callgate.evaluator import asking, deciding
from callgate.events import topics
from callgate.events.actions import ActionDecided, ActionProposed, Decision
from callgate.events.codec import Envelope
from callgate.events.event import Event
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.log.port import Record
from callgate.policy.choosing import answered
from callgate.policy.document import BUILT_IN, Policy
from callgate.policy.questioning import request
from callgate.settings import Settings
from callgate.telemetry.metrics import Metrics
from callgate.worker.effects import NOTHING, Context, Effects, Publish, Timer

_DECIDED = "decided/"


class Evaluations(Protocol):
    """What the evaluator needs of BIGHUB."""

    async def evaluate(self, request: EvaluateRequest) -> Resolution:
        """Ask for a decision."""
        ...


class EvaluationHandler:
    """See `worker.effects.Handler`."""

    def __init__(
        self,
        bighub: Evaluations,
        settings: Settings,
        switches: Callable[[], Switches],
        metrics: Metrics,
        policy: Callable[[], Policy] = lambda: BUILT_IN,
    ) -> None:
        """`switches` and `policy` give what is in force at the moment; the default policy is the built-in one."""
        self._bighub = bighub
        self._settings = settings
        self._switches = switches
        self._metrics = metrics
        self._policy = policy
        self._patience = settings.bighub.evaluator_seconds
        # Until when an action waited for something else than an unreachable BIGHUB, which must not count as outage.
        self._excused: dict[str, float] = {}  # the latest last

    def lane(self, event: Event, record: Record) -> str:
        """The action: a model's parallel calls are decided in parallel."""
        return event.ref.id if isinstance(event, ActionProposed) else f"{record.topic}/{record.offset}"

    def tenant(self, event: Event) -> str:
        """The action's tenant."""
        return event.ref.tenant if isinstance(event, ActionProposed) else ""

    async def handle(self, envelope: Envelope, context: Context) -> Effects:
        """Decide one revision and attempt, once."""
        action = envelope.event
        if not isinstance(action, ActionProposed) or context.table.get(key := _key(action)) is not None:
            return NOTHING
        return self._decided(key, action, await self._decide(action, context), context)

    async def on_timer(self, key: str, context: Context) -> Effects:  # noqa: ARG002 - part of the port
        """Forget a decision that is older than the identity window; the timer's key is the table's."""
        return Effects(put={key: None})

    async def on_dead(self, envelope: Envelope, context: Context, reason: str) -> Effects:
        """What is given up is blocked, so that its action ends."""
        action = envelope.event
        if not isinstance(action, ActionProposed) or context.table.get(key := _key(action)) is not None:
            return NOTHING
        decision = deciding.unanswerable(f"given up: {reason}", context.clock.now())
        return self._decided(key, action, decision, context)

    async def _decide(self, action: ActionProposed, context: Context) -> Decision:
        now = context.clock.now()
        if action.fault is not None:
            return deciding.refused(action, now)
        ref = action.ref
        switches = self._switches()
        subject = Subject(ref.tenant, ref.agent, ref.tool, action.domain)
        if not switches.readable:
            raise TemporaryFailure("the control topic can't be read: nothing is decided until it can")
        if (reason := switches.stopped(subject)) is not None:
            return deciding.stopped(reason, now)
        if (reason := switches.held(subject)) is not None:
            self._excuse(action, now)
            raise TemporaryFailure(f"held: {reason}")
        return await self._ask(action, context)

    async def _ask(self, action: ActionProposed, context: Context) -> Decision:
        began = context.clock.monotonic()
        try:
            answer = await self._bighub.evaluate(asking.question(action))
        except Unauthorized:
            self._metrics.bighub_answered("evaluate", "unauthorized", context.clock.monotonic() - began)
            self._excuse(action, context.clock.now())
            raise
        except TemporaryFailure as failure:
            self._metrics.bighub_answered("evaluate", "temporary", context.clock.monotonic() - began)
            since = max(context.first_tried, self._excused.get(action.identity(), 0.0))
            waited = context.clock.now() - since
            if waited < self._patience:
                raise
            reason = f"BIGHUB could not be asked for {waited:.0f} s: {failure.reason}"
            return deciding.unreachable(reason, context.clock.now())
        except PermanentFailure as failure:
            self._metrics.bighub_answered("evaluate", "permanent", context.clock.monotonic() - began)
            return deciding.unanswerable(failure.reason, context.clock.now())
        took = context.clock.monotonic() - began
        self._metrics.bighub_answered("evaluate", "answered", took)
        now, valid_seconds = context.clock.now(), self._settings.bighub.valid_seconds
        found = deciding.decision(
            action,
            answer,
            siblings=self._settings.proposer.siblings,
            now=now,
            valid_seconds=valid_seconds,
            took_seconds=took,
        )
        # An edit may have moved the call under a stricter rule than the one by which it was answered.
        if action.cause == "edit" and not answered(self._policy(), action, found):
            return found
        return deciding.granted(action, found, now=now, valid_seconds=valid_seconds)

    def _excuse(self, action: ActionProposed, now: float) -> None:
        self._excused.pop(action.identity(), None)
        self._excused[action.identity()] = now
        # What lies further back than the whole patience changes no answer; it may be another worker's by now.
        while (oldest := next(iter(self._excused))) and self._excused[oldest] < now - self._patience:
            del self._excused[oldest]

    def _decided(self, key: str, action: ActionProposed, decision: Decision, context: Context) -> Effects:
        ref = action.ref
        if self._excused:
            self._excused.pop(action.identity(), None)
        self._metrics.decided(decision.verdict, ref.tool, action.domain, ref.tenant)
        publish: list[Publish] = []
        if decision.verdict == "review":
            seconds, now = self._settings.approval.deadline_seconds, context.clock.now()
            asked = request(action, decision, self._policy(), context.partitions, now=now, deadline_seconds=seconds)
            # Whoever hears that the call waits is told what it waits for.
            decision = msgspec.structs.replace(decision, approval_id=asked.approval_id)
            publish.append(Publish(msgspec.structs.replace(asked, decision=decision)))
        publish.insert(0, Publish(ActionDecided(action=action, decision=decision)))
        due = context.clock.now() + topics.IDENTITY_WINDOW
        return Effects(
            publish=tuple(publish),
            put={key: decision.verdict.encode()},
            timers=(Timer(key, ref.id, due),),
        )


def _key(action: ActionProposed) -> str:
    return f"{_DECIDED}{action.identity()}"
