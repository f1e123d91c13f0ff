"""Votes at an entrance that asks for proof: the verdict goes into the ballot, and junk costs the counting nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.approval_values import APPROVAL, DEADLINE, NOW, cast, question, vote
from tests.support.handler_bench import HandlerBench
from tests.support.signing_values import LEE, SAM, key_file, signed_as, signed_vote, with_signature

from callgate.approvals.ballots import COMMENT_MOST, EVIDENCE_MOST
from callgate.approvals.handler import UNKNOWN, ApprovalHandler
from callgate.approvers.entrance import open_entrance
from callgate.approvers.signing import make_key
from callgate.approvers.waiting import MOST
from callgate.clock import ManualClock
from callgate.events import ids
from callgate.events.actions import ActionDecided
from callgate.events.approvals import ApprovalDue, ApprovalVoted, BallotCast, DeadlinePassed
from callgate.events.event import Event
from callgate.failures import TemporaryFailure
from callgate.log.port import Record
from callgate.settings import ApprovalSettings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.worker.lanes import Lanes
from callgate.worker.work import Work

JUNK = 10_000
WORTH = ("refused", "signed")
FORGER = make_key(("lee",))


def bench_on(keys: str) -> HandlerBench:
    """The approvals at an entrance with these keys."""
    settings, clock = ApprovalSettings(keys=keys), ManualClock(NOW)
    handler = ApprovalHandler(settings, Metrics(TelemetrySettings()), open_entrance(settings, clock))
    return HandlerBench(handler, clock=clock)


@pytest.fixture
def bench(tmp_path: Path) -> HandlerBench:
    """Lee's and sam's keys are known."""
    return bench_on(str(key_file(tmp_path, LEE, SAM)))


async def cast_at(bench: HandlerBench, voted: ApprovalVoted, at: float = NOW + 1) -> BallotCast:
    """The ballot that a vote becomes, delivered to the counting too."""
    (ballot,) = await bench.deliver(voted, timestamp=at)
    assert isinstance(ballot, BallotCast)
    return ballot


def verdicts(published: list[Event]) -> list[str]:
    """What was decided."""
    return [event.decision.verdict for event in published if isinstance(event, ActionDecided)]


async def test_a_signed_vote_counts_and_says_by_which_key(bench: HandlerBench) -> None:
    """The ballot is verified, names the key, and keeps the signature as evidence; the tally ends the approval."""
    await bench.deliver(question())
    voted = signed_vote()
    ballot = await cast_at(bench, voted)
    assert (ballot.verification, ballot.key, ballot.refusal) == ("signed", LEE.kid, None)
    assert ballot.vote == voted
    assert verdicts(await bench.deliver(ballot)) == ["allow"]


async def test_a_signed_vote_may_overtake_its_question(bench: HandlerBench) -> None:
    """What is proven waits for the question, and counts when it comes."""
    assert await bench.deliver(await cast_at(bench, signed_vote())) == []
    assert verdicts(await bench.deliver(question())) == ["allow"]


@pytest.mark.parametrize(
    ("voted", "reason"),
    [
        (vote(), "not signed"),
        (with_signature(vote(), "junk"), "no compact JWS"),
        (signed_vote(make_key(("lee",))), "not known"),
        (signed_as(vote(), make_key(("lee",)), {"kid": LEE.kid}), "not right"),
        (msgspec.structs.replace(signed_vote(), answer="reject"), "answer differs"),
        (msgspec.structs.replace(signed_vote(), digest="b" * 64), "digest differs"),
        (msgspec.structs.replace(signed_vote(), approver="kim"), "not the voter's"),
        (signed_as(vote(), exp=NOW), "expired"),
        (signed_as(vote(), headers={"typ": "JWT"}), "not taken here"),
        (signed_as(vote(), headers={"typ": "dpop+jwt"}), "neither"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_what_proves_nothing_stays_as_evidence(bench: HandlerBench, voted: ApprovalVoted, reason: str) -> None:
    """The ballot says why, and neither resolves the approval nor takes its voter's place."""
    await bench.deliver(question())
    before = dict(bench.table.entries)
    ballot = await cast_at(bench, voted)
    assert (ballot.verification, ballot.key) == ("refused", None)
    assert reason in (ballot.refusal or "")
    assert await bench.deliver(ballot) == []
    assert bench.table.entries == before
    assert verdicts(await bench.deliver(await cast_at(bench, signed_vote()))) == ["allow"]


