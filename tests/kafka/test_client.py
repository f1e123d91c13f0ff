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
from structlog.testing import capture_logs
from tests.flows import test_client, test_sync_client
from tests.support.brokers import broker
from tests.support.log_engines import kafka_engine
from tests.support.reply_values import completed, reply, write
from tests.support.whole import Whole, on_kafka

from callgate.client.client import Client, Reply
from callgate.clock import SystemClock
from callgate.events.turns import TurnOrigin
from callgate.log.kafka import offsets, reading

AWAY = "the log is away: who waits goes on waiting"
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


async def test_a_wait_outlasts_brokers_that_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is told the end, though a reader heard nothing and nobody could say whether there was anything."""
    with broker() as breakable:
        engine = kafka_engine("kafka", breakable.address)
        log = await engine.open()
        client, heard = Client(log, SystemClock()), list[Reply]()
        key = client.turn_key(TurnOrigin(tenant="acme", session="s-1", turn="1", agent="bot"))

        async def hear() -> None:
            async for said in client.replies(key):
                heard.append(said)

        hearing = asyncio.create_task(hear())
        try:
            for count in (1, 2):  # the second can't come from the scan any more
                await write(log, reply(key))
                async with asyncio.timeout(30):
                    while len(heard) < count:  # noqa: ASYNC110 - a list tells nobody
                        await asyncio.sleep(0.05)
            monkeypatch.setattr(reading, "STALL_SECONDS", 0.5)
            monkeypatch.setattr(offsets, "ASK_SECONDS", 1.0)
            with capture_logs() as logs:
                breakable.pause()
                async with asyncio.timeout(30):
                    while all(each["event"] != AWAY for each in logs):  # noqa: ASYNC110 - nor does a log
                        await asyncio.sleep(0.05)
            breakable.resume()
            await write(log, completed(key))
            await asyncio.wait_for(hearing, 60)
        finally:
            breakable.resume()
            hearing.cancel()
            await engine.close()
        assert [type(each).__name__ for each in heard] == ["ActionReply", "ActionReply", "TurnCompleted"]
