"""The proposer's logic: turns in, actions out; ended actions in, replies out.

Everything that it does about a record is in one unit with the record's progress, and the table remembers which turns
and which ends have been seen: a record that comes twice finds its work done and adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import orjson
import structlog

from callgate.events.actions import ActionDecided, ActionFinished, ActionInDoubt, ActionRef
from callgate.events.codec import Envelope
from callgate.events.event import Event
from callgate.events.home import home
from callgate.events.topics import DAY, IDENTITY_WINDOW
from callgate.events.turns import AnswerAnnounced, TurnRecorded, TurnSubmitted
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.log.port import Record
from callgate.proposer import incoming, pending, state
from callgate.proposer.calls import Reading, Unreadable
from callgate.proposer.completing import completed, recorded_event
from callgate.proposer.conversing import Conversing, spent
from callgate.proposer.incoming import AnyTurn
from callgate.proposer.pending import FollowUp, Pending
from callgate.proposer.proposing import Proposals, Turn, propose
from callgate.proposer.reading import read
from callgate.proposer.replying import kept_end, reply_of
from callgate.proposer.rounds import fault_of
from callgate.proposer.state import End, Kept, TurnEntry
from callgate.settings import ProposerSettings
from callgate.telemetry.metrics import Metrics
from callgate.tools.toolbox import Toolbox
from callgate.worker.effects import NOTHING, Context, DeadLettered, Effects, Publish, Timer

_NO_MODEL = "CALLGATE_MODEL_KEY is not set"
_EMPTY = b"[]"
_NULL = b"null"


class ProposerHandler:
    """See `worker.effects.Handler`."""

    def __init__(
        self,
        toolbox: Toolbox,
        settings: ProposerSettings,
        metrics: Metrics,
        converse: Callable[[Callable[[Proposals], None]], Conversing] | None = None,
    ) -> None:
        """`toolbox` is the user's; the same one must be given to the executor. `converse` makes what runs the model.

        Without it turns that ask for the model are refused. It is given what counts and logs proposals.
        """
        self._toolbox = toolbox
        self._settings = settings
        self._metrics = metrics
        self._model = converse(self._tell) if converse is not None else None
        self._log = structlog.get_logger(__name__)

    def lane(self, event: Event, record: Record) -> str:  # noqa: ARG002 - the port's signature
        """The session's: its turns are read, and its actions answered, one at a time; or the model's, about that."""
        return state.ask_lane(event.turn_key) if isinstance(event, AnswerAnnounced) else state.lane_of(*_owner(event))

    def tenant(self, event: Event) -> str:
        """See `Handler.tenant`."""
        return _owner(event)[0]

    async def handle(self, envelope: Envelope, context: Context) -> Effects:
        """See `Handler.handle`."""
        match envelope.event:
            case TurnSubmitted() | TurnRecorded() as turn:
                return self._turn(turn, context)
            case ActionFinished() as finished:
                return await self._finished(finished, context)
            case ActionInDoubt() as doubt:
                return await self._waiting(doubt, context)
            case ActionDecided() as decided:
                return await self._waiting(decided, context) if decided.decision.verdict == "review" else NOTHING
            case AnswerAnnounced() as announced:
                return self._model.announced(announced, context) if self._model is not None else NOTHING
            case other:
                message = f"the proposer has no use for {other.TYPE}"
                raise PermanentFailure(message)

    async def on_timer(self, key: str, context: Context) -> Effects:
        """Ask the model for a turn that waits for it; or forget a turn whose identity window is over.

        A turn that still waits for an end is kept until it has it.
        """
        asked = state.key_asked(key)
        if asked is not None:
            if self._model is None:
                raise TemporaryFailure(f"a turn waits for a model, and none is set up here: {_NO_MODEL}")
            return await self._model.ask(asked, context)
        turn_key = state.key_of(key)
        entry = state.load(context.table, key, TurnEntry)
        if entry is None:
            return NOTHING
        if not entry.completed or context.table.get(pending.follow_name(turn_key)) is not None:
            return Effects(timers=(_forget(turn_key, entry, context.clock.now() + DAY),))
        return Effects(put={key: None, **spent(context.table, turn_key, entry.round)})

    async def on_dead(self, envelope: Envelope, context: Context, reason: str) -> Effects:
        """A turn that can't be used is refused as a whole; an end that can't be told in full is told in short."""
        match envelope.event:
            case TurnSubmitted() | TurnRecorded() as turn:
                return self._refuse(turn, context, f"The turn can't be used: {reason}")
            case ActionFinished() as finished:
                return await self._finished(finished, context, deliverable=False)
            case _:
                return NOTHING

    def _turn(self, turn: AnyTurn, context: Context) -> Effects:
        """Read a turn once, at home.

        What is known already comes before what is too old: a late repeat of a turn that is remembered is a repeat.
        """
        origin = turn.origin
        at = home(origin.tenant, origin.session, context.partitions)
        if at != context.lease:
            return Effects(publish=(Publish(turn),))
        known = state.load(context.table, state.turn_name(incoming.key(origin, context)), TurnEntry)
        if known is not None:
            if known.content == incoming.content(turn):
                return NOTHING
            # The first turn of that name stands and will be completed, so nothing may be said in its name here.
            return Effects(dead=DeadLettered("the turn's id was used before, with other content"))
        late = incoming.too_late(turn, context)
        if late is not None:
            return self._refuse(turn, context, late)
        if isinstance(turn, TurnSubmitted):
            return self._submitted(turn, context)
        try:
            reading = read(turn.format, bytes(turn.response))
        except Unreadable as error:
            return self._refuse(turn, context, f"The turn can't be read: {error}")
        return self._proposed(turn, reading, context)

    def _submitted(self, turn: TurnSubmitted, context: Context) -> Effects:
        """A turn for which the model is to be run. Only what the model can be asked for is begun."""
        if self._model is None:
            message = f"the model can't be run for an agent here: {_NO_MODEL}"
            raise PermanentFailure(message)
        fault = fault_of(turn, background=self._model.takes_background)
        if fault is not None:
            return self._refuse(turn, context, f"The turn can't be run: {fault}")
        now, key = context.clock.now(), incoming.key(turn.origin, context)
        entry = incoming.entry(turn, count=0)
        return self._model.begin(turn, key, entry, _forget(key, entry, now + IDENTITY_WINDOW), now)

    def _proposed(self, turn: TurnRecorded, reading: Reading, context: Context) -> Effects:
        """The actions of a turn that was read; without any, the turn is complete as it stands."""
        now = context.clock.now()
        key = incoming.key(turn.origin, context)
        proposals = propose(Turn(turn.origin, key, 0, now), reading.calls, self._toolbox, self._settings)
        self._tell(proposals)
        entry = incoming.entry(
            turn,
            count=len(proposals.actions),
            refused=proposals.over_cap,
            reason=self._reason(reading, proposals),
            callers=state.callers_of(reading),
        )
        recorded = orjson.dumps([recorded_event(each) for each in reading.recorded])
        put = {state.turn_name(key): state.dump(entry)}
        timers = (_forget(key, entry, now + IDENTITY_WINDOW),)
        if entry.completed:
            done = completed(entry, key, response=bytes(turn.response), recorded=recorded, ends=(), now=now)
            return Effects(publish=(Publish(done),), put=put, timers=timers)
        put[state.response_name(key)] = state.dump(Kept(response=turn.response, recorded=msgspec.Raw(recorded)))
        return Effects(publish=tuple(Publish(action) for action in proposals.actions), put=put, timers=timers)

    async def _finished(self, finished: ActionFinished, context: Context, *, deliverable: bool = True) -> Effects:
        """Reply to one end, and complete the turn with the last.

        Ends come in any order and perhaps twice; the count is of places that were empty before.
        """
        ref = finished.action.ref
        entry = _entry_of(ref, context)
        waited = state.load(context.table, pending.name_of(ref), Pending)
        if waited is not None:
            return self._late(finished, waited, entry, context, deliverable=deliverable)
        if entry is None:
            known = state.load(context.table, state.turn_name(ref.turn_key), TurnEntry)
            # One of an earlier round is a repeat: the model was told of it.
            if not deliverable or (known is not None and 0 <= ref.round < known.round):
                return NOTHING
            message = "an action has ended whose turn is not known here"
            raise PermanentFailure(message)
        place = state.end_name(ref.turn_key, ref.position, ref.round)
        if entry.completed or context.table.get(place) is not None:
            return NOTHING
        now = context.clock.now()
        caller = entry.callers.get(ref.position)
        end = kept_end(finished, entry.format, None if caller is None else bytes(caller), deliverable=deliverable)
        reply = Publish(reply_of(finished, finished.status, now, end.item))
        after = msgspec.structs.replace(entry, ended=entry.ended + 1)
        if entry.open:
            return await self._round_goes_on(ref.turn_key, after, {place: state.dump(end)}, reply, end, context)
        put: dict[str, bytes | None] = {state.turn_name(ref.turn_key): state.dump(after)}
        if not after.completed:
            return Effects(publish=(reply,), put={**put, place: state.dump(end)})
        kept = state.load(context.table, state.response_name(ref.turn_key), Kept)
        done = completed(
            after,
            ref.turn_key,
            response=bytes(kept.response) if kept is not None else _NULL,
            recorded=bytes(kept.recorded) if kept is not None else _EMPTY,
            ends=_in_order(ref, end, context),
            now=now,
        )
        return Effects(publish=(reply, Publish(done)), put={**put, **spent(context.table, ref.turn_key, 0)})

    async def _round_goes_on(
        self, key: str, after: TurnEntry, put: dict[str, bytes], reply: Publish, end: End, context: Context
    ) -> Effects:
        """One more end in a round of the model's; after the last the model is asked again."""
        if self._model is None:
            raise TemporaryFailure(f"a turn waits for a model, and none is set up here: {_NO_MODEL}")
        timers: tuple[Timer, ...] = ()
        after = await self._model.told(key, after, bytes(end.event), context)
        if after.ended >= after.count:
            after, wake = self._model.next_round(key, after, context.clock.now())
            timers = (wake,)
        return Effects(publish=(reply,), put={**put, state.turn_name(key): state.dump(after)}, timers=timers)

    async def _waiting(self, event: ActionInDoubt | ActionDecided, context: Context) -> Effects:
        """Tell the agent that a call waits, and the model if the turn says so; old news once the end was told."""
        ref = event.action.ref
        entry = _entry_of(ref, context)
        place, name = state.end_name(ref.turn_key, ref.position, ref.round), pending.name_of(ref)
        before = state.load(context.table, name, Pending)
        if entry is None or entry.completed or (before is None and context.table.get(place) is not None):
            return NOTHING
        status = "in_doubt" if isinstance(event, ActionInDoubt) else "approval_required"
        reply = Publish(reply_of(event, status, context.clock.now(), None))
        if not (entry.open and entry.tell):
            return Effects(publish=(reply,))
        waits = Pending(status=status, approval_id=event.decision.approval_id)
        if before == waits:
            return NOTHING
        put = {name: state.dump(waits)}
        if before is not None:
            return Effects(publish=(reply,), put=put)
        caller = entry.callers.get(ref.position)
        end = pending.waiting_end(event, None if caller is None else bytes(caller))
        after = msgspec.structs.replace(entry, ended=entry.ended + 1)
        return await self._round_goes_on(ref.turn_key, after, {**put, place: state.dump(end)}, reply, end, context)

    def _late(
        self,
        finished: ActionFinished,
        waited: Pending,
        entry: TurnEntry | None,
        context: Context,
        *,
        deliverable: bool,
    ) -> Effects:
        """The end of a call that the model was told is pending: its answer after all, if the model is not asked yet.

        Otherwise the follow-up tells it. The turn's own entry is left alone, since an answer may be on its way.
        """
        ref, now = finished.action.ref, context.clock.now()
        name, key = pending.name_of(ref), ref.turn_key
        if entry is not None:
            caller = entry.callers.get(ref.position)
            end = kept_end(finished, entry.format, None if caller is None else bytes(caller), deliverable=deliverable)
            place = state.end_name(key, ref.position, ref.round)
            reply = Publish(reply_of(finished, finished.status, now, end.item))
            return Effects(publish=(reply,), put={place: state.dump(end), name: None})
        if waited.result is not None:
            return NOTHING
        result = pending.result_of(finished, deliverable=deliverable)
        after = msgspec.structs.replace(waited, result=result)
        publish = (Publish(reply_of(finished, finished.status, now, result)),)
        turn = state.load(context.table, state.turn_name(key), TurnEntry)
        follow = state.load(context.table, pending.follow_name(key), FollowUp)
        if turn is not None and follow is not None:
            begun, changes = pending.launched(context.table, key, turn, follow, {name: after}, now)
            if begun is not None:
                return Effects(publish=(*publish, Publish(begun)), put=changes)
        return Effects(publish=publish, put={name: state.dump(after)})

    def _refuse(self, turn: AnyTurn, context: Context, reason: str) -> Effects:
        """End a turn of which nothing is run. Away from home it is only said, and nothing remembered."""
        origin = turn.origin
        now = context.clock.now()
        key = incoming.key(origin, context)
        name = state.turn_name(key)
        if context.table.get(name) is not None:
            return NOTHING
        entry = incoming.entry(turn, count=0, refused=True, reason=reason)
        response = bytes(turn.response) if isinstance(turn, TurnRecorded) else _NULL
        done = Publish(completed(entry, key, response=response, recorded=_EMPTY, ends=(), now=now))
        if home(origin.tenant, origin.session, context.partitions) != context.lease:
            return Effects(publish=(done,))
        timers = (_forget(key, entry, now + IDENTITY_WINDOW),)
        return Effects(publish=(done,), put={name: state.dump(entry)}, timers=timers)

    def _reason(self, reading: Reading, proposals: Proposals) -> str | None:
        """What the agent is told of the turn as a whole."""
        if proposals.over_cap:
            return f"{len(proposals.actions)} calls are more than the {self._settings.turn_cap} allowed in one turn"
        return reading.note

    def _tell(self, proposals: Proposals) -> None:
        """Count what was proposed, and log what the user's declarations did wrong."""
        for action in proposals.actions:
            fault = action.fault.code if action.fault is not None else ""
            self._metrics.proposed(fault, action.ref.tool, action.domain, action.ref.tenant)
        for problem in proposals.problems:
            self._log.warning(
                "a tool's declaration failed",
                tool=problem.tool,
                declaration=problem.declaration,
                error=problem.error,
            )