async def test_a_repeated_vote_counts_once(bench: HandlerBench) -> None:
    """The same JWS at another place of the entrance is the same vote: it makes no second approval."""
    await bench.deliver(question(quorum=2))
    voted = signed_vote()
    for _ in range(3):
        assert await bench.deliver(await cast_at(bench, voted)) == []
    assert verdicts(await bench.deliver(await cast_at(bench, signed_vote(SAM)))) == ["allow"]


async def test_a_replayed_vote_is_refused(bench: HandlerBench) -> None:
    """A vote for one approval, or for arguments that were edited since, does not count for another."""
    other = msgspec.structs.replace(signed_vote(), approval_id=ids.located("apr", 0, "other"))
    assert (await cast_at(bench, other)).refusal == "the signature is about another vote: approval_id differs"
    edited = question()
    ref = msgspec.structs.replace(edited.action.ref, digest="c" * 64)
    edited = msgspec.structs.replace(edited, action=msgspec.structs.replace(edited.action, ref=ref))
    await bench.deliver(edited)
    assert await bench.deliver(await cast_at(bench, signed_vote())) == []


async def test_late_and_early_are_the_logs_times(bench: HandlerBench) -> None:
    """A good signature after the deadline does not count; the append time decides, whenever it is counted."""
    await bench.deliver(question())
    assert await bench.deliver(await cast_at(bench, signed_vote(SAM), DEADLINE + 0.1)) == []
    await bench.clock.advance(DEADLINE + 100 - NOW)
    assert verdicts(await bench.deliver(await cast_at(bench, signed_vote(), DEADLINE))) == ["allow"]


async def test_after_the_end_nothing_changes_it(bench: HandlerBench) -> None:
    """A proven vote after the resolution is evidence that says so, and starts nothing."""
    await bench.deliver(question())
    assert verdicts(await bench.deliver(await cast_at(bench, signed_vote()))) == ["allow"]
    assert await bench.deliver(await cast_at(bench, signed_vote(SAM, answer="reject"))) == []
    assert b"already approved" in bench.table.entries[f"tally/{APPROVAL}"]


async def test_a_recount_needs_no_keys(tmp_path: Path) -> None:
    """Whoever counts the ballots comes to the same end, also where every key has been revoked or is gone."""
    bench = bench_on(str(key_file(tmp_path, LEE)))
    ballot = await cast_at(bench, signed_vote())
    recount = bench_on(str(key_file(tmp_path, SAM)))
    for each in (bench, recount):
        await each.deliver(question())
        assert verdicts(await each.deliver(ballot)) == ["allow"]


async def test_without_keys_nothing_is_believed_and_known_keys_go_on() -> None:
    """While keys can't be had a vote waits; the approval, and what is refused anyway, wait for nothing."""
    bench = bench_on("http://127.0.0.1:9/none")
    with pytest.raises(TemporaryFailure):
        await bench.deliver(signed_vote())
    assert (await cast_at(bench, vote())).verification == "refused"


async def test_only_so_many_votes_wait_for_keys() -> None:
    """While keys can't be had a flood of votes for them holds a bounded number of places; the rest is refused."""
    bench, waited, refused = bench_on("http://127.0.0.1:9/none"), 0, 0
    for number in range(2 * MOST):
        try:
            refused += (await cast_at(bench, _forged(f"kid{number}"))).verification == "refused"
        except TemporaryFailure:
            waited += 1
    assert (waited, refused) == (MOST, MOST)


async def test_votes_are_counted_by_what_they_are_worth(tmp_path: Path) -> None:
    """Whoever watches the metrics sees junk rise, and how many votes were proven."""
    settings, metrics = ApprovalSettings(keys=str(key_file(tmp_path, LEE))), Metrics(TelemetrySettings())
    bench = HandlerBench(ApprovalHandler(settings, metrics, open_entrance(settings, ManualClock(NOW))))
    for voted in (vote(), vote(), signed_vote()):
        await cast_at(bench, voted)
    values = [metrics.registry.get_sample_value("callgate_votes_total", {"verification": each}) for each in WORTH]
    assert values == [2.0, 1.0]


async def test_large_junk_is_not_copied(bench: HandlerBench) -> None:
    """Evidence names the place of the vote, and does not repeat what is large in it."""
    voted = vote("edit", comment="x" * 9000, arguments=msgspec.Raw(b'"' + b"y" * 9000 + b'"'))
    ballot = await cast_at(bench, voted)
    assert len(msgspec.json.encode(ballot)) < COMMENT_MOST + 1000
    assert ballot.origin == "any/0/0"


