"""What people can say beside yes and no, through the whole gate: each leads to one end, also on an unkind log."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from tests.support.whole import Whole, whole

from callgate.events import topics
from callgate.events.actions import ActionFinished, ActionProposed
from callgate.events.approvals import ApprovalRequested, ApprovalResolved, ApprovalVoted, BallotCast

KINDS = pytest.mark.parametrize("seed", [None, 1, 2], ids=["plain", "hostile 1", "hostile 2"])
SLOW = """
version = 1
[default]
deadline_seconds = 60
answers = ["approve", "reject", "edit", "respond", "delegate", "abstain"]
"""
AGAIN = SLOW + "ask_again_after_edit = true\n"


async def asked(gate: Whole, kind: str = "action", revision: int = 1) -> ApprovalRequested:
    """The question of a kind, once it is there."""
    async with asyncio.timeout(30):
        while True:
            for event in await gate.events(topics.BALLOTS):
                if (
                    isinstance(event, ApprovalRequested)
                    and event.kind == kind
                    and event.action.ref.revision == revision
                ):
                    return event
            await asyncio.sleep(0.05)


async def say(gate: Whole, question: ApprovalRequested, answer: Any, who: str = "noa", **content: Any) -> None:
    """Cast a vote, twice, as a client that is not sure would."""
    raw: dict[str, Any] = {
        name: msgspec.Raw(orjson.dumps(content.pop(name))) for name in ("arguments", "response") if name in content
    }
    vote = ApprovalVoted(
        vote_id=f"{answer} by {who} {content.get('comment', '')}",
        approval_id=question.approval_id,
        digest=question.action.ref.digest,
        answer=answer,
        approver=who,
        **raw,
        **content,
    )
    await gate.client.vote(vote)
    await gate.client.vote(vote)


async def finished(gate: Whole) -> ActionFinished:
    """The one end on the log, as it was written."""
    found = {
        event.identity(): event for event in await gate.events(topics.FINISHED) if isinstance(event, ActionFinished)
    }
    (end,) = found.values()
    return end


async def resolutions(gate: Whole) -> list[str]:
    """How each approval was resolved."""
    found = {
        event.approval_id: event for event in await gate.events(topics.RESOLVED) if isinstance(event, ApprovalResolved)
    }
    return sorted(event.resolution for event in found.values())


def policy(folder: Path, text: str = SLOW) -> str:
    """A policy file with time to answer."""
    path = folder / "approvals.toml"
    path.write_text(text)
    return str(path)


@KINDS
async def test_an_edited_call_is_evaluated_again_and_runs_as_edited(tmp_path: Path, seed: int | None) -> None:
    """The edit makes a second revision, whose review the same yes answers; only the edited call runs, once."""
    async with whole(tmp_path / "log.db", seed=seed, approval_policy=policy(tmp_path)) as gate:
        key = await gate.submit("s", ("credit", {"n": 900}))
        await say(gate, await asked(gate), "edit", arguments={"n": 9})
        assert await gate.statuses(key) == ["executed"]
        end = await finished(gate)
        assert (end.action.ref.revision, bytes(end.action.arguments), bytes(end.output or b"")) == (2, b'{"n":9}', b"9")
        assert (end.decision.by, end.decision.approvers, end.action.cause) == ("approval", ("noa",), "edit")
        assert list(gate.marks.effects.values()) == [1]
        assert await resolutions(gate) == ["edited"]
        gate.expected.clear()  # the output is the edited one
        assert await gate.violations() == []


async def test_an_edit_that_bighub_blocks_stays_blocked(tmp_path: Path) -> None:
    """A person's yes answers a review and never a block: the edited call is evaluated like any other."""
    blocking = '[[rule]]\narguments.n = 9\ndecision = "block"\n[default]\ndecision = "review"\n'
    async with whole(tmp_path / "log.db", policy=blocking, approval_policy=policy(tmp_path)) as gate:
        key = await gate.submit("s", ("credit", {"n": 900}))
        await say(gate, await asked(gate), "edit", arguments={"n": 9})
        assert await gate.statuses(key) == ["blocked"]
        assert (await finished(gate)).action.ref.revision == 2
        assert not gate.marks.effects


async def test_an_edit_that_does_not_fit_is_refused_and_seen(tmp_path: Path) -> None:
    """Arguments that the tool would not take from the model it does not take from a person: evidence, and no result."""
    async with whole(tmp_path / "log.db", approval_policy=policy(tmp_path)) as gate:
        key = await gate.submit("s", ("credit", {"n": 900}))
        question = await asked(gate)
        await say(gate, question, "edit", arguments={"n": "many"})
        await say(gate, question, "edit", who="ole", arguments={"n": 900})
        async with asyncio.timeout(20):
            while True:
                ballots = [event for event in await gate.events(topics.BALLOTS) if isinstance(event, BallotCast)]
                reasons = {event.refusal for event in ballots if event.checked}
                if len(reasons) == 2:
                    break
                await asyncio.sleep(0.05)
        assert {"must be of type integer" in (reason or "") for reason in reasons} == {True, False}
        assert any("changes nothing" in (reason or "") for reason in reasons)
        await say(gate, question, "reject", who="mia")
        assert await gate.statuses(key) == ["rejected"]
        assert [event for event in await gate.events(topics.PROPOSED) if _revision(event) == 2] == []


