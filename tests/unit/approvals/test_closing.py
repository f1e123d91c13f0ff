"""A deadline on its way through the entrance: behind every vote in time, and worth nothing before its time."""

from __future__ import annotations

import pytest
from tests.support.approval_values import APPROVAL, DEADLINE, NOW, cast, deadline, question, vote
from tests.support.handler_bench import HandlerBench

from callgate.approvals.closing import AGAIN_SECONDS
from callgate.approvals.handler import ApprovalHandler
from callgate.clock import ManualClock
from callgate.events import ids, topics
from callgate.events.approvals import DeadlinePassed
from callgate.log.port import Record
from callgate.settings import ApprovalSettings, TelemetrySettings
from callgate.telemetry.metrics import Metrics

DUE = f"due/{APPROVAL}"
PASSED = DeadlinePassed(approval_id=APPROVAL, deadline=DEADLINE)


def _bench(partitions: int = 3) -> HandlerBench:
    handler = ApprovalHandler(ApprovalSettings(trusted=True), Metrics(TelemetrySettings()))
    return HandlerBench(handler, partitions=partitions, clock=ManualClock(NOW))


async def test_it_passes_every_partition_of_the_entrance_and_then_counts() -> None:
    """From the timer to the first partition, from each to the next, and from the last to the ballots."""
    bench = _bench()
    await bench.deliver(question())
    (event,) = await bench.fire(DUE)
    way = [bench.places[0]]
    while way[-1].topic == topics.VOTES.name:
        (event,) = await bench.deliver(event, timestamp=DEADLINE, partition=way[-1].partition)
        way += bench.places
    assert [(at.topic, at.partition) for at in way] == [
        ("approvals.votes", 0),
        ("approvals.votes", 1),
        ("approvals.votes", 2),
        ("approvals.ballots", 0),
    ]
    assert event == deadline()
    assert len(await bench.deliver(event)) == 2


async def test_it_stays_behind_the_votes_on_its_approval() -> None:
    """At the entrance it shares the lane of its approval's votes, or it could overtake one that is tried again."""
    handler = _bench().handler
    record = Record(topics.VOTES.name, 0, 0, None, None, (), NOW)
    assert handler.lane(PASSED, record) == handler.lane(vote(), record)


async def test_a_forged_one_ends_nothing_early() -> None:
    """Before the log's time has come to it it is stopped; one about an earlier moment is counted for nothing."""
    bench = _bench(partitions=1)
    await bench.deliver(question())
    assert await bench.deliver(PASSED, timestamp=DEADLINE - 0.001) == []
    (moment,) = await bench.deliver(DeadlinePassed(approval_id=APPROVAL, deadline=NOW), timestamp=NOW + 1)
    assert await bench.deliver(moment) == []
    assert not bench.dead


@pytest.mark.parametrize("forged", [ids.located("apr", 9, "x"), "x"])
async def test_one_of_another_log_is_a_dead_letter(forged: str) -> None:
    """What names no approval of this log goes nowhere."""
    bench = _bench()
    assert await bench.deliver(DeadlinePassed(approval_id=forged, deadline=NOW)) == []
    assert len(bench.dead) == 1


async def test_one_that_does_not_come_through_is_sent_again() -> None:
    """The timer is set again, with growing intervals, until the approval has ended; then it is gone."""
    bench = _bench()
    await bench.deliver(question())
    await bench.clock.advance(DEADLINE + 0.5 - NOW)
    await bench.fire(DUE)
    assert bench.timers[DUE].due == DEADLINE + 0.5 + AGAIN_SECONDS
    await bench.clock.advance(1000)
    assert len(await bench.fire(DUE)) == 1
    assert bench.timers[DUE].due == DEADLINE + 0.5 + 1000 + 1000.5
    await bench.deliver(deadline())
    assert DUE not in bench.timers


async def test_an_approval_that_ended_meanwhile_sends_nothing() -> None:
    """A vote that came through first has taken the timer with it."""
    bench = _bench()
    await bench.deliver(question())
    await bench.deliver(cast())
    assert DUE not in bench.timers
