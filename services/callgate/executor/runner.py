"""From a decision that may go to an end: claim, check again, run, finish. Each is a stage, committed before the next.

A crash between two stages leaves a claim behind. Its horizon is a durable timer, so whoever holds the lease then
settles it: by another start where the tool says that this is harmless, by its probe, or by saying that it is in doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from callgate.control.scopes import Subject, Switches
from callgate.events.actions import ActionDecided, Effect, Status
from callgate.events.states import State
from callgate.executor import claim as claims
from callgate.executor import ending, gate, order, running
from callgate.executor.calling import arguments_of, call_of, response_of
from callgate.executor.claim import Standing
from callgate.executor.ending import Place
from callgate.executor.limits import Limits
from callgate.executor.memory import Memory
from callgate.executor.questions import Questions
from callgate.failures import TemporaryFailure
from callgate.log.port import LeaseLost
from callgate.settings import ExecutorSettings
from callgate.telemetry.metrics import Metrics
from callgate.tools.toolbox import Entry, Toolbox
from callgate.worker.effects import Context, Effects, Timer

AGAIN_SECONDS = 1.0
"""How long a claim is left alone whose tool is still running here."""

AGAIN_LATER_SECONDS = 60.0
"""How long a probe that could not tell is left alone, and a start that is held."""

_logger = structlog.get_logger(__name__)


class Runner:
    """Starts tools, and says what came of them."""

    def __init__(
        self,
        toolbox: Toolbox,
        settings: ExecutorSettings,
        switches: Callable[[], Switches],
        metrics: Metrics,
        questions: Questions | None = None,
    ) -> None:
        """`switches` gives what is in force at the moment. Without `questions` nobody is asked what is in doubt."""
        self._questions = questions
        self._toolbox = toolbox
        self._settings = settings
        self._switches = switches
        self._metrics = metrics
        self._memory = Memory()
        self._limits = Limits()
        self._tools: set[asyncio.Task[running.Result]] = set()

    def passage(self, decided: ActionDecided, context: Context) -> gate.Passage:
        """What the gate says now."""
        return gate.pass_gate(decided, self._around(decided, context))

    def ended_by_gate(self, decided: ActionDecided, place: Place, ended: gate.End, context: Context) -> Effects:
        """The end of what never started."""
        if ended.status == "not_executed" and decided.decision.verdict == "allow":
            # Of all ends the one that an operator can mend: other tools here than at the proposer, say.
            ref = decided.action.ref
            _logger.warning("not started", action_id=ref.id, tool=ref.tool, reason=ended.reason)
        self._count(decided, ended.status, "gate")
        return ending.end(
            decided,
            place,
            context.table,
            now=context.clock.now(),
            status=ended.status,
            via="gate",
            output=response_of(decided) if ended.status == "responded" else None,
            error=None if ended.status == "responded" else ended.reason,
        )

    def claim(self, decided: ActionDecided, place: Place, standing: Standing | None, context: Context) -> Effects:
        """Claim the one start; the start itself is the next stage."""
        claimed = claims.claimed(
            decided,
            standing,
            now=context.clock.now(),
            start_seconds=self._settings.start_seconds,
            skew_seconds=self._settings.skew_seconds,
            epoch=context.epoch,
        )
        assert claimed.horizon is not None
        assert claimed.token is not None
        entry = self._entry(decided)
        now, until = context.clock.now(), claimed.start_by or 0.0
        if entry is not None and not self._limits.take(entry.tool, claimed.token, until=until, now=now):
            raise TemporaryFailure(f"{entry.tool.name} runs as often at once as it may")
        self._memory.claimed(claimed.token)
        # What keeps no order holds up nothing from here on; the others do until they have ended.
        free = order.is_free(decided.action)
        passing = ending.passed(decided.action, place, context.table, context.clock.now()) if free else Effects()
        return Effects(
            put={place.key: ending.keep(claimed), **passing.put},
            timers=(Timer(f"{ending.HORIZON}{place.key}", place.lane, claimed.horizon), *passing.timers),
            then=lambda: self._start(decided, place, claimed, context),
        )

    async def settle(self, standing: Standing, place: Place, context: Context) -> Effects:
        """A claim's horizon has passed, and it has no end: find one, or say that it is in doubt."""
        decided = standing.decided
        now = context.clock.now()
        if decided is None or standing.horizon is None or now < standing.horizon:
            return Effects()
        known = self._recollected(standing, place, context)
        if known is not None:
            return known
        entry = self._entry(decided)
        probes = entry is not None and entry.tool.probe is not None
        effect = self._effect(decided)
        way = claims.settlement(effect, standing.runs, self._settings.attempts, probes=probes)
        again: float | None = None
        if way == "run_again":
            passage = self.passage(decided, context)
            # A stale yes covers no further start, also of a tool that may be started again.
            if isinstance(passage, gate.Go):
                return self.claim(decided, place, standing, context)
            if effect == "read" and isinstance(passage, gate.End):
                return self._refused_again(decided, place, standing, passage, context)
            if effect == "read":
                return self.turned_away(decided, place, passage, context)
            again = now + AGAIN_LATER_SECONDS if isinstance(passage, gate.Wait) else None
        if way == "probe" and entry is not None:
            found = await running.probe(entry.tool, call_of(decided), arguments_of(decided))
            if found is not None:
                return self._probed(decided, place, standing, context, found=found)
            again = now + AGAIN_LATER_SECONDS
        if effect == "read":
            error = "The tool was started and did not answer."
            return self._failed(decided, place, standing, None, error, context)
        reason = "its worker went away between the claim and the end"
        probing = way == "probe"
        return self._doubted(standing, place, context, reason, standing.horizon, None, again, probing=probing)

    def recalled(self, standing: Standing | None, place: Place, context: Context) -> Effects | None:
        """The end of a claim whose tool has come back to this very process, where nothing of it could be committed."""
        if standing is None or standing.state is not State.CLAIMED or standing.decided is None:
            return None
        known = self._memory.recall(standing.token)
        if known is None or known.started_at is None or known.result is None:
            return None
        return self._ended(standing.decided, place, standing, known.started_at, known.result, context)

    def turned_away(self, decided: ActionDecided, place: Place, passage: gate.Passage, context: Context) -> Effects:
        """What becomes of an action that the gate does not let pass. Raises TemporaryFailure where it has to wait."""
        match passage:
            case gate.Wait():
                raise TemporaryFailure(passage.reason)
            case gate.Again():
                return ending.back(decided, place, passage.reason, context.clock.now())
            case gate.End():
                return self.ended_by_gate(decided, place, passage, context)
            case gate.Go():
                message = "what may go is not turned away"
                raise ValueError(message)

    def _recollected(self, standing: Standing, place: Place, context: Context) -> Effects | None:
        """What this process itself knows of a claim past its horizon, if it is one of its own."""
        decided, known = standing.decided, self._memory.recall(standing.token)
        if known is None or decided is None or standing.state is not State.CLAIMED:
            return None
        if known.started_at is not None:
            ended = self.recalled(standing, place, context)
            if ended is None and known.result is None:
                # Its tool is bounded by its time-out, so this is a matter of moments.
                later = Timer(f"{ending.HORIZON}{place.key}", place.lane, context.clock.now() + AGAIN_SECONDS)
                return Effects(timers=(later,))
            return ended
        # Past its horizon nobody can start it any more: the claim is withdrawn as if it had never been made.
        passage = self.passage(decided, context)
        if isinstance(passage, gate.Go):
            unused = msgspec.structs.replace(standing, runs=standing.runs - 1)
            return self.claim(decided, place, unused, context)
        if isinstance(passage, gate.End | gate.Again) and standing.runs > 1:
            return self._unused(decided, place, standing, passage, context)
        return self.turned_away(decided, place, passage, context)

    def _unused(
        self, decided: ActionDecided, place: Place, claimed: Standing, refused: gate.End | gate.Again, context: Context
    ) -> Effects:
        """The end of a claim that its own worker knows it never used: nobody else could know.

        Of an earlier start of the same action nobody knows the end: that is in doubt all the same.
        """
        if claimed.runs > 1 and self._effect(decided) == "read":
            return self._refused_again(decided, place, claimed, refused, context)
        if claimed.runs > 1:
            reason = f"an earlier start has no known end, and another one was refused: {refused.reason}"
            return self._doubted(claimed, place, context, reason, claimed.horizon, None, None)
        return self.turned_away(decided, place, refused, context)

    async def _start(self, decided: ActionDecided, place: Place, claimed: Standing, context: Context) -> Effects:
        """The stage after the claim: the last look, then the tool."""
        entry = self._entry(decided)
        try:
            held = await context.held()
        except TemporaryFailure:
            unsure = gate.End("not_executed", "It could not be confirmed that it may start, so it was not started.")
            return self._unused(decided, place, claimed, unsure, context)
        if not held:
            raise LeaseLost("the lease was lost between the claim and the start: the tool is not started")
        # Nothing may wait between this look and the start.
        around = self._around(decided, context)
        assert claimed.start_by is not None
        refused = gate.still_good(decided, around, claimed.start_by)
        if refused is not None or entry is None:
            gone = gate.End("not_executed", "The tool is not available.")
            return self._unused(decided, place, claimed, refused or gone, context)
        started = context.clock.now()
        decision = decided.decision
        self._metrics.started(started - decided.action.proposed_at - decision.bighub_seconds - decision.waited_seconds)
        result = await self._run(entry, decided, claimed, started)
        self._metrics.tool_ran(decided.action.ref.tool, context.clock.now() - started)
        return self._ended(decided, place, claimed, started, result, context)

    async def _run(self, entry: Entry, decided: ActionDecided, claimed: Standing, started: float) -> running.Result:
        """Run the tool. It goes on when the lease is lost meanwhile: cut off, nobody would know how far it had come."""
        token = claimed.token
        assert token is not None
        self._memory.started(token, started)
        self._limits.started(entry.tool, token)
        # The claim's horizon was reckoned with the time-out that the event carries: no start may outlast it.
        seconds = min(entry.tool.timeout_seconds, decided.action.timeout_seconds)
        limit = self._settings.output_bytes
        task = asyncio.create_task(
            running.run(entry.tool, call_of(decided), arguments_of(decided), seconds=seconds, output_bytes=limit)
        )

        def came_back(done: asyncio.Task[running.Result]) -> None:
            self._tools.discard(done)
            self._limits.ended(entry.tool, token)
            if not done.cancelled():
                self._memory.ended(token, done.result())

        self._tools.add(task)
        task.add_done_callback(came_back)
        return await asyncio.shield(task)

    def _ended(
        self,
        decided: ActionDecided,
        place: Place,
        claimed: Standing,
        started: float,
        result: running.Result,
        context: Context,
    ) -> Effects:
        now, table = context.clock.now(), context.table
        match result:
            case running.Returned():
                self._count(decided, "executed", "run")
                return ending.end(
                    decided, place, table, now=now, status="executed", via="run",
                    claim=claimed, started_at=started, output=result.output, error=result.error,
                )  # fmt: skip
            case running.Raised():
                return self._failed(decided, place, claimed, started, result.error, context)
            case running.TimedOut():
                effect = self._effect(decided)
                if effect == "read":
                    # Without an effect there is nothing to be in doubt about.
                    return self._failed(decided, place, claimed, started, result.reason, context)
                horizon = None if result.outlived else now + self._settings.skew_seconds
                again = horizon if effect in {"idempotent", "verifiable"} else None
                return self._doubted(claimed, place, context, result.reason, horizon, started, again)

    def _failed(
        self,
        decided: ActionDecided,
        place: Place,
        claimed: Standing,
        started: float | None,
        error: str,
        context: Context,
    ) -> Effects:
        self._count(decided, "tool_error", "run")
        return ending.end(
            decided, place, context.table, now=context.clock.now(), status="tool_error", via="run",
            claim=claimed, started_at=started, error=error,
        )  # fmt: skip

    def _refused_again(
        self, decided: ActionDecided, place: Place, claimed: Standing, refusal: gate.End | gate.Again, context: Context
    ) -> Effects:
        """The end of a start without an effect that did not answer, and may not be made again: it was started once."""
        error = f"The tool was started and did not answer, and another start was refused: {refusal.reason}"
        return self._failed(decided, place, claimed, None, error, context)

    def settled(self, standing: Standing, place: Place, decided: ActionDecided, context: Context) -> Effects:
        """The end that people have given to what is in doubt. Raises TemporaryFailure before the claim's horizon."""
        before, word = standing.decided, decided.decision
        if before is None:
            return Effects()
        now = context.clock.now()
        if standing.horizon is not None and now < standing.horizon:
            raise TemporaryFailure("its tool may still be running", delay=standing.horizon - now)
        status: Status = word.settled or "unknown"
        self._count(before, status, "person")
        response = response_of(decided)
        return ending.end(
            before, place, context.table, now=now, status=status, via="person",
            claim=standing, output=response, error=None if response is not None else word.told,
        )  # fmt: skip

    def _probed(
        self, decided: ActionDecided, place: Place, standing: Standing, context: Context, *, found: bool
    ) -> Effects:
        status: Status = "executed" if found else "not_executed"
        self._count(decided, status, "probe")
        note = "found by its probe; the output is not known" if found else "its probe says that it never happened"
        return ending.end(
            decided, place, context.table, now=context.clock.now(), status=status, via="probe",
            claim=standing, error=note,
        )  # fmt: skip

    def _effect(self, decided: ActionDecided) -> Effect:
        """What may be believed of the tool's effect: what its call was proposed with, if the tool still says so."""
        entry, proposed = self._entry(decided), decided.action.effect
        return proposed if entry is not None and entry.tool.effect == proposed else "unsafe"

    def _doubted(  # noqa: PLR0913 - a doubt has this many facts
        self,
        standing: Standing,
        place: Place,
        context: Context,
        reason: str,
        horizon: float | None,
        started: float | None,
        again: float | None,
        *,
        probing: bool = False,
    ) -> Effects:
        decided = standing.decided
        if decided is not None and not standing.doubted:
            ref = decided.action.ref
            self._metrics.doubted(ref.tool, decided.action.domain, ref.tenant)
            _logger.warning("in doubt", action_id=ref.id, tool=ref.tool, reason=reason)
        return ending.doubt(
            standing,
            place,
            context.table,
            now=context.clock.now(),
            reason=reason,
            horizon=horizon,
            started_at=started,
            look_again=again,
            # What is tried again by itself within moments need not bother anybody.
            ask=self._questions.about(standing, context) if self._questions and (again is None or probing) else None,
        )

    def _around(self, decided: ActionDecided, context: Context) -> gate.Surroundings:
        action, ref = decided.action, decided.action.ref
        switches = self._switches()
        subject = Subject(ref.tenant, ref.agent, ref.tool, action.domain)
        entry = self._entry(decided)
        return gate.Surroundings(
            now=context.clock.now(),
            tool_version=entry.version if entry is not None else None,
            stopped=switches.stopped(subject),
            held=switches.held(subject),
            readable=switches.readable,
            skew_seconds=self._settings.skew_seconds,
            attempts=self._settings.attempts,
        )

    def _entry(self, decided: ActionDecided) -> Entry | None:
        ref = decided.action.ref
        entry = self._toolbox.entry(ref.tool)
        return entry if entry is not None and entry.tool.accepts(ref.kind) else None

    def _count(self, decided: ActionDecided, status: str, via: str) -> None:
        ref = decided.action.ref
        self._metrics.finished(status, via, ref.tool, decided.action.domain, ref.tenant)
