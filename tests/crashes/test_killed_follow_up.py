"""SIGKILL while people are asked: a turn that tells its model ends once, and so does its follow-up."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.killed_proposer import asked, asking_a_sandbox, ended
from tests.support.processes import kill, running

TURNS = 6
TOOLS = """
from callgate.tools.toolbox import Toolbox

toolbox = Toolbox()


@toolbox.tool(timeout_seconds=3)
def act(n: int) -> int:
    return n
"""
POLICY = '[default]\ndecision = "review"\n'


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_killed_proposer_leaves_each_turn_one_end_and_one_follow_up(tmp_path: Path) -> None:
    """Nobody answers, so every question expires while proposers are killed: each follow-up still runs, once."""
    chance = random.Random(1)
    output, policy = tmp_path / "output.txt", tmp_path / "policy.toml"
    policy.write_text(POLICY)
    with ExitStack() as stack:
        sandbox = asking_a_sandbox(tmp_path, TOOLS, "--policy", str(policy), CALLGATE_APPROVAL_DEADLINE_SECONDS="4")
        env = stack.enter_context(sandbox)
        keys = asyncio.run(asked(env["CALLGATE_LOG"], TURNS, 'call act {"n": 1}', pending="tell"))
        for service in ("evaluator", "approvals", "executor"):
            stack.enter_context(running("run", service, env=env, log=output))
        for _ in range(3):
            with running("run", "proposer", env=env, log=output) as proposer:
                time.sleep(2.0 + chance.uniform(0, 1.5))
                kill(proposer)
        stack.enter_context(running("run", "proposer", env=env, log=output))
        ends = asyncio.run(ended(env["CALLGATE_LOG"], keys, 60))
    assert {(end.status, end.reason) for end in ends if end.status != "completed"} == set()
    follows = {end.turn_key: end.follow_up or "" for end in ends if end.turn_key in keys}
    assert all(follows.values()), output.read_text()[-3000:]
    expected = Counter(dict.fromkeys([*keys, *follows.values()], 1))
    assert Counter(end.turn_key for end in ends) == expected, output.read_text()[-3000:]
