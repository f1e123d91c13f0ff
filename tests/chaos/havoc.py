"""What is done to the processes of a run, by seed: killed, stopped for a moment, stopped for long, told to leave.

Zombies come from here: a process that was stopped for longer than others believe it alive, and goes on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from tests.chaos.child import POINTS, traps_file
from tests.chaos.fleet import Fleet, Member

from callgate.clock import Clock

_WEIGHTS = {"executor": 5, "evaluator": 2, "proposer": 3, "approvals": 2, "reporter": 1, "sandbox": 1}
_DEEDS = {"kill": 4, "blink": 2, "freeze": 3, "leave": 2}
_TRAPS = 0.6
"""Share of the started services that have a trap set."""

_NTH = {"claimed": 60, "starting": 60, "claiming": 4, "restored": 4, "committing": 80}
"""Up to which passing of a point a trap is set: passed often enough to spring, and each time at another moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How hard it goes."""

    between_seconds: float
    """Between two deeds, on average."""
    freeze_seconds: tuple[float, float]
    """A long stop: longer than a silent member is believed alive."""
    away_seconds: tuple[float, float] = (0.0, 2.5)
    """How long a place stays empty."""


@dataclass(slots=True)
class Havoc:
    """The deeds of one run."""

    fleet: Fleet
    clock: Clock
    seed: int
    pace: Pace
    broker: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """What can be done to the log itself, by name; each returns when it is over."""
    traps: list[str] = field(default_factory=list)
    """Points at which a process has stopped itself."""
    _busy: set[str] = field(default_factory=set)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)
    _seen: int = 0
    _chance: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        """Everything follows from the seed, as far as the machine's own timing lets it."""
        self._chance = random.Random(f"havoc {self.seed}")

    def open(self) -> None:
        """Start every member."""
        for member in self.fleet.members.values():
            self._start(member)

    async def run(self) -> None:
        """Do one deed after another, until cancelled."""
        while True:
            await self.clock.sleep(self._chance.uniform(0.4, 1.6) * self.pace.between_seconds)
            if self.broker and "broker" not in self._busy and self._chance.random() < 1 / 9:
                name = self._chance.choice(sorted(self.broker))
                self._begin("broker", self._to_broker(name))
                continue
            free = [each for each in self.fleet.members.values() if each.running and each.name not in self._busy]
            if not free:
                continue
            member = self._chance.choices(free, [_WEIGHTS[each.service] for each in free])[0]
            deed = self._chance.choices(tuple(_DEEDS), tuple(_DEEDS.values()))[0]
            self._begin(member.name, self._done_to(member, deed))

    async def watch(self) -> None:
        """Deal with processes that have stopped themselves or ended, until cancelled."""
        while True:
            await self.clock.sleep(0.1)
            for line in self._sprung():
                member = self.fleet.trapped(line["pid"])
                if member is not None:
                    self.traps.append(line["point"])
                    self._begin(f"trap of {member.name}", self._trapped(member))
            self.fleet.look()
            for member in self.fleet.members.values():
                if not member.alive and not self._meant(member):
                    self._start(member)

    async def calm(self) -> None:
        """Let everything that has begun come to its end, so that every member runs."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))
        for member in self.fleet.members.values():
            if member.stopped:
                self.fleet.go_on(member)
            if not member.alive:
                self._start(member, trap=False)

    def _meant(self, member: Member) -> bool:
        return bool({member.name, f"trap of {member.name}"} & self._busy)

    def _begin(self, what: str, deed: Awaitable[None]) -> None:
        async def done() -> None:
            try:
                await deed
            finally:
                self._busy.discard(what)

        self._busy.add(what)
        task = asyncio.create_task(done())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _done_to(self, member: Member, deed: str) -> None:
        match deed:
            case "kill":
                self.fleet.kill(member)
            case "blink":
                self.fleet.stop(member)
                await self.clock.sleep(self._chance.uniform(0.1, 1.5))
                self.fleet.go_on(member)
                return
            case "freeze":
                self.fleet.stop(member)
                await self.clock.sleep(self._chance.uniform(*self.pace.freeze_seconds))
                self.fleet.go_on(member)
                return
            case _:
                await self._leave(member)
        await self.clock.sleep(self._chance.uniform(*self.pace.away_seconds))
        self._start(member)

    async def _leave(self, member: Member) -> None:
        self.fleet.leave(member)
        for _ in range(300):
            if not member.alive:
                return
            await self.clock.sleep(0.1)
        self.fleet.surprises.append(f"{member.name} did not leave within 30 s of being told to")
        self.fleet.kill(member)

    async def _trapped(self, member: Member) -> None:
        process = member.process
        if self._chance.random() < 0.3:
            await self.clock.sleep(0.1)
            if member.process is process:
                self.fleet.kill(member)
                self._start(member)
            return
        await self.clock.sleep(self._chance.uniform(*self.pace.freeze_seconds))
        if member.process is process:
            self.fleet.go_on(member)

    async def _to_broker(self, name: str) -> None:
        self.fleet.done[f"{name} broker"] += 1
        await self.broker[name]()

    def _start(self, member: Member, *, trap: bool = True) -> None:
        if member.alive:
            return
        point = None
        if trap and member.service != "sandbox" and self._chance.random() < _TRAPS:
            name = self._chance.choice(sorted(POINTS))
            point = f"{name}:{self._chance.randint(1, _NTH[name])}"
        self.fleet.start(member, point)

    def _sprung(self) -> list[dict[str, Any]]:
        path = traps_file(self.fleet.home)
        lines = path.read_bytes().splitlines() if path.exists() else []
        fresh, self._seen = lines[self._seen :], len(lines)
        return [orjson.loads(line) for line in fresh]
