"""The executor's handler: decisions in, ends out.

At home (`actions.decided`) the gate is passed, order is kept, and what declares an effect key is sent on to where that
effect is claimed (`actions.effects`), so that two sessions that mean the same effect meet. Order is kept at home only:
such an action waits for the ones before it, but once it is sent on it holds up nothing behind it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from callgate.events import states, topics
from callgate.events.actions import ActionDecided, ActionProposed
from callgate.events.codec import Envelope
from callgate.events.event import Event
from callgate.events.routing import effect_address
from callgate.events.states import State, Step
from callgate.executor import ending, gate, order
from callgate.executor.claim import Standing
from callgate.executor.ending import Place
from callgate.executor.runner import Runner
from callgate.log.port import Record
from callgate.telemetry.metrics import Metrics
from callgate.worker.effects import NOTHING, Context, Effects, Publish, Timer

_OPEN = frozenset({State.CLAIMED, State.IN_DOUBT})


class ExecutionHandler:
    """See `worker.effects.Handler`."""

    def __init__(self, runner: Runner, metrics: Metrics) -> None:
        """`runner` passes the gate, claims and runs."""
        self._runner = runner
        self._metrics = metrics

    def lane(self, event: Event, record: Record) -> str:
        """The session, unless the tool may run beside others; where effects are claimed, the effect."""
        if not isinstance(event, ActionDecided):
            return f"{record.topic}/{record.offset}"
        return _place(event.action, record).lane

    def tenant(self, event: Event) -> str:
        """The action's tenant."""
        return event.action.ref.tenant if isinstance(event, ActionDecided) else ""

    async def handle(self, envelope: Envelope, context: Context) -> Effects:
        """One decision, at home or where its effect is claimed."""
        decided = envelope.event
        if not isinstance(decided, ActionDecided):
            return NOTHING
        place = _place(decided.action, context.delivered)
        standing = load(context.table.get(place.key))
        if decided.decision.verdict == "settle":
            return self._settled(decided, place, standing, context)
        if not self._is_news(decided, standing):
            return self._runner.recalled(standing, place, context) or NOTHING
        if place.home:
            return self._at_home(decided, place, standing, context)
        return self._at_effect(decided, place, standing, context)

    async def on_timer(self, key: str, context: Context) -> Effects:
        """A horizon has passed, the next of a turn may start, or what was kept is older than the identity window."""
        if key.startswith(ending.FORGET):
            return self._forget(key, context)
        if key.startswith(ending.NEXT):
            return self._next(key.removeprefix(ending.NEXT), context)
        at = key.removeprefix(ending.HORIZON)
        standing = load(context.table.get(at))
        if standing is None or standing.decided is None or standing.state not in _OPEN:
            return NOTHING
        action = standing.decided.action
        place = Place.at_home(action) if at == Place.at_home(action).key else Place.at_effect(action)
        return await self._runner.settle(standing, place, context)

    async def on_dead(self, envelope: Envelope, context: Context, reason: str) -> Effects:  # noqa: ARG002 - in the dead letter
        """What is given up before its claim ends unstarted; a claim is settled when its horizon has passed."""
        decided = envelope.event
        if not isinstance(decided, ActionDecided):
            return NOTHING
        place = _place(decided.action, context.delivered)
        if not self._is_news(decided, load(context.table.get(place.key))):
            return NOTHING
        return self._runner.ended_by_gate(decided, place, gate.End("not_executed", "It could not be started."), context)

    def _settled(self, decided: ActionDecided, place: Place, standing: Standing | None, context: Context) -> Effects:
        """People say what became of it. It counts only where it is still in doubt; a late word changes nothing."""
        ref = decided.action.ref
        if standing is None or (ref.revision, ref.attempt) != standing.rank():
            return NOTHING
        if place.home and standing.waits == "elsewhere":
            return Effects(publish=(Publish(decided, effect_address(decided, context.partitions)),))
        if standing.state is not State.IN_DOUBT:
            self._metrics.refused_transition(standing.state, Step.FINISH)
            return NOTHING
        return self._runner.settled(standing, place, decided, context)

    def _is_news(self, decided: ActionDecided, standing: Standing | None) -> bool:
        """Whether the decision says anything that is not past; what the table of states forbids is counted."""
        if standing is None:
            return True
        ref = decided.action.ref
        if (ref.revision, ref.attempt) < standing.rank():
            return False
        said = standing.decided if (ref.revision, ref.attempt) == standing.rank() else None
        # A review is only the first word on a revision; whatever else has been said of it stands.
        if said is not None and (decided.decision.verdict == "review" or said.identity() == decided.identity()):
            return False
        elsewhere = standing.waits == "elsewhere" and (ref.revision, ref.attempt) == standing.rank()
        if elsewhere or states.after(standing.state, Step.DECIDE) is None:
            if elsewhere or (ref.revision, ref.attempt) != standing.rank():
                self._metrics.refused_transition(standing.state, Step.DECIDE)
            return False
        return True

    def _at_home(self, decided: ActionDecided, place: Place, standing: Standing | None, context: Context) -> Effects:
        action, now = decided.action, context.clock.now()
        if decided.decision.verdict == "review":
            waiting = _waiting(decided, "person")
            passing = ending.passed(action, place, context.table, now)
            return Effects(put={place.key: ending.keep(waiting), **passing.put}, timers=passing.timers)
        passage = self._runner.passage(decided, context)
        if isinstance(passage, gate.Go):
            overtaken = standing is not None and standing.waits == "person"
            # What waited for a person has been passed by others: it keeps no order with them any more.
            if not overtaken and not order.may_start(context.table, action):
                mark = order.mark_key(action.ref.turn_key, action.ref.position)
                put = {place.key: ending.keep(_waiting(decided, "order"))}
                return Effects(put={**put, mark: order.QUEUED + b"/" + place.key.encode()})
            return self._started(decided, place, standing, context)
        return self._runner.turned_away(decided, place, passage, context)

    def _started(self, decided: ActionDecided, place: Place, standing: Standing | None, context: Context) -> Effects:
        """Claimed here; where it declares an effect key, sent on to be claimed there."""
        if decided.action.effect_key is not None:
            return self._sent_on(decided, place, context)
        return self._runner.claim(decided, place, standing, context)

    def _at_effect(self, decided: ActionDecided, place: Place, standing: Standing | None, context: Context) -> Effects:
        action = decided.action
        passage = self._runner.passage(decided, context)
        if not isinstance(passage, gate.Go):
            return self._runner.turned_away(decided, place, passage, context)
        key = ending.effect_mark(action)
        owner = context.table.get(key)
        if owner is not None and owner.decode() != place.key:
            taken = _taken(load(context.table.get(owner.decode())))
            if taken is not None:
                return self._runner.ended_by_gate(decided, place, gate.End("not_executed", taken), context)
        claimed = self._runner.claim(decided, place, standing, context)
        return msgspec.structs.replace(claimed, put={**claimed.put, key: place.key.encode()})

    def _sent_on(self, decided: ActionDecided, place: Place, context: Context) -> Effects:
        passing = ending.passed(decided.action, place, context.table, context.clock.now())
        return Effects(
            publish=(Publish(decided, effect_address(decided, context.partitions)),),
            put={place.key: ending.keep(_waiting(decided, "elsewhere")), **passing.put},
            timers=(*passing.timers, ending.forgetting(place, passing.put, context.clock.now())),
        )

    def _next(self, turn_key: str, context: Context) -> Effects:
        """Start the first queued action of a turn that nothing holds up; its end wakes the next."""
        for position in order.queued(context.table, turn_key):
            mark = context.table.get(order.mark_key(turn_key, position)) or b""
            standing = load(context.table.get(mark.removeprefix(order.QUEUED + b"/").decode()))
            if standing is None or standing.decided is None or standing.waits != "order":
                continue
            if not order.may_start(context.table, standing.decided.action):
                return NOTHING
            passage = self._runner.passage(standing.decided, context)
            place = Place.at_home(standing.decided.action)
            if isinstance(passage, gate.Go):
                return self._started(standing.decided, place, standing, context)
            return self._runner.turned_away(standing.decided, place, passage, context)
        return NOTHING

    def _forget(self, key: str, context: Context) -> Effects:
        keys = key.removeprefix(ending.FORGET).split(" ")
        standing = load(context.table.get(keys[0]))
        if standing is not None and standing.decided is not None and standing.state in _OPEN:
            # However old it is: forgotten, it could be claimed once more.
            due = context.clock.now() + topics.IDENTITY_WINDOW
            return Effects(timers=(Timer(key, order.lane(standing.decided.action), due),))
        return ending.forget(keys, context.table)


def load(kept: bytes | None) -> Standing | None:
    """What is remembered of an action, as the table holds it."""
    return None if kept is None else msgspec.json.decode(kept, type=Standing)


def _place(action: ActionProposed, record: Record | None) -> Place:
    at_effect = record is not None and record.topic == topics.EFFECTS.name
    return Place.at_effect(action) if at_effect else Place.at_home(action)


def _waiting(decided: ActionDecided, waits: Literal["person", "order", "elsewhere"]) -> Standing:
    ref = decided.action.ref
    return Standing(
        state=State.DECIDED,
        revision=ref.revision,
        attempt=ref.attempt,
        decided=decided,
        waits=waits,
    )


def _taken(owner: Standing | None) -> str | None:
    """Why an effect is not free: another action's claim has it, had it, or may have had it."""
    if owner is None:
        return None
    match owner.state:
        case State.CLAIMED:
            return "The same effect is being carried out for another call."
        case State.IN_DOUBT:
            return "The same effect is in doubt under another call."
        case State.FINISHED if owner.status in {"executed", "tool_error", "unknown"}:
            return "The same effect was already carried out for another call."
        case _:
            return None
