"""The notifier's handler: every channel once, none held up by another, and no news that is none any more."""

from __future__ import annotations

import pytest
from tests.support.approval_values import DEADLINE, NOW, cast, proposed, question
from tests.support.handler_bench import HandlerBench
from tests.support.notices import Told

from callgate.clock import ManualClock
from callgate.events import topics
from callgate.events.approvals import ApprovalRequested, ApprovalResolved
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.notifier.handler import NotifyHandler
from callgate.settings import TelemetrySettings
from callgate.telemetry.metrics import Metrics


def _bench(*channels: Told) -> HandlerBench:
    handler = NotifyHandler(channels, Metrics(TelemetrySettings()), patience_seconds=3600.0)
    return HandlerBench(handler, clock=ManualClock(NOW + 1))


def _resolved() -> ApprovalResolved:
    return ApprovalResolved(
        approval_id=question().approval_id,
        action=proposed().ref,
        resolution="approved",
        requested_at=NOW,
        resolved_at=NOW,
    )


async def test_each_channel_is_told_once() -> None:
    """A record that comes twice tells nobody twice; nothing is published."""
    here, there = Told("here"), Told("there")
    bench = _bench(here, there)
    for _ in range(2):
        assert await bench.deliver(question()) == []
    assert [notice.kind for notice in (*here.notices, *there.notices)] == ["requested", "requested"]


async def test_a_channel_that_fails_holds_up_no_other() -> None:
    """The one that took it is noted before the record goes back, and only the other is tried again."""
    here, there = Told("here"), Told("there", failures=[TemporaryFailure("busy", delay=9.0)])
    bench = _bench(here, there)
    with pytest.raises(TemporaryFailure, match="busy") as failed:
        await bench.deliver(question())
    assert failed.value.delay == 9.0
    await bench.deliver(question())
    assert (len(here.notices), len(there.notices)) == (1, 1)


async def test_a_refusal_is_a_dead_letter_with_its_reason() -> None:
    """What one channel never takes is kept to be redriven; the other has been told, once."""
    here, there = Told("here"), Told("there", failures=[PermanentFailure("refused with 404")])
    bench = _bench(here, there)
    await bench.deliver(question())
    assert bench.dead == ["refused with 404"]
    await bench.deliver(question())
    assert (len(here.notices), len(there.notices)) == (1, 1)


async def test_if_nobody_takes_it_nothing_is_noted() -> None:
    """A round without success leaves no trace but the failure."""
    bench = _bench(Told(failures=[TemporaryFailure("busy")]))
    with pytest.raises(TemporaryFailure):
        await bench.deliver(question())
    assert bench.table.entries == {}


async def test_no_question_is_told_after_its_deadline() -> None:
    """Nobody is called to answer what can't be answered any more."""
    here = Told()
    bench = _bench(here)
    await bench.clock.advance(DEADLINE - NOW)
    await bench.deliver(question())
    assert here.notices == []


async def test_old_news_is_not_told() -> None:
    """A notifier that is new on an old log does not tell its history."""
    here = Told()
    bench = _bench(here)
    await bench.clock.advance(3600)
    await bench.deliver(_resolved())
    assert here.notices == []
    assert bench.dead == []


async def test_news_that_nobody_took_in_time_is_a_dead_letter() -> None:
    """Trying ends when patience does, and is not silent."""
    bench = _bench(Told())
    await bench.clock.advance(3600)
    await bench.deliver(_resolved(), attempt=3)
    assert bench.dead == ["nobody took the notice in time"]


async def test_votes_tell_nobody() -> None:
    """Only questions and what becomes of them are news."""
    here = Told()
    await _bench(here).deliver(cast())
    assert here.notices == []


async def test_who_was_told_is_forgotten_with_the_identity_window() -> None:
    """The table does not grow for ever."""
    bench = _bench(Told())
    await bench.deliver(question())
    (key,) = bench.timers
    assert bench.timers[key].due == NOW + 1 + topics.IDENTITY_WINDOW
    await bench.fire(key)
    assert bench.table.entries == {}


def test_no_notice_waits_for_another() -> None:
    """Each event has a lane of its own, and a repeat of it the same; its share is its tenant's."""
    handler = _bench(Told()).handler
    lanes = {handler.lane(event, None) for event in (question(), question(), _resolved())}  # type: ignore[arg-type]
    assert len(lanes) == 2
    assert [handler.tenant(event) for event in (question(), _resolved(), cast())] == ["acme", "acme", ""]
    assert isinstance(question(), ApprovalRequested)
