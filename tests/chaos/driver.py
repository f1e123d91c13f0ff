"""One run: everything is started, disturbed while agents and people do what is planned, calmed, and judged."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.engines import Engine, engine
from tests.chaos.fleet import Fleet
from tests.chaos.havoc import Havoc
from tests.chaos.people import Outside
from tests.chaos.plan import POLICY, plan
from tests.chaos.tools import effects_file
from tests.chaos.verdict import Verdict, unread, verdict
from tests.support.processes import environment

from callgate.clock import SystemClock
from callgate.log.port import Log

PLACES = ("executor-1", "executor-2", "evaluator-1", "evaluator-2", "proposer-1", "proposer-2", "approvals", "reporter")
CONCURRENCY = 16
"""Calls at once in an executor: what its sudden end can leave in doubt."""

OPEN_MOST = 400
"""Calls that are open at once at the most: agents wait for their answers."""

SLACK = 2.5
"""How many times its planned seconds submitting may take. On a busy machine it ends there, with what was submitted."""

LEAST = 0.2
"""The share of its actions that a run must come to, or it has shown nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run is asked to be."""

    seed: int
    log: str
    """sqlite or kafka."""
    actions: int = 2000
    seconds: float = 45.0
    """Over which turns are submitted."""
    settle_seconds: float = 120.0
    """Within which everything must have come to rest after the last disturbance."""
    keep: bool = False
    """Whether the folder is kept although nothing is wrong."""


@dataclass(slots=True)
class Run:
    """One run under way."""

    options: Options
    home: Path
    engine: Engine
    fleet: Fleet
    clock: SystemClock

    async def play(self) -> dict[str, Any]:
        """The report."""
        options, began = self.options, time.monotonic()
        async with AsyncExitStack() as stack:
            log = await self.engine.open(self.clock)
            stack.push_async_callback(log.close)
            planned = plan(options.seed, options.actions, log.partitions)
            outside = Outside(log, self.clock, planned, options.seed, effects_file(self.home))
            havoc = Havoc(self.fleet, self.clock, options.seed, self.engine.pace, self.engine.deeds)
            stack.callback(self.fleet.end)
            havoc.open()
            beside = [asyncio.create_task(each) for each in (outside.hear(), outside.answer(), havoc.watch())]
            stack.push_async_callback(_cancelled, beside)
            trouble = [asyncio.create_task(havoc.run())]
            submitting = asyncio.create_task(outside.submit(options.seconds, OPEN_MOST))
            await _over(submitting, options.seconds * SLACK, [*beside, *trouble])
            outside.enough = True
            await _over(submitting, options.settle_seconds, [*beside, *trouble])
            await _cancelled(trouble)
            await havoc.calm()
            left = await self._settled(log, outside, beside)
            if outside.submitted < LEAST * options.actions:
                left.append(f"only {outside.submitted} calls could be submitted")
            found = await verdict(log, self.home, outside.plan(), doubts_most=self._doubts(havoc, outside))
            return self._report(found, havoc, left, began)

    async def _settled(self, log: Log, outside: Outside, beside: list[asyncio.Task[None]]) -> list[str]:
        """Wait until nothing is left to do; what is left when the time is over."""
        until = time.monotonic() + self.options.settle_seconds
        left = ["agents were not told of every call"]
        while time.monotonic() < until:
            await self.clock.sleep(1.0)
            for task in beside:
                if task.done():
                    task.result()
            if outside.told:
                left = await unread(log)
                if not left:
                    return []
            else:
                left = [f"agents were told of {len(outside.settled)} calls of {outside.submitted}"]
        return left

    def _doubts(self, havoc: Havoc, outside: Outside) -> int:
        """How many actions may be in doubt, for what was done to executors, and for the tools that hang."""
        done = self.fleet.done
        blows = done["kill executor"] + done["stop executor"] + done["leave executor"] + len(havoc.traps)
        hanging = sum(call.tool in {"hang", "stall"} for turn in outside.sent for call in turn.calls)
        return blows * CONCURRENCY + hanging

    def _report(self, found: Verdict, havoc: Havoc, left: list[str], began: float) -> dict[str, Any]:
        violations = [each.shown() for each in found.violations]
        outputs = {each.name: each.read_text(errors="replace") for each in self.home.glob("*.out")}
        tracebacks = {name: text.count("Traceback (most recent call last)") for name, text in outputs.items()}
        return {
            "seed": self.options.seed,
            "log": self.options.log,
            "actions": sum(found.by_status.values()),
            "by_status": found.by_status,
            "in_doubt": found.by_status.get("in_doubt", 0),
            "starts": found.starts,
            "started_again": found.started_again,
            "done": dict(sorted(self.fleet.done.items())),
            "traps": sorted(havoc.traps),
            "violations": violations,
            "unsettled": left,
            "surprises": self.fleet.surprises,
            "tracebacks": {name: count for name, count in tracebacks.items() if count},
            "seconds": round(time.monotonic() - began, 1),
            "passed": not (violations or left or self.fleet.surprises or found.open),
        }


async def chaos(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """One run in a folder of its own, which is kept if anything is wrong."""
    home = Path(tempfile.mkdtemp(prefix=f"callgate-chaos-{options.log}-{options.seed}-"))
    clock = SystemClock()
    async with engine(options.log, home) as log:
        report = await Run(options, home, log, fleet_of(home, log, PLACES), clock).play()
    if report["passed"] and not options.keep:
        shutil.rmtree(home)
    else:
        report["folder"] = str(home)
        again = f"make chaos RUNS=1 SEED={options.seed} LOG={options.log}"
        say(f"seed {options.seed}: {home} is kept; again: {again}")
    return report


def fleet_of(home: Path, log: Engine, places: Sequence[str]) -> Fleet:
    """A sandbox and these places, none of them started, on a log; everything that they leave lies in `home`."""
    (home / "target").mkdir()
    (home / "policy.toml").write_text(POLICY)
    port = _free_port()
    fleet = Fleet(home, environment(**_settings(home, port), **log.env))
    box = ("--port", str(port), "--policy", str(home / "policy.toml"), "--state", str(home / "sandbox.db"))
    fleet.add("sandbox", "sandbox", *box)
    for place in places:
        fleet.add(place, "run", place.partition("-")[0])
    return fleet


def _settings(home: Path, port: int) -> dict[str, str]:
    return {
        "CHAOS_HOME": str(home),
        "CALLGATE_BIGHUB_URL": f"http://127.0.0.1:{port}",
        "CALLGATE_BIGHUB_KEY": "chaos",
        "CALLGATE_BIGHUB_TIMEOUT_SECONDS": "4",
        "CALLGATE_BIGHUB_VALID_SECONDS": "25",
        "CALLGATE_APPROVAL_TRUSTED": "true",
        "CALLGATE_APPROVAL_DEADLINE_SECONDS": "12",
        "CALLGATE_EXECUTOR_START_SECONDS": "2",
        "CALLGATE_EXECUTOR_SKEW_SECONDS": "0.5",
        "CALLGATE_WORKER_CONCURRENCY": str(CONCURRENCY),
        "CALLGATE_WORKER_DRAIN_SECONDS": "5",
        "CALLGATE_WORKER_PARK_SECONDS": "5",
        "CALLGATE_WORKER_RETRY_SECONDS": "10",
        "CALLGATE_WORKER_RETRY_MOST_SECONDS": "2",
        "CALLGATE_TOOLS": "tests.chaos.tools:toolbox",
    }


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def _over(task: asyncio.Task[None], seconds: float, beside: list[asyncio.Task[None]]) -> None:
    """Wait for the end of a task, so long. A failure of it, or of what must go on beside it, is raised."""
    await asyncio.wait({task, *beside}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for each in (task, *beside):
        if each.done():
            each.result()


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
