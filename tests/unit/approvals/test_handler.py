"""The approvals handler: votes become ballots, a result becomes a decision, and a deadline never comes too soon."""

from __future__ import annotations

import msgspec
import pytest
from tests.support.approval_values import APPROVAL, DEADLINE, NOW, cast, deadline, question, vote
from tests.support.handler_bench import HandlerBench

from callgate.approvals.ballots import EVIDENCE_MOST
from callgate.approvals.handler import FORWARDING_SECONDS, ApprovalHandler
from callgate.clock import ManualClock
from callgate.events import ids, topics
from callgate.events.actions import ActionDecided, Decision
from callgate.events.approvals import ApprovalDue, ApprovalResolved, BallotCast
from callgate.events.event import Event
from callgate.log.port import Record
from callgate.settings import ApprovalSettings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.tools.toolbox import Toolbox


def _bench(*, trusted: bool = True, lease: int = 0, partitions: int = 1) -> HandlerBench:
    settings = ApprovalSettings(trusted=trusted, valid_seconds=120)
    handler = ApprovalHandler(settings, Metrics(TelemetrySettings()))
    return HandlerBench(handler, lease=lease, partitions=partitions, clock=ManualClock(NOW))


def _decision(published: list[Event]) -> Decision:
    (decided,) = [event for event in published if isinstance(event, ActionDecided)]
    return decided.decision


async def test_a_vote_is_forwarded_with_its_place_and_time() -> None:
    """The ballot says what the log says of the vote: append time and origin, whatever the voter's clock says."""
    bench = _bench()
    (ballot,) = await bench.deliver(vote(), timestamp=NOW + 7)
    assert isinstance(ballot, BallotCast)
    assert (ballot.appended_at, ballot.origin, ballot.verification) == (NOW + 7, "any/0/0", "trusted")


async def test_a_vote_goes_where_its_approval_is_counted() -> None:
    """A vote found on any partition is forwarded to the one that its approval id names."""
    bench = _bench(lease=2, partitions=8)
    there = ids.located("apr", 5, "x")
    (ballot,) = await bench.deliver(vote(approval_id=there))
    assert isinstance(ballot, BallotCast)
    assert ids.partition_of(ballot.approval_id) == 5


async def test_an_untrusted_entrance_believes_nobody() -> None:
    """Without trust and without signatures a vote is evidence, and never an approval."""
    bench = _bench(trusted=False)
    await bench.deliver(question())
    (ballot,) = await bench.deliver(vote())
    assert isinstance(ballot, BallotCast)
    assert ballot.verification == "refused"
    assert await bench.deliver(ballot) == []


@pytest.mark.parametrize("forged", [ids.located("apr", 9, "x"), ids.located("act", 0, "x"), "apr", "apr_0x1_y"])
async def test_a_vote_on_an_impossible_id_is_a_dead_letter(forged: str) -> None:
    """A vote that names no approval of this log is kept for people to see, and nothing is published for it."""
    bench = _bench(partitions=8)
    assert await bench.deliver(vote(approval_id=forged)) == []
    assert len(bench.dead) == 1


async def test_an_approval_becomes_a_decision_to_allow() -> None:
    """The decision carries the approval, who gave it, how long they took, and what BIGHUB had said."""
    bench = _bench()
    await bench.deliver(question())
    published = await bench.deliver(cast(vote(comment="go on")))
    resolved = published[0]
    assert isinstance(resolved, ApprovalResolved)
    assert (resolved.resolution, resolved.request_id, resolved.approvers) == ("approved", "req_1", ("lee",))
    decision = _decision(published)
    assert (decision.verdict, decision.by, decision.approval_id) == ("allow", "approval", APPROVAL)
    assert (decision.waited_seconds, decision.valid_until, decision.request_id) == (5.0, NOW + 5 + 120, "req_1")
    assert "go on" in decision.told


async def test_a_rejection_becomes_a_decision_to_reject() -> None:
    """The model learns that a person said no."""
    bench = _bench()
    await bench.deliver(question())
    decision = _decision(await bench.deliver(cast(vote("reject"))))
    assert decision.verdict == "reject"
    assert "rejected" in decision.told


