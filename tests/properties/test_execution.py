"""Whatever comes in whatever order, and wherever the executor dies: one end per action, no start too many, no hang."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.execution_bench import SETTINGS, Crash, ExecutionBench

from callgate.control.scopes import Switches
from callgate.events import topics
from callgate.events.actions import ActionDecided, Effect
from callgate.events.control import ControlChanged
from callgate.failures import TemporaryFailure
from callgate.log.port import LeaseLost

POSITIONS = 4
APPROVAL = "apr_000_aaaaaaaaaaaaaaaaaaaaaaaa"
_EFFECTS: tuple[Effect, ...] = ("unsafe", "idempotent", "verifiable", "read")

_faults = st.none() | st.tuples(
    st.sampled_from(
        ["die before", "die after", "lose before", "lose after", "not held", "unsure", "stop after", "hold after"]
    ),
    st.integers(0, 1),
)
_works = st.one_of(
    st.tuples(st.just("deliver"), st.integers(0, POSITIONS - 1), st.integers(0, 1)),
    st.tuples(st.just("sent on"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("again"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([0, 1, 7, 40, 120]), st.just(0)),
    st.tuples(st.just("wait"), st.just(40), st.just(0)),
)
steps = st.tuples(_works, _faults, st.sampled_from(["clear"] * 7 + ["stop", "hold", "unreadable"]))
"""What may happen next, what strikes it, and what the switches say meanwhile."""

beginnings = st.permutations(range(POSITIONS)).flatmap(
    lambda order: st.tuples(*(st.tuples(st.just(("deliver", each, 1)), _faults, st.just("clear")) for each in order))
)
"""Each call comes once, in any order, so that what follows has something to strike."""


class World:
    """An executor, what it is sent, and the faults that are planted for its next step."""

    def __init__(self, effects: list[Effect], verdicts: list[str], keyed: list[bool], behaves: list[str]) -> None:
        """One call per position, with its tool's declaration, first verdict, and how its runs go."""
        self.on = ExecutionBench()
        self.behaves = behaves
        self.runs = 0
        for effect in _EFFECTS:
            probe = {"probe": lambda _call, _arguments: None} if effect == "verifiable" else {}
            self.on.tool(effect, effect=effect, behave=self._behave, **probe)
        self.decisions: list[list[ActionDecided]] = []
        for position in range(POSITIONS):
            key = "k" if keyed[position] else None
            action = self.on.proposed(position, effects[position], effect_key=key)
            verdict: Any = verdicts[position]
            said = [self.on.decided(action, verdict)]
            if verdict == "review":
                said.append(self.on.decided(action, by="approval", approval_id=APPROVAL))
            self.decisions.append(said)

    def _behave(self) -> Any:
        how = self.behaves[self.runs % len(self.behaves)]
        self.runs += 1
        if how == "raise":
            raise RuntimeError
        if how == "time out":
            raise TimeoutError
        return {"ok": True}

    async def step(self, work: tuple[str, int, int], fault: tuple[str, int] | None, switch: str) -> None:
        """One thing happens, under the switches given; what was planted strikes it."""
        what, number, which = work
        on = self.on
        self._switch(switch)
        started = on.starts.total()
        if fault is not None:
            self._plant(*fault)
        match what:
            case "deliver":
                said = self.decisions[number]
                await self._faced(on.deliver(said[which % len(said)]))
            case "sent on":
                sent = [each for each in on.published if isinstance(each, ActionDecided)]
                if sent:
                    await self._faced(on.deliver(sent[number % len(sent)], topics.EFFECTS.name))
            case "again":
                again = on.again()
                if again:
                    await self._faced(on.deliver(on.decided(again[number % len(again)])))
            case _:
                await on.clock.advance(number)
                await self._faced(on.fire_due())
        may = switch == "clear" and (fault is None or fault[0] not in {"not held", "unsure"})
        may = may and fault not in {("stop after", 0), ("hold after", 0)}
        assert may or on.starts.total() == started, "started under a switch or without the lease"

    def _switch(self, switch: str) -> None:
        on = self.on
        if switch in {"stop", "hold"}:
            kind: Any = switch
            change = ControlChanged(kind=kind, changed_by="op", changed_at=0.0)
            on.switches = Switches().apply(change, 0)
        else:
            on.switches = Switches(readable=switch != "unreadable")

    def _plant(self, what: str, stage: int) -> None:
        on = self.on
        if what in {"not held", "unsure"}:
            on.held = False if what == "not held" else TemporaryFailure("the log is away")
            return

        def strike(at: int) -> None:
            if at != stage:
                return
            if what == "stop after":
                on.stop()
            elif what == "hold after":
                self._switch("hold")
            else:
                raise Crash if what.startswith("die") else LeaseLost("taken away")

        if what.endswith("before"):
            on.before_stage = strike
        else:
            on.after_commit = strike

    async def _faced(self, work: Any) -> None:
        on = self.on
        try:
            await work
        except Crash:
            on.boot()
        except LeaseLost:
            on.epoch += 1
        except TemporaryFailure:
            pass
        on.before_stage = on.after_commit = lambda _: None
        on.held = True

    async def settle(self) -> None:
        """All faults are over: everything is delivered again, and time passes."""
        for _ in range(8):
            works = [("deliver", position, which) for position in range(POSITIONS) for which in (0, 1)]
            works += [(what, number, 0) for what in ("sent on", "again") for number in range(12)]
            for work in (*works, ("wait", 41, 0)):
                await self.step(work, None, "clear")

    def check(self) -> None:
        """What must hold at any time."""
        on = self.on
        ends = Counter(end.action.ref.id for end in on.ends())
        doubts = Counter(doubt.action.ref.id for doubt in on.doubts())
        assert not [each for each, count in (ends + Counter()).items() if count > 1], "two ends"
        assert not [each for each, count in (doubts + Counter()).items() if count > 1], "two doubts"
        for position in range(POSITIONS):
            action = self.decisions[position][0].action
            starts = on.starts[action.ref.id]
            assert starts <= (1 if action.effect in {"unsafe", "verifiable"} else SETTINGS.attempts)
        for end in on.ends():
            harmless = end.action.effect == "read"
            assert harmless or end.via != "gate" or not on.starts[end.action.ref.id], "a start is denied"
        keyed = [each[0].action for each in self.decisions if each[0].action.effect_key is not None]
        done = [each for each in keyed if on.starts[each.ref.id] and each.effect != "read"]
        assert len(done) <= 1, "one effect, two starts"


