"""The sandbox as a process with a state file: it announces itself, survives SIGKILL, and ends on SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest

from callgate.failures import BadInput
from callgate.sandbox.service import Sandbox

PROGRAM = """
import asyncio, sys
from pathlib import Path
from callgate.sandbox.service import run_sandbox
asyncio.run(run_sandbox(port=0, state=Path(sys.argv[1]), announce=lambda line: print(line, flush=True)))
"""


@asynccontextmanager
async def process(state: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A sandbox in a process of its own, and its address."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(state), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert running.stdout is not None
        line = orjson.loads(await running.stdout.readline())
        assert line["state"] == str(state)
        yield running, line["bighub"]
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def evaluate(url: str, key: str, action: str = "refund") -> tuple[int, bytes]:
    """Status and exact body of an evaluation."""
    headers = {"X-API-Key": "any", "Idempotency-Key": key}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{url}/actions/evaluate", json={"action": action}) as response,
    ):
        return response.status, await response.read()


async def test_what_was_said_survives_sigkill(tmp_path: Path) -> None:
    """After a kill the same key gives the identical bytes, and the same key with another body is still refused."""
    state = tmp_path / "sandbox.db"
    async with process(state) as (running, url):
        said = await asyncio.gather(*(evaluate(url, f"k{n}") for n in range(20)))
        running.kill()
        await running.wait()
    async with process(state) as (_, url):
        assert await asyncio.gather(*(evaluate(url, f"k{n}") for n in range(20))) == said
        status, _body = await evaluate(url, "k1", action="other")
    assert status == 422


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_well(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end the process with exit code 0, and another process takes over its state."""
    state = tmp_path / "sandbox.db"
    async with process(state) as (running, url):
        first = await evaluate(url, "k")
        running.send_signal(number)
        assert await asyncio.wait_for(running.wait(), 10) == 0
    async with Sandbox(state=state) as sandbox:
        assert await evaluate(sandbox.url, "k") == first


async def test_a_port_in_use_says_so() -> None:
    """A port that is taken is bad input of its option, and leaves nothing open."""
    async with Sandbox() as sandbox:
        port = int(sandbox.url.rsplit(":", 1)[1])
        with pytest.raises(BadInput, match="--port"):
            async with Sandbox(port=port):
                pass


async def test_a_file_that_is_no_state_says_so(tmp_path: Path) -> None:
    """A file that is no database, of another version, or in a missing folder is bad input of its option."""
    (tmp_path / "text.db").write_text("this is no database, but it is long enough to be taken for one" * 20)
    for path in (tmp_path / "text.db", tmp_path / "missing" / "x.db", tmp_path):
        with pytest.raises(BadInput, match="--state"):
            async with Sandbox(state=path):
                pass


async def test_the_state_file_keeps_everything(tmp_path: Path) -> None:
    """Approvals, outcomes, journal and switches are there after a restart."""
    state = tmp_path / "sandbox.db"
    headers = {"X-API-Key": "any"}
    async with Sandbox(state=state) as sandbox, aiohttp.ClientSession(sandbox.url, headers=headers) as session:
        _status, body = await evaluate(sandbox.url, "k")
        request_id = orjson.loads(body)["request_id"]
        await session.post("/outcomes/report", json={"request_id": request_id, "status": "SUCCESS"})
        await session.post("/ingest", json={"event_type": "ACTION_EXECUTED"})
        await session.post("/kill-switch/activate", json={"reason": "drill"})
    async with Sandbox(state=state) as sandbox:
        assert [each["status"] for each in sandbox.store.outcomes(request_id)] == ["SUCCESS"]
        assert len(sandbox.store.ingested()) == 1
        assert [each["reason"] for each in sandbox.store.active_switches()] == ["drill"]
