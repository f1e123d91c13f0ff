"""SIGKILL while people are asked: a turn that tells its model ends once, and so does its follow-up."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.processes import environment, kill, running, wait_for_lines

from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.events import topics
from callgate.events.codec import decode
from callgate.events.turns import TurnCompleted, TurnOrigin
from callgate.log.address import open_log

TURNS = 6
TOOLS = """
from callgate.tools.toolbox import Toolbox

toolbox = Toolbox()


@toolbox.tool(timeout_seconds=3)
def act(n: int) -> int:
    return n
"""
POLICY = '[default]\ndecision = "review"\n'


async def submitted(address: str) -> list[str]:
    """Submit every turn; returns the keys."""
    log = await open_log(address, clock=SystemClock())
    try:
        client = Client(log, SystemClock())
        return [
            await client.ask(
                TurnOrigin(tenant="t", session=f"s{number}", turn="1", agent="a"),
                model="m",
                input_='call act {"n": 1}',
                pending="tell",
            )
            for number in range(TURNS)
        ]
    finally:
        await log.close()


async def all_ended(address: str, keys: list[str]) -> tuple[Counter[str], list[str]]:
    """How many ends each turn has once all have ended, and the follow-ups that they name."""
    log = await open_log(address, clock=SystemClock())
    try:
        client = Client(log, SystemClock())
        ends = await asyncio.gather(*(client.wait(key, 60) for key in keys))
        follows = [end.follow_up or "" for end in ends if end is not None]
        await asyncio.gather(*(client.wait(key, 60) for key in follows))
        found: Counter[str] = Counter()
        for partition in range(log.partitions):
            async for record in log.scan(topics.REPLIES.name, partition):
                event = decode(record.value, record.headers).event
                if isinstance(event, TurnCompleted):
                    found[event.turn_key] += 1
                    assert event.status == "completed", event.reason
        return found, follows
    finally:
        await log.close()


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_killed_proposer_leaves_each_turn_one_end_and_one_follow_up(tmp_path: Path) -> None:
    """Nobody answers, so every question expires while proposers are killed: each follow-up still runs, once."""
    chance = random.Random(1)
    address, output, ready = f"sqlite:///{tmp_path / 'log.db'}", tmp_path / "output.txt", tmp_path / "sandbox.json"
    (tmp_path / "killed_follow_tools.py").write_text(TOOLS)
    (tmp_path / "policy.toml").write_text(POLICY)
    with ExitStack() as stack:
        stack.enter_context(running("sandbox", "--port", "0", "--policy", str(tmp_path / "policy.toml"), log=ready))
        assert wait_for_lines(ready, 1, 20) >= 1
        announced = json.loads(ready.read_text().splitlines()[0])
        env = environment(
            CALLGATE_LOG=address,
            CALLGATE_BIGHUB_URL=announced["bighub"],
            CALLGATE_BIGHUB_KEY="test",
            CALLGATE_MODEL_URL=announced["model"],
            CALLGATE_MODEL_KEY="test",
            CALLGATE_APPROVAL_TRUSTED="true",
            CALLGATE_APPROVAL_DEADLINE_SECONDS="4",
            CALLGATE_TOOLS="killed_follow_tools:toolbox",
            PYTHONPATH=str(tmp_path),
        )
        keys = asyncio.run(submitted(address))
        for service in ("evaluator", "approvals", "executor"):
            stack.enter_context(running("run", service, env=env, log=output))
        for _ in range(3):
            with running("run", "proposer", env=env, log=output) as proposer:
                time.sleep(2.0 + chance.uniform(0, 1.5))
                kill(proposer)
        stack.enter_context(running("run", "proposer", env=env, log=output))
        found, follows = asyncio.run(all_ended(address, keys))
    assert all(follows), output.read_text()[-3000:]
    assert found == Counter(dict.fromkeys([*keys, *follows], 1)), output.read_text()[-3000:]
