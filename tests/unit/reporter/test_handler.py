"""The reporter's handler: each fact is reported, noted, and not reported again while the note stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.support.approval_values import ACTION, APPROVAL, NOW, proposed, review
from tests.support.handler_bench import HandlerBench

from callgate.bighub.requests import OutcomeReport
from callgate.clock import ManualClock
from callgate.events import ids, topics
from callgate.events.actions import ActionFinished, ActionInDoubt
from callgate.events.approvals import ApprovalResolved, Resolution
from callgate.events.event import Event
from callgate.events.outcomes import OutcomeObserved
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.log.port import Record
from callgate.reporter.batching import Batcher, Entry
from callgate.reporter.handler import ENDING_SECONDS, MIRROR_SECONDS, ReportHandler
from callgate.settings import TelemetrySettings
from callgate.telemetry.metrics import Metrics


class _Bighub:
    """Takes reports; the next ones fail as planned."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.outcomes: list[OutcomeReport] = []
        self.reconciled: list[tuple[str, Mapping[str, object]]] = []
        self.ingested: list[Entry] = []
        self.resolved: list[tuple[str, str, str]] = []
        self.failures: dict[str, Exception] = {}

    async def report_outcome(self, report: OutcomeReport) -> None:
        self._called("outcome")
        self.outcomes.append(report)

    async def reconcile(self, *, external_ref: str, outcome: Mapping[str, object]) -> None:
        self._called("reconcile")
        self.reconciled.append((external_ref, outcome))

    async def ingest_batch(self, events: Sequence[Entry]) -> None:
        self._called("ingest")
        self.ingested.extend(events)

    async def resolve_approval(self, request_id: str, answer: str, comment: str) -> bool:
        self._called("approval")
        self.resolved.append((request_id, answer, comment))
        return True

    def _called(self, call: str) -> None:
        self.calls.append(call)
        if call in self.failures:
            raise self.failures.pop(call)


def _bench(*, lease: int = 0, partitions: int = 1) -> tuple[HandlerBench, _Bighub]:
    bighub = _Bighub()
    clock = ManualClock(NOW)
    batcher = Batcher(bighub.ingest_batch, clock, linger=0)
    handler = ReportHandler(bighub, batcher, Metrics(TelemetrySettings()))
    return HandlerBench(handler, lease=lease, partitions=partitions, clock=clock), bighub


def _end(**changes: Any) -> ActionFinished:
    fields: dict[str, Any] = {"action": proposed(), "decision": review(verdict="allow"), "status": "executed"}
    return ActionFinished(**{**fields, "via": "run", "finished_at": NOW + 1, **changes})


def _doubt() -> ActionInDoubt:
    return ActionInDoubt(
        action=proposed(), decision=review(), token="t", reason="late", claimed_at=NOW, horizon=None, doubted_at=NOW
    )


def _observed(**changes: Any) -> OutcomeObserved:
    fields: dict[str, Any] = {"outcome_id": "o", "tenant": "acme", "action_id": ACTION, "status": "FRAUD"}
    return OutcomeObserved(**{**fields, "observed_at": NOW, **changes})


async def test_an_end_is_reported_once() -> None:
    """Outcome and events go out together, the outcome first, and a repeat of the record reports nothing."""
    bench, bighub = _bench()
    for _ in range(2):
        assert await bench.deliver(_end()) == []
    assert bighub.calls == ["outcome", "ingest"]
    assert [entry["event_type"] for entry in bighub.ingested] == ["ACTION_PROPOSED", "ACTION_EXECUTED"]


async def test_a_failed_report_leaves_no_note() -> None:
    """What failed for now is raised to the worker, and reported in full when it is tried again."""
    bench, bighub = _bench()
    bighub.failures["ingest"] = TemporaryFailure("503")
    with pytest.raises(TemporaryFailure):
        await bench.deliver(_end())
    assert bench.table.entries == {}
    await bench.deliver(_end())
    assert len(bighub.ingested) == 2


async def test_an_outcome_that_is_never_taken_does_not_hold_up_the_rest() -> None:
    """The record is a dead letter, its events are ingested all the same, and it is noted as done."""
    bench, bighub = _bench()
    bighub.failures["outcome"] = PermanentFailure("404 unknown request")
    await bench.deliver(_end())
    await bench.deliver(_end())
    assert bench.dead == ["404 unknown request"]
    assert bighub.calls == ["outcome", "ingest"]


async def test_what_bighub_did_not_decide_has_no_outcome() -> None:
    """A refused call is told, and no outcome is reported for it."""
    bench, bighub = _bench()
    await bench.deliver(_end(status="refused", decision=review(verdict="refuse", by="fault", request_id=None)))
    assert bighub.calls == ["ingest"]


async def test_a_doubt_is_escalated_once_and_its_end_follows() -> None:
    """Doubt and end are two facts, each told once."""
    bench, bighub = _bench()
    for event in (_doubt(), _doubt(), _end()):
        await bench.deliver(event)
    kinds = [entry["event_type"] for entry in bighub.ingested]
    assert kinds == ["ESCALATION_TRIGGERED", "ACTION_PROPOSED", "ACTION_EXECUTED"]


async def test_an_observed_outcome_goes_under_its_actions_request() -> None:
    """The observer knows our action id; BIGHUB is told its own request id, once."""
    bench, bighub = _bench()
    await bench.deliver(_end())
    for _ in range(2):
        await bench.deliver(_observed())
    assert [(report.request_id, report.status) for report in bighub.outcomes] == [
        ("req_1", "SUCCESS"),
        ("req_1", "FRAUD"),
    ]


