"""Hazards of the published adapter in asking BIGHUB, H1, H2, H5 and H7: none of them can happen here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.evaluation_values import PROCEED, Oracle, proposed
from tests.support.handler_bench import HandlerBench
from tests.support.proposer_values import origin
from tests.support.small_gate import small_gate, statuses

from callgate.bighub.failures import Unauthorized
from callgate.bighub.resolve import resolve
from callgate.client.asking import Caller
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.control.scopes import Switches
from callgate.evaluator.handler import EvaluationHandler
from callgate.events.actions import ActionDecided
from callgate.failures import PermanentFailure, TemporaryFailure
from callgate.settings import Settings, TelemetrySettings
from callgate.telemetry.metrics import Metrics
from callgate.tools.toolbox import Toolbox


async def test_h01_a_value_is_never_required(tmp_path: Path) -> None:
    """The quickstart's tool without any number is asked about and runs; a number is told only where it is declared."""
    box = Toolbox()

    @box.tool
    def grant_access(user_id: str, group: str, duration: str) -> bool:
        return True

    @box.tool
    def pay(amount: float) -> bool:
        return True

    @box.tool(value_from_args=lambda arguments: arguments["amount"])
    def refund(amount: float) -> bool:
        return True

    said = 'call grant_access {"user_id": "a", "group": "g", "duration": "48h"}\ncall pay {"amount": 5}'
    async with small_gate(tmp_path, box) as gate:
        response = await gate.client.run(said + '\ncall refund {"amount": 7}', "any")
        assert statuses(response) == ["executed"] * 3
        assert {each["action"]: each.get("value") for each in gate.asked()} == {
            "grant_access": None,
            "pay": None,
            "refund": 7,
        }


class Evaluator:
    """A handler whose BIGHUB says one thing."""

    def __init__(self, said: Any) -> None:
        self.bighub = Oracle(said)
        handler = EvaluationHandler(self.bighub, Settings(), Switches, Metrics(TelemetrySettings()))
        self.bench = HandlerBench(handler, partitions=4)


@pytest.mark.parametrize("failure", [Unauthorized("401"), TemporaryFailure("500"), PermanentFailure("422")])
async def test_h02_no_failure_of_the_decision_executes(failure: Exception) -> None:
    """A refused key, an outage or a refused request is no decision, or a block; never an allow."""
    on = Evaluator(failure)
    try:
        effects = await on.bench.deliver(proposed())
    except (TemporaryFailure, PermanentFailure):
        return
    assert [event.decision.verdict for event in effects if isinstance(event, ActionDecided)] == ["block"]


async def test_h02_a_bug_in_a_declaration_refuses_the_call(tmp_path: Path) -> None:
    """A `metadata_from_args` that raises ends its own call as refused: nothing runs unasked."""
    ran: list[int] = []
    box = Toolbox()
    box.tool(_marking(ran), name="act", parameters=NUMBERED, metadata_from_args=lambda given: given["no"])
    async with small_gate(tmp_path, box) as gate:
        assert statuses(await gate.client.run('call act {"n": 1}', "any")) == ["refused"]
        assert gate.asked() == []
    assert ran == []


def _marking(ran: list[int]) -> Any:
    def act(n: int) -> None:
        ran.append(n)

    return act


NUMBERED = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
_EXPLANATORY = (
    "decision_intelligence",
    "intelligence",
    "decision_packet",
    "decision_brain",
    "decision_runtime_spine",
    "salient_factors",
    "learning_snapshot",
)


@pytest.mark.parametrize("malformed", ["text", 3, [1], None, True, {"signal": "text", "modules": None}])
@pytest.mark.parametrize("field", _EXPLANATORY)
def test_h05_a_malformed_explanation_breaks_nothing(field: str, malformed: object) -> None:
    """Whatever an explanatory field holds, the answer resolves, and to nothing more than it did without the field."""
    plain = resolve(PROCEED)
    found = resolve({**PROCEED, field: malformed})
    assert found.severity >= plain.severity


async def test_h05_a_malformed_answer_cannot_break_what_has_run(tmp_path: Path) -> None:
    """Contradictory answers of every kind (D1 to D14) end each call, and what ran is said to have run."""
    ran: list[int] = []
    box = Toolbox()
    box.tool(_marking(ran), name="act", parameters=NUMBERED)
    faults = '[[fault]]\nroute = "POST /actions/evaluate"\nhostile = "all"\n'
    said = "\n".join(f'call act {{"n": {n}}}' for n in range(14))
    async with small_gate(tmp_path, box, faults=faults) as gate:
        found = statuses(await gate.client.run(said, "any"))
    assert len(found) == 14
    assert len(ran) == found.count("executed")


async def test_h07_no_call_carries_what_is_another_session_s(tmp_path: Path) -> None:
    """Two users' turns through one client name their own sessions, and nothing of one is in the other's question."""
    box = Toolbox()
    box.tool(lambda n: n, name="act", parameters=NUMBERED)
    async with small_gate(tmp_path, box) as gate:
        for user in ("ann", "bob", "ann"):
            await gate.client.run('call act {"n": 1}', "any", session=f"of-{user}", context={"user": user})
        asked = gate.asked()
    assert [(each["context"]["session_id"], each["context"]["user"]) for each in asked] == [
        ("of-ann", "ann"),
        ("of-bob", "bob"),
        ("of-ann", "ann"),
    ]
    assert not [each for each in asked if "trajectory_id" in each["context"]]


def test_h07_a_client_holds_no_session() -> None:
    """A session that is not named is a new one each time."""
    client = Client(None, SystemClock(), caller=Caller())  # type: ignore[arg-type]  # nothing is written
    names = {client._asked("hi", "m", {})[0].origin.session for _ in range(3)}
    assert len(names) == 3
    assert origin().session not in names
