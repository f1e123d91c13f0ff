"""SIGKILL between the rounds of the model loop: every turn comes to one end, and no effect is repeated."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.killed_proposer import asked, asking_a_sandbox, ended
from tests.support.processes import kill, running, wait_for_lines

SEEDS = range(int(os.environ.get("CALLGATE_CRASH_SEED", "0")), int(os.environ.get("CALLGATE_CRASH_SEEDS", "1")))
TURNS, ROUNDS = 12, 5
SAID = "\nthen\n".join(f'call act {{"n": {n}}}' for n in range(ROUNDS))
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


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("options", [{}, {"background": True}], ids=["at_once", "background"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_proposer_is_replaced_between_rounds(seed: int, options: dict[str, Any], tmp_path: Path) -> None:
    """Proposers that are killed while the model answers leave turns that the next one finishes: each has one end."""
    chance = random.Random(seed)
    witness, output, script = tmp_path / "effects", tmp_path / "output.txt", tmp_path / "faults.toml"
    script.write_text('[[fault]]\nroute = "POST /v1/*"\nwhen = "after"\ndelay_seconds = 0.2\n')
    with ExitStack() as stack:
        background = {"CALLGATE_MODEL_BACKGROUND_SECONDS": "120", "CALLGATE_MODEL_POLL_SECONDS": "0.1"}
        sandbox = asking_a_sandbox(tmp_path, TOOLS, "--faults", str(script), WITNESS=str(witness), **background)
        env = stack.enter_context(sandbox)
        keys = asyncio.run(asked(env["CALLGATE_LOG"], TURNS, SAID, options=options))
        for service in ("evaluator", "approvals", "executor", "reporter"):
            stack.enter_context(running("run", service, env=env, log=output))
        for kills in range(3):
            with running("run", "proposer", env=env, log=output) as proposer:
                wait_for_lines(witness, (kills + 1) * TURNS, 40)
                time.sleep(chance.uniform(0, 0.4))
                kill(proposer)
        stack.enter_context(running("run", "proposer", env=env, log=output))
        ends = asyncio.run(ended(env["CALLGATE_LOG"], keys, 90))
    assert {(end.status, end.rounds, end.reason) for end in ends if end.status != "completed"} == set()
    assert {end.rounds for end in ends} == {ROUNDS + 1}
    assert Counter(end.turn_key for end in ends) == Counter(dict.fromkeys(keys, 1)), output.read_text()[-3000:]
    effects = Counter(witness.read_text().split())
    assert len(effects) == TURNS * ROUNDS
    assert set(effects.values()) == {1}