async def test_an_outcome_without_a_decision_is_reconciled_by_the_actions_reference() -> None:
    """What BIGHUB did not decide is found by the reference of the events that it was told."""
    bench, bighub = _bench()
    await bench.deliver(_end(status="refused", decision=review(verdict="refuse", by="fault", request_id=None)))
    await bench.deliver(_observed())
    assert [reference for reference, _ in bighub.reconciled] == [ACTION]
    assert {entry["external_ref"] for entry in bighub.ingested} == {ACTION}


async def test_an_observer_may_be_quicker_than_the_end() -> None:
    """An outcome waits for its action's end to be reported, and not for ever."""
    bench, bighub = _bench()
    with pytest.raises(TemporaryFailure):
        await bench.deliver(_observed())
    assert bench.table.entries == {}
    first_tried = bench.clock.now()
    await bench.clock.advance(ENDING_SECONDS)
    await bench.deliver(_observed(), first_tried=first_tried)
    assert [reference for reference, _ in bighub.reconciled] == [ACTION]


async def test_an_outcome_by_request_or_reference_goes_straight_there() -> None:
    """BIGHUB's own id comes first, then the outside reference."""
    bench, bighub = _bench()
    await bench.deliver(_observed(action_id=None, request_id="req_7", external_ref="x", outcome_id="1"))
    await bench.deliver(_observed(action_id=None, external_ref="ticket 7", outcome_id="2"))
    assert [report.request_id for report in bighub.outcomes] == ["req_7"]
    assert [reference for reference, _ in bighub.reconciled] == ["ticket 7"]


async def test_an_outcome_away_from_home_is_forwarded() -> None:
    """Found on another partition, it is written again at home, and reported there only."""
    bench, bighub = _bench(lease=1, partitions=8)
    published = await bench.deliver(_observed(action_id=ids.located("act", 5, "x")))
    assert [type(event) for event in published] == [OutcomeObserved]
    assert bighub.calls == []


_HOPELESS: dict[str, OutcomeObserved] = {
    "names nothing": _observed(action_id=None),
    "forged": _observed(action_id=ids.located("act", 999, "x")),
    "of another tenant": _observed(tenant="evil"),
}


@pytest.mark.parametrize("name", sorted(_HOPELESS))
async def test_a_hopeless_outcome_is_a_dead_letter(name: str) -> None:
    """What can never be reported is kept for people to see, and BIGHUB hears nothing of it."""
    bench, bighub = _bench()
    await bench.deliver(_end())
    bighub.calls.clear()
    assert await bench.deliver(_HOPELESS[name]) == []
    assert len(bench.dead) == 1
    assert bighub.calls == []


async def test_what_was_reported_is_forgotten_after_the_identity_window() -> None:
    """Each note has its timer, and the timer drops the note."""
    bench, _ = _bench()
    await bench.deliver(_end())
    await bench.deliver(_observed())
    assert {timer.due for timer in bench.timers.values()} == {NOW + topics.IDENTITY_WINDOW}
    for key in list(bench.timers):
        await bench.fire(key)
    assert bench.table.entries == {}


async def test_a_waiting_outcome_does_not_hold_up_its_actions_end() -> None:
    """The lane in which an outcome waits for the end is not the lane of the end."""
    bench, _ = _bench()
    record = Record("any", 0, 0, None, None, (), NOW)
    events: list[Event] = [_end(), _doubt()]
    assert {bench.handler.lane(event, record) for event in events} == {ACTION}
    assert bench.handler.lane(_observed(), record) != ACTION


async def test_shares_are_the_tenants() -> None:
    """Reports use the share of the tenant whose action or outcome it is."""
    bench, _ = _bench()
    events: list[Event] = [_end(), _doubt(), _observed()]
    assert {bench.handler.tenant(event) for event in events} == {"acme"}


def _resolved(resolution: Resolution = "approved", **changes: Any) -> ApprovalResolved:
    fields: dict[str, Any] = {"approval_id": APPROVAL, "action": proposed().ref, "request_id": "req_1"}
    fields |= {"approvers": ("lee",), "comment": "fine", "requested_at": NOW - 5, "resolved_at": NOW}
    return ApprovalResolved(resolution=resolution, **{**fields, **changes})


@pytest.mark.parametrize(
    ("resolution", "told"),
    [("approved", "approved"), ("rejected", "denied"), ("edited", "denied"), ("responded", "denied")],
)
async def test_an_answer_is_told_bighubs_queue_once(resolution: Resolution, told: str) -> None:
    """What people said here, and who; the call that was asked about does not run after an edit or a response."""
    bench, bighub = _bench()
    for _ in range(2):
        assert await bench.deliver(_resolved(resolution)) == []
    assert bighub.resolved == [("req_1", told, f"Callgate: {resolution} by lee: fine")]


@pytest.mark.parametrize(
    "event",
    [
        _resolved("expired", approvers=()),
        _resolved("settled", kind="settle"),
        _resolved(request_id=None),
        _resolved(resolved_at=NOW - MIRROR_SECONDS - 1),
    ],
    ids=["expired", "settled", "not BIGHUB's", "long ago"],
)
async def test_what_is_no_answer_for_the_queue_is_not_told(event: ApprovalResolved) -> None:
    """An expiry is never told as a denial, and a new reporter on an old log does not tell its history."""
    bench, bighub = _bench()
    await bench.deliver(event)
    assert bighub.calls == []


async def test_an_answer_that_bighub_never_takes_is_a_dead_letter() -> None:
    """It is given up once, with its reason; one that fails for now is told later."""
    bench, bighub = _bench()
    bighub.failures["approval"] = TemporaryFailure("away")
    with pytest.raises(TemporaryFailure):
        await bench.deliver(_resolved())
    bighub.failures["approval"] = PermanentFailure("no")
    await bench.deliver(_resolved())
    await bench.deliver(_resolved())
    assert bench.dead == ["no"]
    assert bighub.resolved == []
