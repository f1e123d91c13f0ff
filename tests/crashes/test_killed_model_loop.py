"""SIGKILL between the rounds of the model loop: every turn comes to one end, and no effect is repeated."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import environment, kill, running, wait_for_lines

from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.events import topics
from callgate.events.codec import decode
from callgate.events.turns import TurnCompleted, TurnOrigin
from callgate.log.address import open_log
from callgate.log.port import Log

SEEDS = range(int(os.environ.get("CALLGATE_CRASH_SEED", "0")), int(os.environ.get("CALLGATE_CRASH_SEEDS", "1")))
TURNS, ROUNDS = 12, 5
TOOLS = """
import os
from pathlib import Path
from callgate.tools.toolbox import Call, Toolbox

toolbox = Toolbox()


@toolbox.tool(timeout_seconds=3)
def act(n: int, call: Call) -> int:
    with Path(os.environ["WITNESS"]).open("a") as lines:
        lines.write(call.action_id + "\\n")
    return n
"""


async def submitted(address: str, options: dict[str, Any]) -> list[str]:
    """Submit every turn; returns the keys."""
    said = "\nthen\n".join(f'call act {{"n": {n}}}' for n in range(ROUNDS))
    log = await open_log(address, clock=SystemClock())
    try:
        client = Client(log, SystemClock())
        return [
            await client.ask(
                TurnOrigin(tenant="t", session=f"s{number}", turn="1", agent="a"),
                model="m",
                input_=said,
                options=options,
            )
            for number in range(TURNS)
        ]
    finally:
        await log.close()


async def ends(log: Log) -> Counter[str]:
    """How many completed turns stand on the log, by key."""
    found: Counter[str] = Counter()
    for partition in range(log.partitions):
        async for record in log.scan(topics.REPLIES.name, partition):
            event = decode(record.value, record.headers).event
            if isinstance(event, TurnCompleted):
                found[event.turn_key] += 1
                assert (event.status, event.rounds) == ("completed", ROUNDS + 1), event.reason
    return found


async def all_ended(address: str, keys: list[str], seconds: float) -> Counter[str]:
    """Wait until every turn has ended."""
    log = await open_log(address, clock=SystemClock())
    try:
        client = Client(log, SystemClock())
        await asyncio.gather(*(client.wait(key, seconds) for key in keys))
        return await ends(log)
    finally:
        await log.close()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("options", [{}, {"background": True}], ids=["at_once", "background"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_proposer_is_replaced_between_rounds(seed: int, options: dict[str, Any], tmp_path: Path) -> None:
    """Proposers that are killed while the model answers leave turns that the next one finishes: each has one end."""
    chance = random.Random(seed)
    address, witness, output = f"sqlite:///{tmp_path / 'log.db'}", tmp_path / "effects", tmp_path / "output.txt"
    (tmp_path / "killed_loop_tools.py").write_text(TOOLS)
    ready, script = tmp_path / "sandbox.json", tmp_path / "faults.toml"
    script.write_text('[[fault]]\nroute = "POST /v1/*"\nwhen = "after"\ndelay_seconds = 0.2\n')
    with ExitStack() as stack:
        stack.enter_context(running("sandbox", "--port", "0", "--faults", str(script), log=ready))
        assert wait_for_lines(ready, 1, 20) >= 1
        announced = json.loads(ready.read_text().splitlines()[0])
        env = environment(
            CALLGATE_LOG=address,
            CALLGATE_BIGHUB_URL=announced["bighub"],
            CALLGATE_BIGHUB_KEY="test",
            CALLGATE_MODEL_URL=announced["model"],
            CALLGATE_MODEL_KEY="test",
            CALLGATE_MODEL_BACKGROUND_SECONDS="120",
            CALLGATE_MODEL_POLL_SECONDS="0.1",
            CALLGATE_APPROVAL_TRUSTED="true",
            CALLGATE_TOOLS="killed_loop_tools:toolbox",
            PYTHONPATH=str(tmp_path),
            WITNESS=str(witness),
        )
        keys = asyncio.run(submitted(address, options))
        for service in ("evaluator", "approvals", "executor", "reporter"):
            stack.enter_context(running("run", service, env=env, log=output))
        for kills in range(3):
            with running("run", "proposer", env=env, log=output) as proposer:
                wait_for_lines(witness, (kills + 1) * TURNS, 40)
                time.sleep(chance.uniform(0, 0.4))
                kill(proposer)
        stack.enter_context(running("run", "proposer", env=env, log=output))
        found = asyncio.run(all_ended(address, keys, 90))
    assert found == Counter(dict.fromkeys(keys, 1)), output.read_text()[-3000:]
    effects = Counter(witness.read_text().split())
    assert len(effects) == TURNS * ROUNDS
    assert set(effects.values()) == {1}
