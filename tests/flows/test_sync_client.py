"""The client for programs without `async`, against a gate that runs elsewhere on the same log."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.whole import Whole, message, whole

from callgate.client import opening
from callgate.client.asking import Caller
from callgate.client.blocking import SyncClient
from callgate.failures import BadInput

CALLER = Caller(tenant="acme", agent="bot", approver="zoe")


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Whole]:
    """A running gate."""
    async with whole(tmp_path / "log.db") as running:
        yield running


def everything(address: str) -> dict[str, Any]:
    """What a program without `async` does."""
    with SyncClient(address, caller=CALLER) as client:
        ran = client.run('call act {"n": 1}', "any", timeout=60)
        streamed = list(client.run_stream('call act {"n": 2}', "any", timeout=60))
        early = next(iter(client.run_stream('call act {"n": 3}', "any", timeout=60)))
        approved = client.run_with_approval(
            'call credit {"n": 4}', "any", on_approval_required=lambda _: {"resolution": "approved"}, timeout=60
        )
        recorded = client.record(message(("act", {"n": 5})), timeout=60)
        resumed = client.resume(ran["turn_key"])
    client.close()
    with pytest.raises(BadInput, match="after close"):
        client.run("hi", "any")
    return {
        "ran": ran,
        "streamed": streamed,
        "early": early,
        "approved": approved,
        "recorded": recorded,
        "resumed": resumed,
    }


async def test_every_call_has_its_twin(gate: Whole, tmp_path: Path) -> None:
    """The same calls without `async` give the same, from a thread without a loop, and leave no thread behind."""
    found = await asyncio.to_thread(everything, f"sqlite:///{tmp_path / 'log.db'}")
    for name in ("ran", "approved", "recorded", "resumed"):
        assert found[name]["execution"]["last"]["status"] == "executed", name
    assert [step["type"] for step in found["streamed"]][-2:] == ["final_response", "response_done"]
    assert found["early"]["type"] in ("llm_started", "execution_event")
    assert found["resumed"] == found["ran"]
    assert not [thread for thread in threading.enumerate() if thread.name == "callgate-client"]


async def test_it_refuses_to_stop_a_running_loop(gate: Whole, tmp_path: Path) -> None:
    """Inside `async` code it says which call to await instead."""
    address = f"sqlite:///{tmp_path / 'log.db'}"
    with pytest.raises(BadInput, match=r"running event loop.*connected"):
        SyncClient(address)
    client = await asyncio.to_thread(SyncClient, address)
    with pytest.raises(BadInput, match=r"await Client\.run"):
        client.run("hi", "any")
    await asyncio.to_thread(client.close)


def test_an_address_that_holds_no_log_is_bad_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is said at once, no log is made, and the thread does not stay."""
    monkeypatch.delenv("CALLGATE_LOG", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(opening, "_PATIENCE_SECONDS", 0.2)
    for address in (None, "sqlite://:memory:", "nowhere", "sqlite:///other.db"):
        with pytest.raises(BadInput, match="CALLGATE_LOG"):
            SyncClient(address)
    assert list(tmp_path.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "callgate-client"]
