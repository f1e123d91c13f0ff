"""The model loop: a turn for which the model is run, round by round, until its last word.

Everything that a turn is waiting for is in the lease's table, and the model is asked by a durable timer: after a crash,
and also days later, whichever process has the lease goes on. An answer counts only with the unit that commits it. One
that was lost before that has had no effect, and is asked for again; so the actions of a round are those of the one
answer that was committed, and their ids follow from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import msgspec
import orjson
import structlog

from callgate.control.scopes import Subject, Switches
from callgate.events import ids
from callgate.events.turns import AnswerAnnounced, TurnSubmitted
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.log.port import Log
from callgate.proposer import background, pending, rounds, state
from callgate.proposer.asking import KeyRefused, Model
from callgate.proposer.completing import Conversation, completed, recorded_event
from callgate.proposer.proposing import Proposals, Turn, propose
from callgate.proposer.rounds import Judged, Usage
from callgate.proposer.state import Asked, End, Kept, TurnEntry
from callgate.proposer.streaming import Strand
from callgate.settings import Settings
from callgate.telemetry.metrics import Metrics
from callgate.tools.definitions import definitions
from callgate.tools.toolbox import Toolbox
from callgate.worker.effects import NOTHING, Context, Effects, Publish, Table, Timer

_NULL = b"null"

_log = structlog.get_logger(__name__)


class Conversing:
    """What is done about turns for which the model is run; the handler does the rest."""

    def __init__(
        self,
        model: Model,
        toolbox: Toolbox,
        settings: Settings,
        metrics: Metrics,
        *,
        log: Log,
        switches: Callable[[], Switches],
        tell: Callable[[Proposals], None],
    ) -> None:
        """`tell` counts and logs what was proposed; `switches` gives what is in force at the moment."""
        self._model = model
        self._toolbox = toolbox
        self._settings = settings
        self._metrics = metrics
        self._log = log
        self._switches = switches
        self._tell = tell
        # Until when a turn waited for something else than a failing model; the latest last.
        self._excused: dict[str, float] = {}

    @property
    def takes_background(self) -> bool:
        """Whether turns may have their answers made in the background."""
        return self._settings.model.background_seconds > 0

    def begin(self, turn: TurnSubmitted, key: str, entry: TurnEntry, forget: Timer, now: float) -> Effects:
        """Remember a turn and wake the one who asks. `entry` says who and what; the rest of it is filled in here."""
        stream, tell = rounds.wants_stream(bytes(turn.options)), turn.pending == "tell"
        opened = msgspec.structs.replace(entry, open=True, stream=stream, tell=tell)
        asked = Asked(
            origin=turn.origin,
            model=turn.model,
            input=turn.input,
            options=turn.options,
            max_tool_rounds=turn.max_tool_rounds,
        )
        put = {state.turn_name(key): state.dump(opened), state.asked_name(key): state.dump(asked)}
        return Effects(put=put, timers=(forget, _wake(key, entry.tenant, now)))

    async def told(self, key: str, entry: TurnEntry, event: bytes, context: Context) -> TurnEntry:
        """The entry after an end was told to whoever listens.

        It is told before the commit, since the end itself is a fact already: later its number could be overtaken.
        """
        if not entry.stream:
            return entry
        strand = Strand(self._log, context.clock, key, entry)
        strand.add("execution_event", orjson.loads(event))
        await strand.flush()
        return msgspec.structs.replace(entry, streamed=strand.end)

    def next_round(self, key: str, entry: TurnEntry, now: float) -> tuple[TurnEntry, Timer]:
        """The entry of a turn whose calls have all ended, and the timer that asks the model for what follows."""
        after = msgspec.structs.replace(entry, round=entry.round + 1, count=0, ended=0, callers={})
        return after, _wake(key, entry.tenant, now)

    def announced(self, event: AnswerAnnounced, context: Context) -> Effects:
        """Look at an answer in the background now rather than later, where it is the one that the turn waits for."""
        entry = state.load(context.table, state.turn_name(event.turn_key), TurnEntry)
        if entry is None or entry.remote != event.response_id:
            return NOTHING
        return Effects(timers=(_wake(event.turn_key, entry.tenant, context.clock.now()),))

    async def ask(self, key: str, context: Context) -> Effects:
        """Ask the model, once for each time that the turn waits for it. Raises `TemporaryFailure`: not yet."""
        entry = state.load(context.table, state.turn_name(key), TurnEntry)
        asked = state.load(context.table, state.asked_name(key), Asked)
        if entry is None or asked is None or not entry.asking:
            return NOTHING
        strand = Strand(self._log, context.clock, key, entry)
        try:
            stopped = self._stopped(key, asked, context.clock.now())
            if stopped is not None:
                await self._give_up(entry)
                return self._end(key, entry, context, strand, "failed", f"stopped: {stopped}")
            response, judged = await self._answer(key, asked, entry, context, strand)
        except PermanentFailure as failure:
            return self._end(key, entry, context, strand, "failed", failure.reason)
        except TemporaryFailure as failure:
            waited = context.clock.now() - max(context.first_tried, self._excused.get(key, 0.0))
            if waited < self._settings.model.patience_seconds:
                raise
            reason = f"the model could not be asked for {waited:.0f} s: {failure.reason}"
            return self._end(key, entry, context, strand, "failed", reason)
        self._excused.pop(key, None)
        if judged.outcome == "running":
            return await self._look_later(key, entry, context, strand, response)
        if judged.outcome == "calls" and entry.round >= asked.max_tool_rounds:
            reason = f"the model still calls tools after {asked.max_tool_rounds} rounds of them; nothing of it was run"
            return self._end(key, entry, context, strand, "failed", reason, response=response, usage=judged.usage)
        if judged.outcome == "calls":
            return self._propose(key, asked, entry, context, strand, response, judged)
        failed: Literal["failed", "incomplete"] | None = None
        if judged.outcome != "final":
            failed = "incomplete" if judged.outcome == "incomplete" else "failed"
        return self._end(key, entry, context, strand, failed, judged.reason, response=response, usage=judged.usage)

    async def _answer(
        self, key: str, asked: Asked, entry: TurnEntry, context: Context, strand: Strand
    ) -> tuple[bytes, Judged]:
        """One answer that may be acted on, or that ends the turn."""
        body = rounds.request(
            asked.model,
            bytes(asked.input),
            bytes(asked.options),
            _history(context.table, key, entry.round),
            definitions(self._toolbox),
        )
        if entry.stream and entry.remote is None:
            strand.add("llm_started", {"model": asked.model, "asking": f"{context.epoch}.{context.attempt}"})
        began = context.clock.monotonic()
        outcome = "failed"
        try:
            response = await self._ask_or_look(key, entry, body, strand)
            judged = rounds.judge(response)
            if rounds.wants_background(bytes(asked.options)):
                judged = _in_background(response, judged, looked=entry.remote is not None)
            outcome = judged.outcome
            if judged.outcome == "again":
                raise TemporaryFailure(judged.reason or "the model failed")
        except KeyRefused:
            outcome = "unauthorized"
            self._excuse(key, context.clock.now())
            raise
        except PermanentFailure:
            outcome = "refused"
            raise
        finally:
            self._metrics.model_answered(outcome, context.clock.monotonic() - began)
            await strand.flush()
        if judged.usage is not None:
            ref = asked.origin
            self._metrics.tokens(judged.usage.input_tokens, judged.usage.output_tokens, ref.agent, ref.tenant)
        return response, judged

    async def _ask_or_look(self, key: str, entry: TurnEntry, body: dict[str, Any], strand: Strand) -> bytes:
        """A new answer, or how the one in the background stands: one that was begun is never begun again."""
        if entry.remote is not None:
            return await self._model.look(entry.remote)
        if body.get("background"):
            # It streams nothing: there is nobody to hear.
            return await self._model.ask(background.labelled(body, key), once=ids.fingerprint(key, entry.round))
        return await self._model.ask(body, strand.hear if entry.stream else None)

    async def _look_later(
        self, key: str, entry: TurnEntry, context: Context, strand: Strand, response: bytes
    ) -> Effects:
        """Keep the id of an answer in the background and look again; one that takes too long is given up."""
        now, most = context.clock.now(), self._settings.model.background_seconds
        remote = background.running(response)
        after = entry
        if entry.remote is None:
            after = msgspec.structs.replace(entry, remote=remote, remote_since=now, streamed=strand.end)
        elapsed = now - after.remote_since
        if elapsed >= most:
            await self._give_up(after)
            reason = f"the model did not finish in the background within {most:g} s"
            return self._end(key, after, context, strand, "failed", reason)
        due = now + min(background.poll_after(elapsed, self._settings.model.poll_seconds), most - elapsed)
        return Effects(put={state.turn_name(key): state.dump(after)}, timers=(_wake(key, entry.tenant, due),))

    async def _give_up(self, entry: TurnEntry) -> None:
        """Cancel what the provider still makes. Failing at that costs tokens, and is no trouble of the turn's."""
        if entry.remote is None:
            return
        try:
            await self._model.cancel(entry.remote)
        except (TemporaryFailure, PermanentFailure) as failure:
            _log.info("a background answer was not cancelled", failure=str(failure))

    def _propose(
        self,
        key: str,
        asked: Asked,
        entry: TurnEntry,
        context: Context,
        strand: Strand,
        response: bytes,
        judged: Judged,
    ) -> Effects:
        """The actions of an answer, in one unit with the answer."""
        assert judged.reading is not None
        now = context.clock.now()
        turn = Turn(asked.origin, key, entry.round, now)
        proposals = propose(turn, judged.reading.calls, self._toolbox, self._settings.proposer)
        self._tell(proposals)
        after = msgspec.structs.replace(
            entry,
            count=len(proposals.actions),
            ended=0,
            callers=state.callers_of(judged.reading),
            streamed=strand.end,
            remote=None,
        )
        recorded = orjson.dumps([recorded_event(each) for each in judged.reading.recorded])
        kept = Kept(response=msgspec.Raw(response), recorded=msgspec.Raw(recorded), usage=judged.usage)
        put = {state.turn_name(key): state.dump(after), state.response_name(key, entry.round): state.dump(kept)}
        return Effects(publish=tuple(Publish(action) for action in proposals.actions), put=put)

    def _end(  # noqa: PLR0913 - all that a turn can end with
        self,
        key: str,
        entry: TurnEntry,
        context: Context,
        strand: Strand,
        failure: Literal["failed", "incomplete"] | None,
        reason: str | None,
        *,
        response: bytes | None = None,
        usage: Usage | None = None,
    ) -> Effects:
        """Complete the turn. The items are those that a next request may hold: never a call without its answer."""
        past = [_kept(context.table, key, number) for number in range(entry.round)]
        items = _history(context.table, key, entry.round)
        if response is not None and failure is None:
            items.extend(rounds.output_items(response))
        counted = [kept.usage for kept in past if kept.usage is not None] + ([usage] if usage is not None else [])
        total = None
        for each in counted:
            total = each if total is None else total.plus(each)
        asked = state.load(context.table, state.asked_name(key), Asked)
        follow = pending.prepared(context.table, key, entry, asked, items) if asked is not None else None
        named = pending.next_key(entry, key) if follow is not None else None
        conversation = Conversation(items, entry.round + (response is not None), total, named)
        done_entry = msgspec.structs.replace(entry, open=False, failure=failure, reason=reason)
        done = completed(
            done_entry,
            key,
            response=response if response is not None and _readable(response) else _NULL,
            recorded=orjson.dumps([event for kept in past for event in orjson.loads(bytes(kept.recorded))]),
            ends=_ends(context.table, key),
            now=context.clock.now(),
            conversation=conversation,
        )
        then = None
        if entry.stream:
            strand.add("final_response", {"response": orjson.Fragment(bytes(done.llm_response))})
            kind = "response_done" if failure is None else "response_failed"
            strand.add(kind, {"status": done.status, "reason": reason, "rounds": done.rounds})
            then = _after(strand)
        self._excused.pop(key, None)
        last = msgspec.structs.replace(done_entry, streamed=strand.end, count=0, ended=0, callers={}, remote=None)
        put: dict[str, bytes | None] = {
            state.turn_name(key): state.dump(last),
            **spent(context.table, key, entry.round),
        }
        if follow is None:
            return Effects(publish=(Publish(done),), put=put, then=then)
        begun, changes = pending.launched(context.table, key, last, follow, {}, context.clock.now())
        after = (Publish(begun),) if begun is not None else ()
        return Effects(publish=(Publish(done), *after), put={**put, **changes}, then=then)

    def _stopped(self, key: str, asked: Asked, now: float) -> str | None:
        """Why the model may not be asked any more; raises where it may not be asked for now."""
        switches = self._switches()
        origin = asked.origin
        subject = Subject(origin.tenant, origin.agent, "", origin.domain)
        if not switches.readable:
            self._excuse(key, now)
            raise TemporaryFailure("the control topic can't be read: no model is asked until it can")
        if (reason := switches.stopped(subject)) is not None:
            return reason
        if (reason := switches.held(subject)) is not None:
            self._excuse(key, now)
            raise TemporaryFailure(f"held: {reason}")
        return None

    def _excuse(self, key: str, now: float) -> None:
        self._excused.pop(key, None)
        self._excused[key] = now
        while (oldest := next(iter(self._excused))) and (
            self._excused[oldest] < now - self._settings.model.patience_seconds
        ):
            del self._excused[oldest]


