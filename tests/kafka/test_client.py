"""The client on a real broker: the flows of the embedded log, and turns that are waited for in another process."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pytest
from tests.flows import test_client, test_sync_client
from tests.support.whole import Whole, on_kafka

RESUMING = """
import asyncio, sys
import orjson
from callgate.client.opening import connected

async def main():
    async with connected() as client:
        print(orjson.dumps(await client.resume(sys.argv[1], timeout=60)).decode())

asyncio.run(main())
"""
FLOWS: tuple[Callable[[Whole], Awaitable[None]], ...] = (
    test_client.test_a_run_gives_the_shape_of_the_seeds,
    test_client.test_a_turn_that_waits_is_resumed_elsewhere,
    test_client.test_a_caller_need_not_wait_for_people,
    test_client.test_a_named_turn_counts_once,
    test_client.test_a_recorded_answer_gives_the_items_for_the_next_request,
    test_client.test_a_stream_ends_with_the_whole,
    test_client.test_a_stream_that_is_not_over_says_so,
)


async def resumed(address: str, prefix: str, turn_key: str) -> dict[str, object]:
    """What a process that knows nothing but the log and the turn's key is told."""
    environment = {**os.environ, "CALLGATE_LOG": address, "CALLGATE_TOPIC_PREFIX": prefix}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RESUMING, turn_key, env=environment, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    assert process.returncode == 0
    found = orjson.loads(told)
    assert isinstance(found, dict)
    return found


async def test_an_agent_is_served_as_on_the_embedded_log(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every flow of the client, and of its twin without `async`; a wait that one process begins another ends."""
    address, prefix = f"kafka://{kafka}", f"t{secrets.token_hex(6)}."
    monkeypatch.setenv("CALLGATE_TOPIC_PREFIX", prefix)
    async with on_kafka(kafka, tmp_path, prefix=prefix) as gate:
        for flow in FLOWS:
            gate.marks.effects.clear()
            await flow(gate)
        twins = asyncio.to_thread(test_sync_client.everything, address)
        async with test_client.client_of(gate) as client:
            begun = await client.run('call credit {"n": 1}', "any", timeout=0.0)
            assert begun["status"] == "waiting"
            found, end = await asyncio.gather(twins, resumed(address, prefix, begun["turn_key"]))
            assert end == await client.resume(begun["turn_key"])
        assert end["status"] == "completed"
        for name in ("ran", "approved", "recorded", "resumed"):
            assert found[name]["execution"]["last"]["status"] == "executed", name
        assert found["resumed"] == found["ran"]
        assert [step["type"] for step in found["streamed"]][-2:] == ["final_response", "response_done"]
