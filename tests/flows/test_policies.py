"""A policy in force: the whole gate waits for one person of each group, and nobody else's yes starts anything."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.whole import Whole, whole

from callgate.events import topics
from callgate.events.approvals import ApprovalRequested, ApprovalResolved, ApprovalVoted, BallotCast

POLICY = """
version = 1
[groups]
front = ["mia"]
back = ["noa", "ole"]
[[rules]]
name = "payments"
match.tool = ["pay"]
one_from_each = ["front", "back"]
deadline_seconds = 60
[default]
deadline_seconds = 1
approvers = ["nobody"]
"""


async def _asked(gate: Whole) -> ApprovalRequested:
    """The question, once it is there and mia, who answers by herself, has been counted."""
    async with asyncio.timeout(20):
        while True:
            found = await gate.events(topics.BALLOTS)
            asked = [event for event in found if isinstance(event, ApprovalRequested)]
            if asked and any(isinstance(event, BallotCast) for event in found):
                return asked[0]
            await asyncio.sleep(0.05)


async def _approve(gate: Whole, asked: ApprovalRequested, who: str) -> None:
    await gate.client.vote(
        ApprovalVoted(
            vote_id=f"by {who}",
            approval_id=asked.approval_id,
            digest=asked.action.ref.digest,
            answer="approve",
            approver=who,
        )
    )


@pytest.mark.parametrize("seed", [None, 1], ids=["plain", "hostile"])
async def test_one_of_each_group_starts_it_and_nothing_less(tmp_path: Path, seed: int | None) -> None:
    """After one group's yes and a stranger's nothing runs; with the other group's the tool runs, once."""
    rules = tmp_path / "approvals.toml"
    rules.write_text(POLICY)
    async with whole(tmp_path / "log.db", seed=seed, approval_policy=str(rules)) as gate:
        key = await gate.submit("s", ("pay", {"n": 1}))
        asked = await _asked(gate)
        assert (asked.policy_rule, asked.quorum) == ("payments", 2)
        await _approve(gate, asked, "eve")
        await asyncio.sleep(1.0)
        assert not gate.marks.effects
        await _approve(gate, asked, "ole")
        assert await gate.statuses(key) == ["executed"]
        assert list(gate.marks.effects.values()) == [1]
        (resolved,) = {
            event.approval_id: event
            for event in await gate.events(topics.RESOLVED)
            if isinstance(event, ApprovalResolved)
        }.values()
        assert set(resolved.approvers) == {"mia", "ole"}
        assert await gate.violations() == []


async def test_a_yes_of_nobody_named_expires(tmp_path: Path) -> None:
    """Whoever is not named by the policy approves nothing: the action expires at the policy's deadline."""
    rules = tmp_path / "approvals.toml"
    rules.write_text(POLICY)
    async with whole(tmp_path / "log.db", approval_policy=str(rules)) as gate:
        key = await gate.submit("s", ("grant", {"n": 1}))
        await _approve(gate, await _asked(gate), "mia")
        assert await gate.statuses(key) == ["expired"]
        assert not gate.marks.effects