@settings(max_examples=400, deadline=None)
@given(
    effects=st.lists(st.sampled_from(_EFFECTS), min_size=POSITIONS, max_size=POSITIONS),
    verdicts=st.lists(
        st.sampled_from(["allow", "allow", "allow", "review", "block"]), min_size=POSITIONS, max_size=POSITIONS
    ),
    keyed=st.lists(st.booleans(), min_size=POSITIONS, max_size=POSITIONS),
    behaves=st.lists(st.sampled_from(["return", "return", "raise", "time out"]), min_size=1, max_size=4),
    begins=beginnings,
    happens=st.lists(steps, max_size=15),
)
def test_every_action_ends_once_or_is_in_doubt_whatever_happens(
    effects: list[Effect], verdicts: list[str], keyed: list[bool], behaves: list[str], begins: Any, happens: list[Any]
) -> None:
    """One end, one doubt at most, no start beyond what the tool declares, no start denied, and in the end no hang."""

    async def live() -> None:
        world = World(effects, verdicts, keyed, behaves)
        for work, fault, switch in (*begins, *happens):
            await world.step(work, fault, switch)
            world.check()
        await world.settle()
        world.check()
        known = {end.action.ref.id for end in world.on.ends()} | {each.action.ref.id for each in world.on.doubts()}
        assert len(known) == POSITIONS, "an action hangs"

    asyncio.run(live())
