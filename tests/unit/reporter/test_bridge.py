"""The bridge from BIGHUB's queue: plain answers become one ballot of a named identity, and nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tests.support.approval_values import APPROVAL, DEADLINE, DIGEST, NOW, cast, question, review
from tests.support.handler_bench import HandlerBench

from callgate.bighub.queue import Answered, read
from callgate.clock import ManualClock
from callgate.events.approvals import BallotCast
from callgate.failures import TemporaryFailure
from callgate.reporter.bridge import BridgeHandler

ASKED = "asked/req_1"


class _Queue:
    def __init__(self, *found: Answered) -> None:
        self.found: Sequence[Answered] = found
        self.looks = 0
        self.failure: Exception | None = None

    async def answered_approvals(self) -> Sequence[Answered]:
        self.looks += 1
        if self.failure is not None:
            raise self.failure
        return self.found


def _bench(queue: _Queue) -> HandlerBench:
    clock = ManualClock(NOW)
    return HandlerBench(BridgeHandler(queue, clock, identity="bighub", seconds=10.0), clock=clock)


async def test_an_answer_becomes_a_ballot_of_the_identity() -> None:
    """It is about the arguments that were asked, believed, and in time by when it was seen."""
    bench = _bench(_Queue(Answered("req_1", "approved", "go on")))
    await bench.deliver(question())
    assert bench.timers["poll"].due == NOW + 10
    await bench.clock.advance(10)
    (ballot,) = await bench.fire("poll")
    assert isinstance(ballot, BallotCast)
    assert (ballot.approval_id, ballot.verification, ballot.appended_at) == (APPROVAL, "trusted", NOW + 10)
    assert (ballot.vote.approver, ballot.vote.answer, ballot.vote.digest) == ("bighub", "approve", DIGEST)
    assert ballot.vote.comment == "go on"


async def test_a_denial_is_a_rejection() -> None:
    """A no there is a no here."""
    bench = _bench(_Queue(Answered("req_1", "denied", None)))
    await bench.deliver(question())
    (ballot,) = await bench.fire("poll")
    assert isinstance(ballot, BallotCast)
    assert ballot.vote.answer == "reject"


async def test_it_is_cast_once_and_polling_ends_with_the_last_question() -> None:
    """An answer stays in BIGHUB's list for long; nobody polls for what is answered or over."""
    queue = _Queue(Answered("req_1", "approved", None))
    bench = _bench(queue)
    await bench.deliver(question())
    assert len(await bench.fire("poll")) == 1
    assert bench.table.entries == {}
    assert bench.timers == {}


async def test_while_a_question_is_open_it_looks_again() -> None:
    """No answer, or answers to others: it polls on, until the deadline takes the question away."""
    queue = _Queue(Answered("req_2", "approved", None))
    bench = _bench(queue)
    await bench.deliver(question())
    assert await bench.fire("poll") == []
    assert bench.timers["poll"].due == NOW + 10
    assert bench.timers[ASKED].due == DEADLINE
    await bench.fire(ASKED)
    assert await bench.fire("poll") == []
    assert bench.timers == {}


async def test_a_repeat_of_the_question_neither_restarts_nor_repeats() -> None:
    """The second copy of a record leaves the timer where it is, so steady work can't put polling off."""
    bench = _bench(_Queue())
    await bench.deliver(question())
    await bench.clock.advance(5)
    await bench.deliver(question())
    await bench.deliver(question(approval_id=APPROVAL + "2", decision=review(request_id="req_9")))
    assert bench.timers["poll"].due == NOW + 10


async def test_what_bighub_does_not_know_is_not_looked_for() -> None:
    """Without BIGHUB's id, after the deadline, or of another kind there is nothing to find; and so for ballots."""
    bench = _bench(_Queue())
    await bench.deliver(question(decision=review(request_id=None)))
    await bench.deliver(question(kind="settle"))
    await bench.deliver(question(deadline=NOW - 1))
    await bench.deliver(cast())
    assert bench.timers == {}


async def test_a_look_that_fails_changes_nothing() -> None:
    """BIGHUB away: the worker tries the timer again, and the question is still there."""
    queue = _Queue(Answered("req_1", "approved", None))
    bench = _bench(queue)
    await bench.deliver(question())
    queue.failure = TemporaryFailure("away")
    with pytest.raises(TemporaryFailure):
        await bench.fire("poll")
    assert ASKED in bench.table.entries


async def test_leases_of_a_process_share_a_look() -> None:
    """Eight leases that poll at about the same time ask BIGHUB once."""
    queue = _Queue()
    clock = ManualClock(NOW)
    handler = BridgeHandler(queue, clock, identity="bighub", seconds=10.0)
    for lease in range(8):
        bench = HandlerBench(handler, lease=lease, partitions=8, clock=clock)
        await bench.deliver(question())
        await bench.fire("poll")
    assert queue.looks == 1
    await clock.advance(5)
    await bench.fire("poll")
    assert queue.looks == 2


_NO_ANSWERS: dict[str, Any] = {
    "no object": ["approved"],
    "pending": {"request_id": "req_1", "status": "pending"},
    "expired": {"request_id": "req_1", "status": "expired"},
    "no id": {"status": "approved"},
    "an id that is none": {"request_id": "../x", "status": "approved"},
    "other capitals": {"request_id": "req_1", "status": "APPROVED"},
    "a contradiction": {"request_id": "req_1", "status": "approved", "resolution": "denied"},
    "a changed call": {"request_id": "req_1", "status": "approved", "modified_action": {"action": "pay_less"}},
    "a better action": {"request_id": "req_1", "status": "approved", "better_action": "pay_less"},
    "modified": {"request_id": "req_1", "status": "approved", "review_decision": "modified"},
    "our own": {"request_id": "req_1", "status": "approved", "comment": "Callgate: approved by lee"},
}


@pytest.mark.parametrize("name", sorted(_NO_ANSWERS))
def test_what_is_not_plainly_an_answer_is_none(name: str) -> None:
    """Unknown is never yes: an approval of something else, a contradiction, or what we have put there ourselves."""
    assert read(_NO_ANSWERS[name]) is None


def test_a_plain_answer_is_read() -> None:
    """Status alone is enough, as not every list says more; a comment that is no text is none."""
    assert read({"request_id": "req_1", "status": "approved", "comment": 5}) == Answered("req_1", "approved", None)
    assert read({"request_id": "r", "status": "denied", "comment": "no"}) == Answered("r", "denied", "no")


def test_a_comment_that_is_no_unicode_is_one_that_can_be_written() -> None:
    """A comment that no event could carry would keep every later answer from coming in."""
    found = read({"request_id": "req_1", "status": "denied", "comment": "no \udcff"})
    assert found is not None
    assert found.comment == "no \\udcff"
