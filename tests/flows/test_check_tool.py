"""Asking what would be decided, without the call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.whole import POLICY

from callgate.bighub.client import Bighub
from callgate.client.asking import Caller
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.failures import BadInput
from callgate.log.address import open_log
from callgate.sandbox.policy import parse_policy
from callgate.sandbox.service import Sandbox
from callgate.settings import BighubSettings, Secret
from callgate.tools.toolbox import Toolbox


def box_of(ran: list[str]) -> Toolbox:
    """Tools that say that they ran."""
    box = Toolbox()
    for name in ("act", "drop", "pay", "close", "restart"):
        box.tool(lambda n, name=name: ran.append(name), name=name, parameters=SCHEMA, sensitive=("pin",))
    return box


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


async def test_a_check_says_what_would_be_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each verdict has its word, a constraint that the tool can't keep to asks a person, and nothing runs."""
    ran: list[str] = []
    box = box_of(ran)
    log = await open_log(f"sqlite:///{tmp_path / 'log.db'}", clock=SystemClock())
    client = Client(log, SystemClock(), caller=Caller(tenant="acme", agent="bot"))
    async with (
        Sandbox(policy=parse_policy(POLICY)) as sandbox,
        Bighub(BighubSettings(url=sandbox.url, key=Secret("any"))) as bighub,
    ):
        said = {
            name: await client.check_tool(name, {"n": 1}, toolbox=box, bighub=bighub)
            for name in ("act", "drop", "pay", "close", "restart")
        }
        assert {name: each["_resolved_action"] for name, each in said.items()} == {
            "act": "execute",
            "drop": "blocked",
            "pay": "approval_required",
            "close": "needs_context",
            "restart": "approval_required",
        }
        assert said["act"]["decision"]["can_run"] is True
        assert said["pay"]["decision"]["needs_review"] is True
        assert said["drop"]["decision"]["request_id"]
        refused = await client.check_tool("act", {"n": "no"}, toolbox=box, bighub=bighub)
        assert refused["_resolved_action"] == "refused"
        assert "`n` must be of type integer" in refused["decision"]["reason"]
        with pytest.raises(BadInput, match="not in the toolbox"):
            await client.check_tool("nothing", {}, toolbox=box, bighub=bighub)
        monkeypatch.setenv("CALLGATE_BIGHUB_URL", sandbox.url)
        monkeypatch.setenv("CALLGATE_BIGHUB_KEY", "any")
        again = await client.check_tool("act", {"n": 1}, toolbox=box)
        assert again["_resolved_action"] == "execute"
        assert again["decision"]["request_id"] != said["act"]["decision"]["request_id"]
        monkeypatch.delenv("CALLGATE_BIGHUB_KEY")
        with pytest.raises(BadInput, match="CALLGATE_BIGHUB_KEY"):
            await client.check_tool("act", {"n": 1}, toolbox=box)
    assert ran == []
    await log.close()


async def test_a_declaration_that_fails_is_said(tmp_path: Path) -> None:
    """What would refuse the call in the gate is the developer's to see here."""
    box = Toolbox()
    box.tool(lambda n: n, name="act", parameters=SCHEMA, value_from_args=lambda arguments: arguments["amount"])
    log = await open_log(f"sqlite:///{tmp_path / 'log.db'}", clock=SystemClock())
    async with Bighub(BighubSettings(url="http://127.0.0.1:9", key=Secret("any"))) as bighub:
        with pytest.raises(BadInput, match=r"value_from_args.*KeyError"):
            await Client(log, SystemClock()).check_tool("act", {"n": 1}, toolbox=box, bighub=bighub)
    await log.close()