_Then = Callable[[], Awaitable[Effects]]


def spent(table: Table, key: str, round_: int) -> dict[str, bytes | None]:
    """The entries that a completed turn needs no more; only its identity stays."""
    names = [name for name, _ in table.items(state.ends_prefix(key))]
    responses = [state.response_name(key, number) for number in range(round_ + 1)]
    return dict.fromkeys([*names, *responses, state.asked_name(key)])


def _in_background(response: bytes, judged: Judged, *, looked: bool) -> Judged:
    """What an answer means that may still be made; one that has failed there stays failed, however it is asked for."""
    try:
        if background.running(response) is not None:
            return Judged("running")
    except ValueError:
        return Judged("failed", "the model's background answer has no id that can be asked for")
    if looked and judged.outcome == "again":
        return Judged("failed", judged.reason, usage=judged.usage)
    return judged


def _after(strand: Strand) -> _Then:
    """What is said only once it is true: after the commit, and not at all if there is none."""

    async def say() -> Effects:
        await strand.flush()
        return NOTHING

    return say


def _wake(key: str, tenant: str, due: float) -> Timer:
    return Timer(key=state.asked_name(key), lane=state.ask_lane(key), due=due, tenant=tenant)


def _kept(table: Table, key: str, round_: int) -> Kept:
    kept = state.load(table, state.response_name(key, round_), Kept)
    assert kept is not None, "an answer is committed together with the calls that follow from it"
    return kept


def _history(table: Table, key: str, past: int) -> list[bytes]:
    """Everything since the turn's own input: the model's items and the answers to its calls, round by round."""
    items: list[bytes] = []
    ends = sorted(table.items(state.ends_prefix(key)))
    for number in range(past):
        items.extend(rounds.output_items(bytes(_kept(table, key, number).response)))
        items.extend(_answers(ends, key, number))
    return items


def _answers(ends: Sequence[tuple[str, bytes]], key: str, round_: int) -> list[bytes]:
    prefix = state.end_name(key, 0, round_)[:-8]
    found = [
        msgspec.json.decode(raw, type=End)
        for name, raw in ends
        if name.startswith(prefix) and name[len(prefix) :].isdigit()
    ]
    return [bytes(end.item) for end in found if end.item is not None]


def _ends(table: Table, key: str) -> list[End]:
    return [msgspec.json.decode(raw, type=End) for _, raw in sorted(table.items(state.ends_prefix(key)))]


def _readable(response: bytes) -> bool:
    """Whether an answer can stand in an event: it must be JSON, and leave room for the rest."""
    try:
        value: Any = orjson.loads(response)
    except orjson.JSONDecodeError:
        return False
    return value is not None and len(response) <= rounds.MOST_BYTES