def _owner(event: Event) -> tuple[str, str]:
    """Tenant and session: whose share, and whose lane."""
    match event:
        case TurnSubmitted() | TurnRecorded():
            return event.origin.tenant, event.origin.session
        case ActionFinished() | ActionInDoubt() | ActionDecided():
            return event.action.ref.tenant, event.action.ref.session
        case _:
            return "", event.TYPE


def _entry_of(ref: ActionRef, context: Context) -> TurnEntry | None:
    """The turn that an event is about, or None where it has no such turn or place."""
    entry = state.load(context.table, state.turn_name(ref.turn_key), TurnEntry)
    if entry is None or ref.round != entry.round or not 0 <= ref.position < entry.count:
        return None
    return entry


def _in_order(ref: ActionRef, last: End, context: Context) -> list[End]:
    """All answers of a turn in the response's order; the last is not in the table yet."""
    ends = {
        name: msgspec.json.decode(raw, type=End) for name, raw in context.table.items(state.ends_prefix(ref.turn_key))
    }
    ends[state.end_name(ref.turn_key, ref.position)] = last
    return [ends[name] for name in sorted(ends)]


def _forget(turn_key: str, entry: TurnEntry, due: float) -> Timer:
    """The timer that ends a turn's identity."""
    return Timer(key=state.turn_name(turn_key), lane=state.lane_of(entry.tenant, entry.session), due=due)
