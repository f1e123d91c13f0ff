"""Votes at an entrance that asks for proof, over the real worker and log of every engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from tests.support.approval_values import DIGEST, numbered_question, vote
from tests.support.log_engines import Engine
from tests.support.serving import everything, serving, until, until_there, write
from tests.support.signing_values import LEE, SAM, key_file

from callgate.approvals.ballots import COMMENT_MOST, EVIDENCE_MOST
from callgate.approvals.service import build
from callgate.approvals.state import TALLY
from callgate.approvers.signing import SigningKey, make_key
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.events import ids, topics
from callgate.events.actions import ActionDecided
from callgate.events.approvals import ApprovalRequested, ApprovalVoted, BallotCast
from callgate.log.port import Log
from callgate.settings import ApprovalSettings, Settings

_JUNK = 10_000


@asynccontextmanager
async def _running(engine: Engine, folder: Path) -> AsyncIterator[Log]:
    """The approvals on a log, where lee's and sam's keys are known."""
    log = await engine.open()
    settings = Settings(approval=ApprovalSettings(keys=str(key_file(folder, LEE, SAM))))
    async with serving(log, settings, build):
        yield log


async def _ballots(log: Log) -> list[BallotCast]:
    """What has become of each vote that was looked at, whoever cast it."""
    cast = [event for event in await everything(log, topics.BALLOTS) if isinstance(event, BallotCast)]
    return list({ballot.origin: ballot for ballot in cast}.values())


def _question(number: int, partitions: int) -> ApprovalRequested:
    return numbered_question(number, partitions, SystemClock().now())


def _signed(asked: ApprovalRequested, key: SigningKey = LEE, **changes: str) -> ApprovalVoted:
    fields = {"approval_id": asked.approval_id, "digest": DIGEST, "approver": key.approvers[0], **changes}
    return key.signed(vote(**fields), SystemClock().now())  # type: ignore[arg-type]


def _false(asked: ApprovalRequested, other: ApprovalRequested) -> list[ApprovalVoted]:
    """Votes to approve that must not count for what is asked."""
    good = _signed(asked)
    forged = make_key(("lee",))
    late = LEE.signed(msgspec.structs.replace(good, signature=None), SystemClock().now() - 9000)
    return [
        msgspec.structs.replace(good, signature=None),
        msgspec.structs.replace(good, vote_id="altered"),
        msgspec.structs.replace(good, approver="mia"),
        msgspec.structs.replace(_signed(other), approval_id=asked.approval_id),
        _signed(asked, forged),
        _signed(asked, digest="f" * 64),
        late,
    ]


async def test_only_proven_votes_count(engine: Engine, tmp_path: Path) -> None:
    """Forged, altered, replayed, expired and mismatching votes are evidence; a proven vote decides each approval.

    Half of the votes come before their question, and every one comes twice.
    """
    async with _running(engine, tmp_path) as log:
        client, expected = Client(log, SystemClock()), dict[str, str]()
        asked = [_question(number, log.partitions) for number in range(12)]
        for number, each in enumerate(asked):
            expected[each.approval_id] = "reject" if number % 3 else "allow"
            if number % 2:
                await write(log, each)
            await write(log, *_false(each, asked[number - 1]) * 2)
            good = vote(
                "reject" if number % 3 else "approve", "sam", approval_id=each.approval_id, vote_id=f"good {number}"
            )
            for _ in range(2):
                await client.vote(good, key=SAM)
            if number % 2 == 0:
                await write(log, each)

        await until_there(log, topics.DECIDED, len(asked))
        decided = [event for event in await everything(log, topics.DECIDED) if isinstance(event, ActionDecided)]
        assert {str(event.decision.approval_id): event.decision.verdict for event in decided} == expected
        assert all(event.decision.approvers == ("sam",) for event in decided)
        assert await everything(log, topics.DEADLETTERS) == []

        async def judged() -> bool:
            votes = await everything(log, topics.VOTES)
            return len(await _ballots(log)) == len(votes)

        await until(judged)
        # Of the false ones that about other arguments is signed well: the counting refuses it, not the entrance.
        counts = Counter(ballot.verification for ballot in await _ballots(log))
        assert counts == {"refused": 6 * 2 * len(asked), "signed": 4 * len(asked)}


@pytest.mark.parametrize("engine", ["plain", "kafka"], indirect=True)
async def test_junk_before_a_vote_leaves_it_its_place(engine: Engine, tmp_path: Path) -> None:
    """Ten thousand junk votes before it on its partition change nothing: it counts, and no junk is in the state."""
    async with _running(engine, tmp_path) as log:
        asked = _question(0, log.partitions)
        await write(log, asked)
        for start in range(0, _JUNK, 1000):
            junk = [
                vote(approver=f"junk{number}", vote_id=str(number), approval_id=asked.approval_id)
                for number in range(start, start + 1000)
            ]
            await write(log, *junk)
        await write(log, _signed(asked))

        await until_there(log, topics.DECIDED, 1)
        kept = [value async for _, key, value in log.tables("approvals") if key.startswith(TALLY)]
        assert len(kept) == 1
        assert b"junk" not in kept[0]

        async def judged() -> bool:
            return Counter(ballot.verification for ballot in await _ballots(log)) == {"refused": _JUNK, "signed": 1}

        await until(judged)
        assert await everything(log, topics.DEADLETTERS) == []


def _early_flood(about: str) -> list[ApprovalVoted]:
    """So many votes on what nobody asked that no more are taken in."""
    return [
        LEE.signed(vote("abstain", approval_id=about, vote_id=str(number)), SystemClock().now())
        for number in range(EVIDENCE_MOST + 40)
    ]


def _changing(asked: ApprovalRequested) -> list[ApprovalVoted]:
    """Somebody who can't make up their mind, and says so at length."""
    said = msgspec.Raw(b'"' + b"x" * 200_000 + b'"')
    chatty = [
        LEE.signed(
            vote("respond", approval_id=asked.approval_id, vote_id=f"r{number}", comment="é" * 9000, response=said),
            SystemClock().now(),
        )
        for number in range(3)
    ]
    short = [
        _signed(asked, LEE, answer="abstain", vote_id=f"{number}", comment="\x01" * COMMENT_MOST)
        for number in range(500)
    ]
    return [*chatty, *short]


@pytest.mark.parametrize("engine", ["plain", "kafka"], indirect=True)
@pytest.mark.parametrize("flood", ["early", "changing"])
async def test_whoever_may_vote_can_stop_nobody_elses_approvals(engine: Engine, tmp_path: Path, flood: str) -> None:
    """However much one known key says, about whatever, the service goes on, and the others' questions are answered."""
    async with _running(engine, tmp_path) as log:
        first, second = _question(0, log.partitions), _question(8, log.partitions)
        answers = ("approve", "reject", "respond", "abstain")
        first = msgspec.structs.replace(first, quorum=2, answers=answers)
        await write(log, first)
        await write(log, *(_early_flood(ids.located("apr", 0, "x")) if flood == "early" else _changing(first)))
        await write(log, second)

        async def counted() -> bool:
            return len(await _ballots(log)) >= len(_early_flood("apr_000_x") if flood == "early" else _changing(first))

        await until(counted)
        await write(log, _signed(second, SAM), _signed(first, SAM, answer="reject"))
        await until_there(log, topics.DECIDED, 2)
        assert len(await everything(log, topics.DECIDED)) == 2
