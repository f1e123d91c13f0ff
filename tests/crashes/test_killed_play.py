"""SIGKILL at any moment loses nothing and repeats no effect."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.processes import environment, finish, kill, running, wait_for_lines
from tests.support.recordings import write_runs

SEEDS = range(int(os.environ.get("CALLGATE_CRASH_SEED", "0")), int(os.environ.get("CALLGATE_CRASH_SEEDS", "2")))
RUNS, TURNS = 30, 8
CONCURRENCY = 16


def effects(log: Path) -> Counter[str]:
    """How often each action had its effect."""
    witness = log.with_name(f"{log.name}.effects.jsonl")
    return Counter(json.loads(line)["action_id"] for line in witness.read_text().splitlines())


def check(report: Path, log: Path, calls: int, kills: int) -> None:
    """What must hold after any number of kills."""
    found = json.loads(report.read_text())
    assert found["violations"] == []
    assert found["actions"] == calls
    assert sum(found["by_status"].values()) == calls
    assert set(found["by_status"]) <= {"executed", "in_doubt"}
    assert found["by_status"].get("in_doubt", 0) <= kills * CONCURRENCY
    assert all(count == 1 for count in effects(log).values())


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_play_goes_on_where_it_was(seed: int, tmp_path: Path) -> None:
    """Repeating the command after SIGKILL finishes the play: nothing lost, no witness line twice."""
    chance = random.Random(seed)
    recording, log, report = tmp_path / "made.runs.jsonl", tmp_path / "play.db", tmp_path / "report.json"
    calls = write_runs(recording, seed=seed, runs=RUNS, turns=TURNS)
    arguments = ["play", str(recording), "--log", f"sqlite:///{log}", "--id", "crash", "--report", str(report)]
    arguments += ["--concurrency", str(CONCURRENCY)]
    witness = log.with_name(f"{log.name}.effects.jsonl")
    kills = 0
    for _ in range(chance.choice((1, 2, 3))):
        before = witness.read_bytes().count(b"\n") if witness.exists() else 0
        with running(*arguments, log=tmp_path / "output.txt") as process:
            wait_for_lines(witness, before + chance.randrange(0, calls // 4), 30)
            if process.poll() is None:
                kill(process)
                kills += 1
    done = finish(*arguments, timeout=200)
    assert done.returncode == 0, done.stderr
    check(report, log, calls, kills)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_executor_is_replaced(seed: int, tmp_path: Path) -> None:
    """An executor killed under an attached play is replaced by another: nothing lost, no witness line twice."""
    chance = random.Random(seed)
    recording, log, report = tmp_path / "made.runs.jsonl", tmp_path / "play.db", tmp_path / "report.json"
    calls = write_runs(recording, seed=seed, runs=RUNS, turns=TURNS)
    witness = log.with_name(f"{log.name}.effects.jsonl")
    output = tmp_path / "output.txt"
    with ExitStack() as stack:
        ready = tmp_path / "sandbox.json"
        stack.enter_context(running("sandbox", "--port", "0", log=ready))
        assert wait_for_lines(ready, 1, 20) >= 1
        env = environment(
            CALLGATE_LOG=f"sqlite:///{log}",
            CALLGATE_BIGHUB_URL=json.loads(ready.read_text().splitlines()[0])["bighub"],
            CALLGATE_BIGHUB_KEY="test",
            CALLGATE_APPROVAL_TRUSTED="true",
            CALLGATE_TOOLS="callgate.cli.play.recorded:toolbox",
            CALLGATE_EXECUTOR_START_SECONDS="2",
        )
        for service in ("proposer", "evaluator", "approvals", "reporter"):
            stack.enter_context(running("run", service, env=env, log=output))
        play = ["play", str(recording), "--log", f"sqlite:///{log}", "--id", "attached", "--attach"]
        play += ["--report", str(report), "--concurrency", str(CONCURRENCY)]
        playing = stack.enter_context(running(*play, env=env, log=output))
        kills = 0
        for _ in range(chance.choice((1, 2))):
            before = witness.read_bytes().count(b"\n") if witness.exists() else 0
            with running("run", "executor", env=env, log=output) as executor:
                wait_for_lines(witness, before + 1 + chance.randrange(0, calls // 4), 40)
                if executor.poll() is None:
                    kill(executor)
                    kills += 1
        stack.enter_context(running("run", "executor", env=env, log=output))
        assert playing.wait(180) == 0, output.read_text()[-3000:]
    check(report, log, calls, kills)
