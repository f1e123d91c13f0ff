"""People on a real broker: a race of two answers, and what was said while nobody counted."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.flows.test_answers import asked, policy, resolutions, say
from tests.support.whole import DEADLINE_SECONDS, on_kafka, settings_for

from callgate.cli.hosting import SERVICES, hosted
from callgate.clock import SystemClock
from callgate.events import topics
from callgate.events.approvals import ApprovalEscalated, ApprovalReminded

PATIENT = """
version = 1
[default]
deadline_seconds = 30
approvers = ["noa"]
reminders = [1]
escalation = [{ after_seconds = 2, approvers = ["ole"] }]
"""


async def test_of_a_race_of_two_answers_one_counts(kafka: str, tmp_path: Path) -> None:
    """An approval and a rejection at once come to one end, which is the one that the tally says."""
    async with on_kafka(kafka, tmp_path, approval_policy=policy(tmp_path)) as gate:
        key = await gate.submit("s", ("credit", {"n": 5}))
        question = await asked(gate)
        await asyncio.gather(say(gate, question, "approve", "noa"), say(gate, question, "reject", "ole"))
        (status,) = await gate.statuses(key, 60)
        assert {"approved": "executed", "rejected": "rejected"}[(await resolutions(gate))[0]] == status
        assert len(gate.marks.effects) == (status == "executed")
        assert await gate.violations() == []


async def test_what_was_said_in_time_counts_although_nobody_counted(kafka: str, tmp_path: Path) -> None:
    """With the approvals service down over a deadline: a vote in time runs its call, silence expires."""
    others = tuple(service for service in SERVICES if service != "approvals")
    async with on_kafka(kafka, tmp_path, services=others) as gate:
        answered = await gate.submit("s1", ("credit", {"n": 1}))
        question = await asked(gate)
        silent = await gate.submit("s2", ("credit", {"n": 2}))
        await say(gate, question, "approve")
        await asyncio.sleep(DEADLINE_SECONDS + 1.0)
        assert not gate.marks.effects
        settings = settings_for("http://127.0.0.1:1", 900.0)
        async with hosted(settings, gate.log, SystemClock(), ("approvals",), None):
            assert await gate.statuses(answered, 60) == ["executed"]
            assert await gate.statuses(silent, 60) == ["expired"]
        assert await gate.violations() == []


async def test_reminders_and_levels_come_once_and_the_next_people_may_answer(kafka: str, tmp_path: Path) -> None:
    """Who is of the next level counts from its moment on; each moment is announced once, in order."""
    async with on_kafka(kafka, tmp_path, approval_policy=policy(tmp_path, PATIENT)) as gate:
        key = await gate.submit("s", ("credit", {"n": 5}))
        question = await asked(gate)
        await say(gate, question, "approve", who="ole")  # too early for that level
        await asyncio.sleep(2.5)
        await say(gate, question, "approve", who="ole", comment="again")
        assert await gate.statuses(key, 60) == ["executed"]
        moments = (ApprovalReminded, ApprovalEscalated)
        told = [each for each in await gate.events(topics.RESOLVED) if isinstance(each, moments)]
        kinds = [type(each) for each in {each.identity(): each for each in told}.values()]
        assert kinds == [ApprovalReminded, ApprovalEscalated]