async def test_the_deadline_is_put_among_the_ballots_and_only_reading_it_ends_the_approval() -> None:
    """The timer sends it through the entrance and decides nothing; read among the ballots, it expires the approval."""
    bench = _bench()
    await bench.deliver(question())
    assert bench.timers[f"due/{APPROVAL}"].due == DEADLINE + FORWARDING_SECONDS
    (passed,) = await bench.fire(f"due/{APPROVAL}")
    (moment,) = await bench.deliver(passed, timestamp=DEADLINE)
    assert isinstance(moment, ApprovalDue)
    decision = _decision(await bench.deliver(moment))
    assert decision.verdict == "expire"
    assert "not rejected" in decision.told


async def test_a_vote_that_was_read_before_the_moment_wins() -> None:
    """Between the timer and its reading a vote may be counted, and then the moment changes nothing."""
    bench = _bench()
    await bench.deliver(question())
    (passed,) = await bench.fire(f"due/{APPROVAL}")
    assert _decision(await bench.deliver(cast())).verdict == "allow"
    (moment,) = await bench.deliver(passed, timestamp=DEADLINE)
    assert await bench.deliver(moment) == []


async def test_a_resolved_approval_has_no_timer() -> None:
    """What is over wakes nobody; it is only forgotten, after the identity window."""
    bench = _bench()
    await bench.deliver(question())
    await bench.deliver(cast())
    assert set(bench.timers) == {f"forget/{APPROVAL}"}
    assert bench.timers[f"forget/{APPROVAL}"].due == DEADLINE + topics.IDENTITY_WINDOW
    assert await bench.fire(f"forget/{APPROVAL}") == []
    assert bench.table.entries == {}


async def test_everything_twice_resolves_once() -> None:
    """Each record delivered twice gives one resolution and one decision."""
    bench = _bench()
    published: list[Event] = []
    for event in (question(), cast(), deadline(), cast(vote("reject", "sam"), origin="x/0/9")):
        for _ in range(2):
            published += await bench.deliver(event)
    assert [type(event) for event in published] == [ApprovalResolved, ActionDecided]


async def test_a_vote_may_overtake_its_question() -> None:
    """The early vote is kept, and resolves the approval when the question arrives; no deadline is set any more."""
    bench = _bench()
    assert await bench.deliver(cast()) == []
    assert _decision(await bench.deliver(question())).verdict == "allow"
    assert set(bench.timers) == {f"forget/{APPROVAL}"}


async def test_votes_on_what_nobody_asked_are_forgotten() -> None:
    """A vote whose question never comes does not stay in the state for ever."""
    bench = _bench()
    await bench.deliver(cast())
    await bench.fire(f"forget/{APPROVAL}")
    assert bench.table.entries == {}


async def test_too_many_early_votes_are_dead_letters() -> None:
    """Beyond the bound a vote is not dropped silently."""
    bench = _bench()
    for place in range(EVIDENCE_MOST + 1):
        await bench.deliver(cast(origin=f"x/0/{place}"))
    assert len(bench.dead) == 1


async def test_a_question_that_is_given_up_ends_its_action() -> None:
    """A dead question is committed with a decision, so that no turn waits for ever."""
    bench = _bench()
    assert _decision(await bench.give_up(question(), "too large")).verdict == "expire"


async def test_a_repeat_that_is_given_up_leaves_the_approval_open() -> None:
    """A second copy of a question that is already put may fail without ending anything."""
    bench = _bench()
    await bench.deliver(question())
    assert await bench.give_up(question(), "a defect") == []


async def test_a_moment_that_is_given_up_ends_its_action() -> None:
    """If even the deadline can't be counted, the action ends as unanswered; if it was resolved, nothing happens."""
    bench = _bench()
    assert await bench.give_up(deadline(), "a defect") == []
    await bench.deliver(question())
    assert _decision(await bench.give_up(deadline(), "a defect")).verdict == "expire"
    await bench.deliver(cast())
    assert await bench.give_up(deadline(), "a defect") == []


async def test_a_vote_that_is_given_up_changes_nothing() -> None:
    """Its approval still has its deadline."""
    bench = _bench()
    assert await bench.give_up(vote(), "unreadable") == []


