"""The evaluator decides each attempt once, asks nobody it need not ask, and lets no call hang."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.evaluation_values import BLOCK, PROCEED, REVIEW, Oracle, proposed
from tests.support.handler_bench import HandlerBench

from callgate.bighub.failures import Unauthorized
from callgate.control.scopes import Switches
from callgate.evaluator.handler import EvaluationHandler
from callgate.events import topics
from callgate.events.actions import ActionDecided, Fault
from callgate.events.approvals import ApprovalRequested
from callgate.events.control import ControlChanged
from callgate.events.ids import partition_of
from callgate.events.routing import ballot_partition
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.settings import Settings, TelemetrySettings
from callgate.telemetry.metrics import Metrics


class Evaluator:
    """A handler with switches that can be set, on a bench."""

    def __init__(self, said: Any = PROCEED) -> None:
        """`said` is BIGHUB's answer or failure."""
        self.bighub = Oracle(said)
        self.switches = Switches()
        handler = EvaluationHandler(self.bighub, Settings(), lambda: self.switches, Metrics(TelemetrySettings()))
        self.bench = HandlerBench(handler, partitions=4)

    async def decide(self, action: Any, **options: Any) -> ActionDecided:
        """The one decision that comes of a proposal."""
        decided = (await self.bench.deliver(action, **options))[0]
        assert isinstance(decided, ActionDecided)
        return decided

    def switch(self, kind: Any, **scope: Any) -> None:
        """Set a switch."""
        change = ControlChanged(kind=kind, changed_by="op", reason="incident", changed_at=0.0, **scope)
        self.switches = self.switches.apply(change, self.switches.epoch + 1)


async def test_a_proposal_is_decided_once() -> None:
    """A repeat of a proposal makes no second decision and asks nobody; a later attempt is decided anew."""
    on = Evaluator()
    (decided,) = await on.bench.deliver(proposed())
    assert isinstance(decided, ActionDecided)
    assert decided.decision.verdict == "allow"
    assert await on.bench.deliver(proposed()) == []
    assert await on.bench.give_up(proposed(), "late") == []
    assert len(await on.bench.deliver(proposed(attempt=1))) == 1
    assert len(on.bighub.asked) == 2


async def test_a_review_asks_people_in_the_same_unit() -> None:
    """The question carries the call and its decision, lies where it is counted, and has a deadline."""
    on = Evaluator(REVIEW)
    decided, asked = await on.bench.deliver(proposed())
    assert isinstance(decided, ActionDecided)
    assert isinstance(asked, ApprovalRequested)
    assert (asked.action, asked.decision) == (decided.action, decided.decision)
    assert partition_of(asked.approval_id) == ballot_partition("t", "pay", 4)
    assert asked.deadline - asked.requested_at == Settings().approval.deadline_seconds


async def test_a_fault_is_refused_without_asking() -> None:
    """A call that can't run is sent to nobody, also while everything is stopped or unreadable."""
    on = Evaluator()
    on.switches = Switches(readable=False)
    decided = await on.decide(proposed(fault=Fault(code="unknown_tool", message="no such tool")))
    assert decided.decision.verdict == "refuse"
    assert not on.bighub.asked


@pytest.mark.parametrize("scope", [{}, {"tenant": "t"}, {"tool": "pay"}, {"agent": "a", "tenant": "t"}])
async def test_a_stop_is_obeyed_before_anybody_is_asked(scope: dict[str, str]) -> None:
    """A switch over the call blocks it; BIGHUB is not asked."""
    on = Evaluator()
    on.switch("stop", **scope)
    decided = await on.decide(proposed())
    assert (decided.decision.verdict, decided.decision.by) == ("block", "control")
    assert not on.bighub.asked


async def test_a_stop_elsewhere_is_none_of_its_business() -> None:
    """A switch over another tool leaves the call alone."""
    on = Evaluator()
    on.switch("stop", tool="other")
    assert (await on.decide(proposed())).decision.verdict == "allow"


