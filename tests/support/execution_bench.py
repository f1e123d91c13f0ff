"""The executor's handler on a bench that can crash between any two stages, lose its lease, and bring back the table."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson
from tests.support.handler_bench import DictTable

from callgate.clock import ManualClock
from callgate.control.scopes import Switches
from callgate.events import ids, topics
from callgate.events.actions import (
    ActionDecided,
    ActionFinished,
    ActionInDoubt,
    ActionProposed,
    ActionRef,
    Decision,
    Effect,
    Verdict,
)
from callgate.events.codec import Envelope, encode
from callgate.events.control import ControlChanged
from callgate.events.digest import digest
from callgate.events.event import Event
from callgate.events.routing import address
from callgate.executor.handler import ExecutionHandler
from callgate.executor.runner import Runner
from callgate.failures import TemporaryFailure
from callgate.log.port import LeaseLost, Record
from callgate.settings import ExecutorSettings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.tools.tool import Call, Tool
from callgate.tools.toolbox import Toolbox
from callgate.worker.effects import Context, Effects, Timer

TURN = ids.turn_key(0, "t", "s", "1")
SETTINGS = ExecutorSettings(start_seconds=5.0, skew_seconds=1.0, attempts=3, output_bytes=1000)


class Crash(Exception):  # noqa: N818 - it is what happens, not an error of the program
    """The process dies here."""


@dataclass
class ExecutionBench:
    """One lease of the executor. What is committed survives a crash; what is not does not."""

    clock: ManualClock = field(default_factory=ManualClock)
    switches: Switches = field(default_factory=Switches)
    table: DictTable = field(default_factory=DictTable)
    timers: dict[str, Timer] = field(default_factory=dict)
    published: list[Event] = field(default_factory=list)
    starts: Counter[str] = field(default_factory=Counter)
    toolbox: Toolbox = field(default_factory=Toolbox)
    held: bool | Exception = True
    epoch: int = 1
    before_stage: Callable[[int], None] = field(default=lambda _: None)
    """Called with 0 before the first stage is committed, 1 before the second, …; may raise `Crash`."""
    after_commit: Callable[[int], None] = field(default=lambda _: None)

    def __post_init__(self) -> None:
        self.boot()

    def boot(self) -> None:
        """A new process on what was committed."""
        self.epoch += 1
        runner = Runner(self.toolbox, SETTINGS, lambda: self.switches, Metrics(TelemetrySettings()))
        self.handler = ExecutionHandler(runner, Metrics(TelemetrySettings()))

    def tool(self, name: str = "pay", **options: Any) -> None:
        """A tool that counts its starts under the action's id."""
        behave: Callable[[], Any] = options.pop("behave", lambda: {"ok": True})

        async def function(call: Call, _: object) -> Any:
            self.starts[call.action_id] += 1
            value = behave()
            return await value if asyncio.iscoroutine(value) else value

        self.toolbox.register(Tool(name=name, function=function, takes_object=True, **options))

    def proposed(self, position: int = 0, tool: str = "pay", **changes: Any) -> ActionProposed:
        """A call of the one turn, as the proposer would make it."""
        entry = self.toolbox.entry(tool)
        version = entry.version if entry is not None else ""
        effect: Effect = entry.tool.effect if entry is not None else "unsafe"
        arguments = {"n": position}
        ref = ActionRef(
            id=ids.action_id(TURN, 0, position, f"c{position}"),
            turn_key=TURN,
            tenant="t",
            session="s",
            turn="1",
            agent="a",
            position=position,
            call_id=f"c{position}",
            tool=tool,
            digest=digest(tenant="t", agent="a", tool=tool, tool_version=version, target="x", arguments=arguments),
        )
        fields: dict[str, Any] = {
            "arguments": msgspec.Raw(orjson.dumps(arguments)),
            "tool_version": version,
            "target": "x",
            "effect": effect,
            "timeout_seconds": entry.tool.timeout_seconds if entry is not None else 1.0,
            "parallel": entry.tool.parallel if entry is not None else False,
            "proposed_at": self.clock.now(),
        }
        return ActionProposed(ref=ref, **(fields | changes))

    def decided(self, action: ActionProposed, verdict: Verdict = "allow", **changes: Any) -> ActionDecided:
        """A decision on it, good for 100 s."""
        now = self.clock.now()
        fields: dict[str, Any] = {"by": "bighub", "reason": "r", "told": "told", "decided_at": now}
        return ActionDecided(
            action=action, decision=Decision(verdict=verdict, valid_until=now + 100.0, **(fields | changes))
        )

    async def deliver(self, event: Event, topic: str = topics.DECIDED.name) -> None:
        """One record; raises what the handler raised, and `Crash`."""
        value, headers = encode(event, source="test", time=self.clock.now())
        record = Record(topic, 0, 0, None, value, headers, self.clock.now())
        envelope = Envelope(event=event, id=event.identity(), source="test", time=0.0, traceparent=None)
        await self._run(await self.handler.handle(envelope, self._context(record)))

    async def give_up(self, event: Event) -> None:
        """The worker gives the record up."""
        envelope = Envelope(event=event, id=event.identity(), source="test", time=0.0, traceparent=None)
        await self._run(await self.handler.on_dead(envelope, self._context(None), "no use"))

    async def fire_due(self) -> None:
        """Every timer that has come due, until none is left."""
        while due := [timer for timer in self.timers.values() if timer.due <= self.clock.now()]:
            timer = min(due, key=lambda each: each.due)
            effects = await self.handler.on_timer(timer.key, self._context(None))
            await self._run(effects, served=timer)

    def ends(self) -> list[ActionFinished]:
        """Every end that was committed."""
        return [event for event in self.published if isinstance(event, ActionFinished)]

    def doubts(self) -> list[ActionInDoubt]:
        """Every doubt that was committed."""
        return [event for event in self.published if isinstance(event, ActionInDoubt)]

    def again(self) -> list[ActionProposed]:
        """What was sent back."""
        return [event for event in self.published if isinstance(event, ActionProposed)]

    def statuses(self) -> list[str]:
        """The ends' statuses, in order."""
        return [end.status for end in self.ends()]

    def stop(self) -> None:
        """Set the switch for everything."""
        change = ControlChanged(kind="stop", reason="incident", changed_by="op", changed_at=0.0)
        self.switches = self.switches.apply(change, self.switches.epoch + 1)

    async def _run(self, effects: Effects, served: Timer | None = None) -> None:
        stage = 0
        while True:
            self.before_stage(stage)
            self._commit(effects)
            self.after_commit(stage)
            if effects.then is None:
                break
            stage += 1
            effects = await effects.then()
        if served is not None and self.timers.get(served.key) is served:
            del self.timers[served.key]

    def _commit(self, effects: Effects) -> None:
        self.table.apply(effects)
        for key in effects.cancel:
            self.timers.pop(key, None)
        self.timers.update({timer.key: timer for timer in effects.timers})
        for each in effects.publish:
            encode(each.event, source="test", time=self.clock.now())
            address(each.event, 4)
            self.published.append(each.event)

    def _context(self, record: Record | None) -> Context:
        async def held() -> bool:
            if isinstance(self.held, Exception):
                raise self.held
            return self.held

        return Context(
            table=self.table,
            clock=self.clock,
            partitions=4,
            lease=0,
            epoch=self.epoch,
            attempt=0,
            first_tried=self.clock.now(),
            delivered=record,
            held=held,
            remaining=lambda: None,
        )


__all__ = ["SETTINGS", "TURN", "Crash", "ExecutionBench", "LeaseLost", "TemporaryFailure"]