async def test_lanes_keep_counting_apart_from_the_entrance() -> None:
    """Ballots, question and moments of an approval share a lane; its votes at the entrance have another."""
    bench = _bench()
    record = Record("any", 0, 0, None, None, (), NOW)
    lanes = {bench.handler.lane(event, record) for event in (question(), cast(), deadline())}
    assert lanes == {APPROVAL}
    assert bench.handler.lane(vote(), record) not in lanes


async def test_shares_are_the_tenants() -> None:
    """A question uses its tenant's share of the worker."""
    assert _bench().handler.tenant(question()) == "acme"


async def test_the_state_does_not_repeat_the_question_with_every_vote() -> None:
    """A vote rewrites the tally only: a large question is written once."""
    bench = _bench()
    asked = question(quorum=2)
    large = msgspec.structs.replace(asked, action=msgspec.structs.replace(asked.action, target="x" * 100_000))
    await bench.deliver(large)
    assert f"tally/{APPROVAL}" not in bench.table.entries
    await bench.deliver(cast())
    assert len(bench.table.entries[f"tally/{APPROVAL}"]) < 1000


async def test_what_is_open_is_not_forgotten() -> None:
    """A vote that came long before its question has set a time to be forgotten: the question outlives it."""
    bench = _bench()
    await bench.deliver(cast())
    await bench.deliver(question(quorum=2, deadline=DEADLINE + 40 * topics.DAY))
    await bench.clock.advance(topics.IDENTITY_WINDOW)
    assert await bench.fire(f"forget/{APPROVAL}") == []
    assert _decision(await bench.deliver(cast(vote(approver="sam"), origin="y"))).verdict == "allow"


class _Prepared:
    """Approvals beside a tool that notes how often its call is prepared."""

    def __init__(self) -> None:
        self.times = 0
        box = Toolbox()

        @box.tool(name="pay", target_from_args=self._note)
        def pay(amount: int) -> None: ...

        entry = box.entry("pay")
        assert entry is not None
        settings = ApprovalSettings(trusted=True)
        self.bench = HandlerBench(
            ApprovalHandler(settings, Metrics(TelemetrySettings()), toolbox=box), clock=ManualClock(NOW)
        )
        asked = question(answers=("approve", "reject", "edit"), eligible=("lee", "sam"), quorum=2)
        self.question = msgspec.structs.replace(
            asked, action=msgspec.structs.replace(asked.action, tool_version=entry.version)
        )

    def _note(self, _: object) -> str:
        self.times += 1
        return "account"

    def edit(self, approver: str, vote_id: str = "e", origin: str = "v/0/1", at: float = NOW + 5) -> BallotCast:
        return cast(vote("edit", approver, vote_id, arguments=msgspec.Raw(b'{"amount":1}')), origin=origin, at=at)

    async def deliver(self, ballot: BallotCast) -> list[BallotCast]:
        """What an edit becomes among the ballots, which are delivered again."""
        checked = [event for event in await self.bench.deliver(ballot) if isinstance(event, BallotCast)]
        for each in checked:
            await self.bench.deliver(each)
        return checked


async def test_only_an_edit_that_may_count_is_held_against_its_tool() -> None:
    """Who may not answer, comes too late or repeats a vote runs nothing of the tool's, and makes no large ballot."""
    on = _Prepared()
    await on.bench.deliver(on.question)
    for ballot in (on.edit("max"), on.edit("kim"), on.edit("lee", at=DEADLINE + 1)):
        (refused,) = await on.deliver(msgspec.structs.replace(ballot, origin=f"v/{ballot.vote.approver}"))
        assert refused.refusal is not None
        assert (refused.checked, refused.revised) == (True, None)
    assert on.times == 0
    (checked,) = await on.deliver(on.edit("sam"))
    assert checked.revised is not None
    assert await on.deliver(on.edit("sam", origin="v/0/2")) == []
    assert on.times == 1


async def test_early_edits_are_held_against_their_tool_where_they_may_count() -> None:
    """What came before its question is looked at in the same way once the question is there."""
    on = _Prepared()
    for place, who in enumerate(("max", "sam")):
        await on.bench.deliver(on.edit(who, origin=f"v/0/{place}"))
    found = [event for event in await on.bench.deliver(on.question) if isinstance(event, BallotCast)]
    assert [(each.checked, each.revised is None) for each in found] == [(True, True), (True, False)]
    assert on.times == 1