def _revision(event: object) -> int:
    return event.ref.revision if isinstance(event, ActionProposed) else 0


async def test_a_policy_may_ask_again_after_an_edit(tmp_path: Path) -> None:
    """Where the policy says so, people are asked about the edited call as well, and their answer is what counts."""
    async with whole(tmp_path / "log.db", approval_policy=policy(tmp_path, AGAIN)) as gate:
        key = await gate.submit("s", ("credit", {"n": 900}))
        await say(gate, await asked(gate), "edit", arguments={"n": 9})
        await say(gate, await asked(gate, revision=2), "reject", who="ole")
        assert await gate.statuses(key) == ["rejected"]
        assert await resolutions(gate) == ["edited", "rejected"]
        assert not gate.marks.effects


async def test_an_edit_cannot_move_a_call_past_a_stricter_rule(tmp_path: Path) -> None:
    """Who may answer for the call as it was asked need not be enough for what they make of it: others are asked."""
    stricter = SLOW + '[[rules]]\nname = "two"\nmatch.effect = ["unsafe"]\nmatch.tool = ["credit"]\nquorum = 2\n'
    async with whole(tmp_path / "log.db", approval_policy=policy(tmp_path)) as gate:
        key = await gate.submit("s", ("credit", {"n": 9}))
        question = await asked(gate)
        policy(tmp_path, stricter)
        await asyncio.sleep(1.5)  # the file is read again
        await say(gate, question, "edit", arguments={"n": 900})
        again = await asked(gate, revision=2)
        assert (again.policy_rule, again.quorum) == ("two", 2)
        await say(gate, again, "approve", who="ole")
        await say(gate, again, "approve", who="pia")
        assert await gate.statuses(key) == ["executed"]
        assert (await finished(gate)).decision.approvers == ("ole", "pia")


@KINDS
async def test_a_response_stands_in_for_the_tool(tmp_path: Path, seed: int | None) -> None:
    """The person's text is the call's result, and the tool is not started."""
    async with whole(tmp_path / "log.db", seed=seed, approval_policy=policy(tmp_path)) as gate:
        key = await gate.submit("s", ("credit", {"n": 900}))
        await say(gate, await asked(gate), "respond", response="It was credited yesterday.")
        completed = await gate.completed(key)
        (event,) = orjson.loads(bytes(completed.execution))["events"]
        assert event["status"] == "responded"
        assert "It was credited yesterday." in bytes(completed.items).decode()
        assert not gate.marks.effects
        assert await gate.violations() == []


@KINDS
async def test_who_is_asked_to_stand_in_decides(tmp_path: Path, seed: int | None) -> None:
    """A delegate who is named by nobody else answers in the delegator's stead."""
    named = SLOW + 'approvers = ["noa"]\n'
    async with whole(tmp_path / "log.db", seed=seed, approval_policy=policy(tmp_path, named)) as gate:
        key = await gate.submit("s", ("credit", {"n": 5}))
        question = await asked(gate)
        await say(gate, question, "delegate", delegate_to="ole")
        await _counted(gate, "noa")
        await say(gate, question, "approve", who="ole")
        assert await gate.statuses(key) == ["executed"]
        assert (await finished(gate)).decision.approvers == ("ole",)
        assert await gate.violations() == []


async def _counted(gate: Whole, who: str) -> None:
    """Wait until somebody's vote is among the ballots."""
    async with asyncio.timeout(20):
        while True:
            found = await gate.events(topics.BALLOTS)
            if any(isinstance(event, BallotCast) and event.vote.approver == who for event in found):
                return
            await asyncio.sleep(0.05)


@KINDS
@pytest.mark.parametrize(
    ("answer", "content", "status"),
    [("approve", {}, "executed"), ("reject", {}, "not_executed"), ("respond", {"response": {"ref": 7}}, "executed")],
)
async def test_what_is_in_doubt_is_settled_by_a_person(
    tmp_path: Path, seed: int | None, answer: str, content: dict[str, Any], status: str
) -> None:
    """A time-out is asked about; what the person found is the action's one end, and nothing is started again."""
    async with whole(tmp_path / "log.db", seed=seed, approval_policy=policy(tmp_path)) as gate:
        key = await gate.submit("s", ("hang", {"n": 1}))
        question = await asked(gate, "settle")
        assert question.doubt is not None
        await say(gate, question, answer, **content)
        assert await gate.statuses(key) == [status]
        end = await finished(gate)
        assert (end.via, end.status) == ("person", status)
        assert (None if end.output is None else orjson.loads(bytes(end.output))) == content.get("response")
        assert list(gate.marks.effects.values()) == [1]
        assert await resolutions(gate) == ["settled"]


@KINDS
async def test_of_a_race_of_two_answers_one_counts(tmp_path: Path, seed: int | None) -> None:
    """An approval and a rejection at once come to one end, which is the one that the tally says."""
    async with whole(tmp_path / "log.db", seed=seed, approval_policy=policy(tmp_path)) as gate:
        key = await gate.submit("s", ("credit", {"n": 5}))
        question = await asked(gate)
        await asyncio.gather(say(gate, question, "approve", "noa"), say(gate, question, "reject", "ole"))
        (status,) = await gate.statuses(key)
        assert {"approved": "executed", "rejected": "rejected"}[(await resolutions(gate))[0]] == status
        assert len(gate.marks.effects) == (status == "executed")
        assert await gate.violations() == []
