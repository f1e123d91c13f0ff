"""The reporter over the real SDK against the sandbox: what BIGHUB then knows of an action."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.support.approval_values import ACTION, NOW, proposed, review
from tests.support.handler_bench import HandlerBench

from callgate.bighub.client import Bighub
from callgate.bighub.failures import Unauthorized
from callgate.bighub.requests import EvaluateRequest
from callgate.clock import ManualClock
from callgate.events.actions import ActionFinished
from callgate.events.outcomes import OutcomeObserved
from callgate.failures import TemporaryFailure
from callgate.reporter.batching import Batcher
from callgate.reporter.handler import ReportHandler
from callgate.sandbox.faults import parse_faults
from callgate.sandbox.service import Sandbox
from callgate.settings import BighubSettings, Secret, TelemetrySettings
from callgate.telemetry.metrics import Metrics


@asynccontextmanager
async def _reporting(fault: str = "") -> AsyncIterator[tuple[HandlerBench, Bighub, Sandbox]]:
    faults = parse_faults(fault)
    async with Sandbox(faults=faults) as sandbox, Bighub(BighubSettings(url=sandbox.url, key=Secret("k"))) as bighub:
        clock = ManualClock(NOW)
        batcher = Batcher(bighub.ingest_batch, clock, linger=0)
        yield HandlerBench(ReportHandler(bighub, batcher, Metrics(TelemetrySettings())), clock=clock), bighub, sandbox


async def _decided(bighub: Bighub) -> ActionFinished:
    resolution = await bighub.evaluate(EvaluateRequest(action="pay", idempotency_key="evt_1"))
    assert resolution.request_id is not None
    return ActionFinished(
        action=proposed(),
        decision=review(verdict="allow", request_id=resolution.request_id, recommendation="proceed"),
        status="executed",
        via="run",
        finished_at=NOW + 1,
    )


async def test_bighub_learns_the_whole_life_of_an_action() -> None:
    """Events under one reference, the outcome under the decision, and days later what was seen in the world."""
    async with _reporting() as (bench, bighub, sandbox):
        end = await _decided(bighub)
        for _ in range(2):
            await bench.deliver(end)
        seen = OutcomeObserved(outcome_id="o", tenant="acme", action_id=ACTION, status="FRAUD", observed_at=NOW + 9)
        for _ in range(2):
            await bench.deliver(seen)
        assert bench.dead == []
        assert [body["event_type"] for body, _ in sandbox.store.ingested()] == ["ACTION_PROPOSED", "ACTION_EXECUTED"]
        assert {body["external_ref"] for body, _ in sandbox.store.ingested()} == {ACTION}
        assert end.decision.request_id is not None
        outcomes = sandbox.store.outcomes(end.decision.request_id)
        assert [each["status"] for each in outcomes] == ["SUCCESS", "FRAUD"]


async def test_an_undecided_action_is_found_by_its_reference() -> None:
    """An outcome of what BIGHUB never decided is reconciled with the events that it was told."""
    async with _reporting() as (bench, _, sandbox):
        refused = ActionFinished(
            action=proposed(),
            decision=review(verdict="refuse", by="fault", request_id=None),
            status="refused",
            via="gate",
            finished_at=NOW + 1,
        )
        await bench.deliver(refused)
        await bench.deliver(
            OutcomeObserved(outcome_id="o", tenant="acme", action_id=ACTION, status="NO_EFFECT", observed_at=NOW + 9)
        )
        assert bench.dead == []
        kinds = [body["event_type"] for body, _ in sandbox.store.ingested()]
        assert kinds == ["ACTION_PROPOSED", "ACTION_BLOCKED", "OUTCOME_OBSERVED"]


async def test_an_outcome_of_an_unknown_decision_is_a_dead_letter_and_the_events_arrive() -> None:
    """A BIGHUB that has forgotten the decision refuses the outcome only."""
    async with _reporting() as (bench, bighub, sandbox):
        end = await _decided(bighub)
        lost = msgspec.structs.replace(end, decision=msgspec.structs.replace(end.decision, request_id="req_unknown"))
        await bench.deliver(lost)
        assert len(bench.dead) == 1
        assert len(sandbox.store.ingested()) == 2


@pytest.mark.parametrize(
    ("status", "failure"), [(503, TemporaryFailure), (429, TemporaryFailure), (401, Unauthorized), (403, Unauthorized)]
)
async def test_what_fails_for_now_is_left_to_the_worker(status: int, failure: type[Exception]) -> None:
    """Nothing is noted, so the worker's retry reports everything; a refused key makes the service unready."""
    async with _reporting(f'[[fault]]\nroute = "POST /ingest/batch"\nstatus = {status}\ntimes = 1\n') as (
        bench,
        bighub,
        _,
    ):
        end = await _decided(bighub)
        with pytest.raises(failure):
            await bench.deliver(end)
        assert (bighub.refused is not None) is (failure is Unauthorized)
        assert bench.table.entries == {}
        await bench.deliver(end)
        assert bighub.refused is None
        assert bench.table.entries != {}