async def test_a_hold_and_unreadable_switches_wait() -> None:
    """Nothing is decided while it is held, or while nobody knows what the switches say."""
    on = Evaluator()
    on.switch("hold")
    with pytest.raises(TemporaryFailure, match="held"):
        await on.bench.deliver(proposed())
    on.switches = Switches(readable=False)
    with pytest.raises(TemporaryFailure):
        await on.bench.deliver(proposed())
    assert not on.bighub.asked


async def test_an_outage_is_waited_out_and_then_blocks() -> None:
    """BIGHUB that can't be reached is tried again for a quarter of an hour; then the call is blocked by outage."""
    on = Evaluator(TemporaryFailure("refused"))
    started = on.bench.clock.now()
    for _ in range(9):
        with pytest.raises(TemporaryFailure):
            await on.bench.deliver(proposed(), first_tried=started)
        await on.bench.clock.advance(100.0)
    decided = await on.decide(proposed(), first_tried=started)
    assert (decided.decision.verdict, decided.decision.by) == ("block", "outage")


async def test_bighub_that_comes_back_in_time_decides() -> None:
    """An outage that ends leaves no trace."""
    on = Evaluator(TemporaryFailure("refused"))
    started = on.bench.clock.now()
    with pytest.raises(TemporaryFailure):
        await on.bench.deliver(proposed(), first_tried=started)
    on.bighub.said = PROCEED
    await on.bench.clock.advance(10_000.0)
    assert (await on.decide(proposed(), first_tried=started)).decision.verdict == "allow"


async def test_a_refused_key_blocks_nothing_however_long() -> None:
    """While BIGHUB refuses the key nothing is decided; when it takes it again the call goes on."""
    on = Evaluator(Unauthorized("check the key"))
    started = on.bench.clock.now()
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await on.bench.deliver(proposed(), first_tried=started)
        await on.bench.clock.advance(1000.0)
    on.bighub.said = PROCEED
    assert (await on.decide(proposed(), first_tried=started)).decision.verdict == "allow"


@pytest.mark.parametrize("waited_for", ["hold", "key"])
async def test_waiting_for_a_hold_or_a_key_is_no_outage(waited_for: str) -> None:
    """The patience with an outage begins when the hold is lifted or the key is mended."""
    on = Evaluator(Unauthorized("check the key"))
    started = on.bench.clock.now()
    if waited_for == "hold":
        on.switch("hold")
    await on.bench.clock.advance(5000.0)
    with pytest.raises(TemporaryFailure):
        await on.bench.deliver(proposed(), first_tried=started)
    on.switches = Switches()
    on.bighub.said = TemporaryFailure("refused")
    await on.bench.clock.advance(800.0)
    with pytest.raises(TemporaryFailure):
        await on.bench.deliver(proposed(), first_tried=started)
    await on.bench.clock.advance(200.0)
    assert (await on.decide(proposed(), first_tried=started)).decision.by == "outage"


async def test_a_request_that_bighub_will_never_take_is_blocked() -> None:
    """A 400 or 422 ends in a block with its reason, not in a dead letter or a hang."""
    on = Evaluator(PermanentFailure("BIGHUB can't take this request (evaluate, 422)"))
    decided = await on.decide(proposed())
    assert (decided.decision.verdict, decided.decision.by) == ("block", "bighub")
    assert "422" in decided.decision.reason
    assert on.bench.dead == []


async def test_what_is_given_up_is_blocked() -> None:
    """A proposal that becomes a dead letter ends its action, once."""
    on = Evaluator()
    (decided,) = await on.bench.give_up(proposed(), "defect: KeyError")
    assert isinstance(decided, ActionDecided)
    assert decided.decision.verdict == "block"
    assert await on.bench.give_up(proposed(), "again") == []
    assert await on.bench.deliver(proposed()) == []


async def test_memory_ends_with_the_identity_window() -> None:
    """What was decided is remembered for the window, and no longer."""
    on = Evaluator(BLOCK)
    await on.bench.deliver(proposed())
    ((key, timer),) = on.bench.timers.items()
    assert timer.due == on.bench.clock.now() + topics.IDENTITY_WINDOW
    await on.bench.fire(key)
    assert not on.bench.table.entries
