"""What must hold after a run: the independent checker's judgement, and what only this run's plan can tell."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from tests.chaos.plan import Plan, PlannedCall
from tests.chaos.tools import effects_file, starts_file

from callgate.cli.checker.facts import ActionFacts, Facts, gather
from callgate.cli.checker.judge import Violation, judge
from callgate.cli.play.custody import GROUPS, parked_actions
from callgate.events import topics
from callgate.events.codec import Undecodable, decode
from callgate.log.port import Log, Progress, Record

READS = {
    "proposer": (topics.TURNS, topics.DECIDED, topics.FINISHED),
    "evaluator": (topics.PROPOSED,),
    "approvals": (topics.VOTES, topics.BALLOTS),
    "executor": (topics.DECIDED, topics.EFFECTS),
    "reporter": (topics.FINISHED, topics.OBSERVED, topics.RESOLVED),
}
"""What each group reads: of all this nothing may be left."""

assert tuple(READS) == GROUPS

ONE_START = frozenset({"ship", "book", "haul", "post", "refund", "pay_out", "forbid", "fail", "hang", "stall"})
"""Tools that have not declared that they may be started again."""

NEVER_STARTED = frozenset({"forbid", "nothing"})
UNHEARD = frozenset({"reject", "late", "never"})
"""Answers after which a tool that a person was asked about must not start."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a run."""

    by_status: dict[str, int]
    starts: int
    started_again: int
    """Actions that were started more than once, which only some tools allow."""
    violations: list[Violation]

    @property
    def open(self) -> int:
        """Actions without an end that are not in doubt either."""
        return self.by_status.get("pending", 0)


async def unread(log: Log) -> list[str]:
    """What some group has not done yet: records that it has not dealt with, and actions that it has put aside."""
    found = [f"parked: {action}" for action in sorted(await parked_actions(log))]
    for group, read in READS.items():
        progress = await log.progress(group)
        for topic in read:
            for partition in range(log.partitions):
                at = progress.get((topic.name, partition), Progress())
                start = at.next_offset
                left = [each.offset async for each in log.scan(topic.name, partition, start) if not _done(each, at)]
                if left:
                    found.append(f"{group} has {len(left)} records of {topic.name}[{partition}] left, from {left[0]}")
    return found


async def verdict(log: Log, home: Path, plan: Plan, *, doubts_most: int) -> Verdict:
    """Gather and judge."""
    facts = await gather(log, effects_file(home))
    expected = plan.expected()
    calls = plan.calls()
    starts = _starts(starts_file(home))
    violations = judge(facts, expected)
    statuses = Counter(_standing(facts.actions.get(each, ActionFacts())) for each in expected)
    violations += _of_starts(facts, calls, starts)
    violations += _of_people(calls, starts)
    violations += _of_keys(plan, starts)
    violations += await _of_dead_letters(log, facts)
    if statuses["in_doubt"] > doubts_most:
        detail = f"{statuses['in_doubt']} are in doubt, and what was done explains {doubts_most}"
        violations.append(Violation("P2", "", detail))
    return Verdict(
        by_status=dict(sorted(statuses.items())),
        starts=sum(starts.values()),
        started_again=sum(count > 1 for count in starts.values()),
        violations=violations,
    )


def _done(record: Record, at: Progress) -> bool:
    return record.offset < at.next_offset or any(start <= record.offset < end for start, end in at.done)


def _standing(action: ActionFacts) -> str:
    if action.ends:
        return action.ends[0][1].status
    return "in_doubt" if action.doubts else "pending"


def _starts(path: Path) -> Counter[str]:
    lines: list[dict[str, Any]] = (
        [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    )
    return Counter(line["action_id"] for line in lines)


def _of_starts(facts: Facts, calls: dict[str, PlannedCall], starts: Counter[str]) -> Iterator[Violation]:
    for identifier, count in starts.items():
        call = calls.get(identifier)
        if call is None:
            yield Violation("P3", identifier, "a tool was started for a call that nobody has submitted")
        elif count > 1 and call.tool in ONE_START:
            yield Violation("P3", identifier, f"{call.tool} was started {count} times")
        elif call.tool in NEVER_STARTED:
            yield Violation("P5", identifier, f"{call.tool} was started, and was never allowed")
        action = facts.actions.get(identifier)
        if action is not None and not action.doubts and not action.ends:
            yield Violation("P1", identifier, "its tool was started, and nothing came of it")


def _of_people(calls: dict[str, PlannedCall], starts: Counter[str]) -> Iterator[Violation]:
    for identifier, call in calls.items():
        if call.tool == "pay_out" and call.answer in UNHEARD and starts[identifier]:
            yield Violation("P6", identifier, f"it was started, and people have said: {call.answer}")


def _of_keys(plan: Plan, starts: Counter[str]) -> Iterator[Violation]:
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for turn in plan.turns:
        for call in turn.calls:
            if call.tool == "refund" and starts[call.action_id]:
                found[turn.tenant, call.arguments["payment"]].append(call.action_id)
    for (tenant, payment), actions in found.items():
        if len(actions) > 1:
            detail = f"payment {payment} of {tenant} was refunded for {len(actions)} actions: {', '.join(actions)}"
            yield Violation("P3", actions[0], detail)


async def _of_dead_letters(log: Log, facts: Facts) -> list[Violation]:
    """Every record that is no event has its dead letter, and nothing else has one."""
    junk: set[tuple[str, int, int]] = set()
    for partition in range(log.partitions):
        async for record in log.scan(topics.TURNS.name, partition):
            try:
                decode(record.value, record.headers)
            except Undecodable:
                junk.add((record.topic, record.partition, record.offset))
    found = [
        Violation("P1", "", f"a dead letter stands for a good record: {place}, {reason}")
        for place, reason in facts.dead.items()
        if place not in junk
    ]
    return found + [
        Violation("P1", "", f"what is no turn has no dead letter: {place}") for place in junk - facts.dead.keys()
    ]
