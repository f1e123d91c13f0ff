"""Votes at an entrance that asks for proof, over the real worker and log, plain and hostile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from tests.support.approval_values import DIGEST, proposed, question, vote
from tests.support.signing_values import LEE, SAM, key_file

from callgate.approvals.ballots import COMMENT_MOST, EVIDENCE_MOST
from callgate.approvals.service import build
from callgate.approvals.state import TALLY
from callgate.approvers.signing import SigningKey, make_key
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.control.view import ControlView
from callgate.events import ids, topics
from callgate.events.actions import ActionDecided
from callgate.events.approvals import ApprovalRequested, ApprovalVoted, BallotCast
from callgate.events.codec import decode, encode
from callgate.events.event import Event
from callgate.events.routing import address
from callgate.log.address import open_log
from callgate.log.port import Log, Outgoing
from callgate.log.sqlite.hostile import Hostility
from callgate.settings import ApprovalSettings, Settings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.host import Host
from callgate.worker.worker import Worker

_KINDS = pytest.mark.parametrize("seed", [None, 1, 2], ids=["plain", "hostile 1", "hostile 2"])
_JUNK = 10_000


@asynccontextmanager
async def _running(folder: Path, seed: int | None) -> AsyncIterator[Log]:
    """The approvals on a log in memory, where lee's and sam's keys are known."""
    clock = SystemClock()
    hostile = None if seed is None else Hostility(seed=seed)
    log = await open_log("sqlite://:memory:", clock=clock, hostile=hostile)
    settings = Settings(approval=ApprovalSettings(keys=str(key_file(folder, LEE, SAM))))
    metrics, stop = Metrics(TelemetrySettings()), asyncio.Event()
    host = Host(log=log, clock=clock, settings=settings, metrics=metrics, control=ControlView(log))
    workers = [
        Worker(log, job, settings=settings.worker, clock=clock, metrics=metrics, jitter=lambda: 0.5)
        for job in build(host)
    ]
    running = [asyncio.create_task(worker.run(stop)) for worker in workers]
    try:
        yield log
    finally:
        stop.set()
        await asyncio.gather(*running)
        await log.close()


async def _write(log: Log, *events: Event) -> None:
    records: list[Outgoing] = []
    for event in events:
        at = address(event, log.partitions)
        value, headers = encode(event, source="test", time=0.0)
        records.append(Outgoing(at.topic, at.partition, at.key.encode(), value, headers))
    await log.publish(records)


async def _all(log: Log, topic: topics.Topic) -> list[Event]:
    found: list[Event] = []
    for partition in range(log.partitions):
        found += [decode(each.value, each.headers).event async for each in log.scan(topic.name, partition)]
    return found


async def _until(done: Callable[[], Awaitable[bool]], seconds: float = 90.0) -> None:
    """Ask again and again, as a stranger to the process would have to."""
    async with asyncio.timeout(seconds):
        while not await done():  # noqa: ASYNC110 - the log tells nobody outside
            await asyncio.sleep(0.05)


def _question(number: int, partitions: int, seconds: float = 600.0) -> ApprovalRequested:
    turn, action, now = ids.turn_key(number % partitions, "acme", f"s{number}", "1"), proposed(), SystemClock().now()
    ref = msgspec.structs.replace(action.ref, id=ids.action_id(turn, 0, 0, "c"), turn_key=turn, session=f"s{number}")
    return question(
        approval_id=ids.approval_id(number % partitions, ref.id, 1, 0, "action"),
        action=msgspec.structs.replace(action, ref=ref),
        requested_at=now,
        deadline=now + seconds,
    )


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


@_KINDS
async def test_only_proven_votes_count(tmp_path: Path, seed: int | None) -> None:
    """Forged, altered, replayed, expired and mismatching votes are evidence; a proven vote decides each approval.

    Half of the votes come before their question, and every one comes twice.
    """
    async with _running(tmp_path, seed) as log:
        client, expected = Client(log, SystemClock()), dict[str, str]()
        asked = [_question(number, log.partitions) for number in range(12)]
        for number, each in enumerate(asked):
            expected[each.approval_id] = "reject" if number % 3 else "allow"
            if number % 2:
                await _write(log, each)
            await _write(log, *_false(each, asked[number - 1]) * 2)
            good = vote(
                "reject" if number % 3 else "approve", "sam", approval_id=each.approval_id, vote_id=f"good {number}"
            )
            for _ in range(2):
                await client.vote(good, key=SAM)
            if number % 2 == 0:
                await _write(log, each)

        async def answered() -> bool:
            return len(await _all(log, topics.DECIDED)) >= len(asked)

        await _until(answered)
        decided = [event for event in await _all(log, topics.DECIDED) if isinstance(event, ActionDecided)]
        assert {str(event.decision.approval_id): event.decision.verdict for event in decided} == expected
        assert all(event.decision.approvers == ("sam",) for event in decided)
        assert await _all(log, topics.DEADLETTERS) == []

        async def judged() -> bool:
            votes = await _all(log, topics.VOTES)
            ballots = [event for event in await _all(log, topics.BALLOTS) if isinstance(event, BallotCast)]
            return len({ballot.origin for ballot in ballots}) == len(votes)

        await _until(judged)
        ballots = {event.origin: event for event in await _all(log, topics.BALLOTS) if isinstance(event, BallotCast)}
        # Of the false ones that about other arguments is signed well: the counting refuses it, not the entrance.
        counts = Counter(ballot.verification for ballot in ballots.values())
        assert counts == {"refused": 6 * 2 * len(asked), "signed": 4 * len(asked)}


async def test_junk_before_a_vote_leaves_it_its_place(tmp_path: Path) -> None:
    """Ten thousand junk votes before it on its partition change nothing: it counts, and no junk is in the state."""
    async with _running(tmp_path, None) as log:
        asked = _question(0, log.partitions)
        await _write(log, asked)
        for start in range(0, _JUNK, 1000):
            junk = [
                vote(approver=f"junk{number}", vote_id=str(number), approval_id=asked.approval_id)
                for number in range(start, start + 1000)
            ]
            await _write(log, *junk)
        await _write(log, _signed(asked))

        async def answered() -> bool:
            return bool(await _all(log, topics.DECIDED))

        await _until(answered)
        kept = [value async for _, key, value in log.tables("approvals") if key.startswith(TALLY)]
        assert len(kept) == 1
        assert b"junk" not in kept[0]

        async def judged() -> bool:
            ballots = [event for event in await _all(log, topics.BALLOTS) if isinstance(event, BallotCast)]
            return Counter(ballot.verification for ballot in ballots) == {"refused": _JUNK, "signed": 1}

        await _until(judged)
        assert await _all(log, topics.DEADLETTERS) == []


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


@pytest.mark.parametrize("flood", ["early", "changing"])
async def test_whoever_may_vote_can_stop_nobody_elses_approvals(tmp_path: Path, flood: str) -> None:
    """However much one known key says, about whatever, the service goes on, and the others' questions are answered."""
    async with _running(tmp_path, None) as log:
        first, second = _question(0, log.partitions), _question(8, log.partitions)
        answers = ("approve", "reject", "respond", "abstain")
        first = msgspec.structs.replace(first, quorum=2, answers=answers)
        await _write(log, first)
        await _write(log, *(_early_flood(ids.located("apr", 0, "x")) if flood == "early" else _changing(first)))
        await _write(log, second)

        async def counted() -> bool:
            ballots = [event for event in await _all(log, topics.BALLOTS) if isinstance(event, BallotCast)]
            return len(ballots) >= len(_early_flood("apr_000_x") if flood == "early" else _changing(first))

        await _until(counted)
        await _write(log, _signed(second, SAM), _signed(first, SAM, answer="reject"))

        async def answered() -> bool:
            return len(await _all(log, topics.DECIDED)) == 2

        await _until(answered, 30.0)
