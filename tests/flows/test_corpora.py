"""Real recorded runs go through the gate with the ends that are known for them, and without a violation."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.support.processes import environment, finish

ROOT = Path(__file__).resolve().parents[2]
CORPORA = Path(os.environ.get("CALLGATE_CORPORA", ROOT.parent / "shared" / "corpora"))
INJECTIONS = ROOT / "examples" / "policies" / "injections.toml"

PLAYS = [
    pytest.param(["tau-bench-airline.runs.jsonl"], [], {"executed": 589}, id="tau-runs"),
    pytest.param(["tau-bench-airline.turns.jsonl"], [], {"executed": 589}, id="tau-turns"),
    pytest.param(["bfcl-v4.turns.jsonl"], [], {"executed": 1607}, id="bfcl"),
    pytest.param(["glaive.turns.jsonl"], [], {"executed": 214}, id="glaive"),
    pytest.param(["agentdojo-ground-truth.turns.jsonl"], [], {"executed": 139}, id="agentdojo"),
    pytest.param(["toolalpaca.turns.jsonl"], [], {"executed": 132, "refused": 17}, id="toolalpaca"),
    pytest.param(
        ["agentdojo-ground-truth.turns.jsonl"],
        ["--policy", str(INJECTIONS)],
        {"blocked": 22, "executed": 117},
        id="agentdojo-injections",
    ),
]


HOSTILE = [play for play in PLAYS if play.id in {"tau-runs", "toolalpaca", "agentdojo-injections"}]
"""Enough to be unkind to; `make test` is to stay short."""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not CORPORA.is_dir(), reason="the recorded corpora are not here: set CALLGATE_CORPORA")
@pytest.mark.parametrize(("files", "options", "expected"), PLAYS)
def test_a_corpus_plays_with_the_known_ends(
    files: list[str], options: list[str], expected: dict[str, int], tmp_path: Path
) -> None:
    """Each corpus ends as it is known to, with nothing violated."""
    report = tmp_path / "report.json"
    names = [str(CORPORA / name) for name in files]
    done = finish("play", *names, *options, "--report", str(report), env=environment(), timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(report.read_text())
    assert found["violations"] == []
    assert found["by_status"] == expected
    assert found["actions"] == sum(expected.values())


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not CORPORA.is_dir(), reason="the recorded corpora are not here: set CALLGATE_CORPORA")
@pytest.mark.parametrize(("files", "options", "expected"), HOSTILE)
def test_a_corpus_plays_with_the_known_ends_on_an_unkind_log(
    files: list[str], options: list[str], expected: dict[str, int], tmp_path: Path
) -> None:
    """Lost leases, unknown commits and repeats change no end: the process that ran a tool knows how it ended."""
    log = f"sqlite:///{tmp_path / 'play.db'}?hostile=11"
    test_a_corpus_plays_with_the_known_ends(files, [*options, "--log", log], expected, tmp_path)