async def test_junk_about_unknown_approvals_leaves_no_state(bench: HandlerBench) -> None:
    """However many unproven votes about however many approvals come, nothing is kept, and nobody's place is taken."""
    for number in range(2 * EVIDENCE_MOST):
        approval = APPROVAL if number % 2 else ids.located("apr", 0, str(number))
        assert await bench.deliver(await cast_at(bench, vote(approval_id=approval, vote_id=str(number)))) == []
    assert bench.table.entries == {}
    assert bench.timers == {}
    assert bench.dead == []
    assert await bench.deliver(await cast_at(bench, signed_vote())) == []
    assert verdicts(await bench.deliver(question())) == ["allow"]


def _forged(kid: str, **changes: Any) -> ApprovalVoted:
    head = (signed_as(vote(), FORGER, {"kid": kid}).signature or "").partition(".")[0]
    return with_signature(vote(**changes), f"{head}.e30.AAAA")


def _passed(number: int) -> DeadlinePassed:
    return DeadlinePassed(approval_id=ids.located("apr", 0, str(number)), deadline=0.0)


def _due(number: int) -> ApprovalDue:
    return ApprovalDue(approval_id=ids.located("apr", 0, str(number)), kind="deadline", due_at=0.0)


KINDS: dict[str, Callable[[int], Event]] = {
    "one name": lambda number: vote(vote_id=str(number)),
    "many names": lambda number: vote(approver=f"junk{number}"),
    "many approvals": lambda number: vote(approval_id=ids.located("apr", 0, str(number))),
    "many keys": lambda number: _forged(f"kid{number}"),
    "another's key": lambda number: _forged(SAM.kid, vote_id=str(number)),
    "deadlines": _passed,
    "deadlines among the ballots": _due,
}


@pytest.mark.parametrize("kind", KINDS)
async def test_junk_delays_nobody(bench: HandlerBench, kind: str) -> None:
    """Behind 10,000 junk records of any sort a good vote, and a ballot, run within a few runs: counted, not timed."""
    lanes = Lanes(64, 0.5, {})

    def add(place: int, event: Event) -> None:
        record = Record("approvals.votes", 0, place, None, b"", (), NOW)
        lane, tenant = bench.handler.lane(event, record), bench.handler.tenant(event)
        lanes.add(1, Work(lane=lane, tenant=tenant, ticket=place, record=record))

    for place in range(JUNK):
        add(place, KINDS[kind](place))
    running = []
    while (picked := lanes.pick()) is not None:
        running.append(picked)
    add(JUNK, signed_vote())
    add(JUNK + 1, cast())
    waiting, runs = {JUNK, JUNK + 1}, 0
    while waiting:
        claim, done = running.pop(0)
        lanes.finish((claim, done.lane))
        picked = lanes.pick()
        assert picked is not None
        assert picked[1].record is not None
        running.append(picked)
        waiting.discard(picked[1].record.offset)
        runs += 1
    assert runs <= 4


async def test_what_was_refused_is_counted_apart(bench: HandlerBench) -> None:
    """Ballots that count nothing wait in no approval's lane and take no tenant's share."""
    refused = cast(verification="refused")
    record = Record("approvals.ballots", 0, 7, None, b"", (), NOW)
    assert bench.handler.lane(refused, record) != bench.handler.lane(cast(), record)
    assert bench.handler.tenant(refused) == UNKNOWN
    assert bench.handler.tenant(cast()) != UNKNOWN


async def test_a_senders_votes_keep_their_order(bench: HandlerBench) -> None:
    """What one key says about one approval is forwarded in its order, and waits for no other key."""
    record = Record("approvals.votes", 0, 0, None, b"", (), NOW)
    first, second = signed_vote(), signed_vote(answer="withdraw", vote_id="w")
    assert bench.handler.lane(first, record) == bench.handler.lane(second, record)
    assert bench.handler.lane(first, record) != bench.handler.lane(signed_vote(SAM), record)


async def test_a_vote_that_no_record_could_carry_further_is_refused(tmp_path: Path) -> None:
    """A vote as large as the entrance takes becomes a small ballot: it can't stop the service, whoever it is from."""
    trusting = HandlerBench(ApprovalHandler(ApprovalSettings(trusted=True), Metrics(TelemetrySettings())))
    large = vote("respond", delegate_to="x" * 300_000, comment="y" * 300_000, response=msgspec.Raw(b"1" * 399_000))
    (ballot,) = await trusting.deliver(large)
    assert isinstance(ballot, BallotCast)
    assert ballot.verification == "refused"
    assert "more than" in (ballot.refusal or "")
    assert len(msgspec.json.encode(ballot)) < 2000
