"""What the benchmark makes of its figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench.report import TARGETS, cpu_us, median, rate, ratios, spread, table, verdicts

ROOT = Path(__file__).resolve().parents[3]
RUNS = [
    {"count": 100, "wall": 1.0, "cpu": 0.5, "peak_mb": 50.0},
    {"count": 100, "wall": 2.0, "cpu": 0.7, "peak_mb": 70.0},
    {"count": 100, "wall": 4.0, "cpu": 0.6, "peak_mb": 60.0},
]


def test_medians_are_of_each_figure_by_itself() -> None:
    """One slow repeat changes neither rate nor CPU."""
    assert rate(RUNS) == 50
    assert cpu_us(RUNS) == pytest.approx(6000)
    assert median(RUNS, "peak_mb") == 60


def test_the_spread_shows_an_unquiet_machine() -> None:
    """The spread is the distance of the extremes over the median."""
    assert spread(RUNS) == pytest.approx((100 - 25) / 50)
    assert spread(RUNS[:1]) == 0


def test_ratios_are_of_what_was_measured_side_by_side() -> None:
    """A ratio needs both of its sides; what was not measured is said to be so, and is not met."""
    copy = [{"count": 100, "wall": 1.0, "cpu": 0.1}]
    found = ratios({"copy loop": copy, "stage kafka": RUNS})
    assert found == {"stage_kafka_over_copy": pytest.approx(6.0)}
    text = verdicts(found)
    assert text.count("not measured") == len(TARGETS) - 1
    assert "| 6 | MISSED |" in text


@pytest.mark.parametrize(("name", "good", "bad"), [("evaluator_over_sdk", 8.0, 7.9), ("latency_kafka_ms", 60.0, 60.1)])
def test_a_target_has_a_good_side(name: str, good: float, bad: float) -> None:
    """A bound itself is met, and what is beyond it is not."""
    assert TARGETS[name].met(good)
    assert not TARGETS[name].met(bad)


def test_the_table_has_a_line_for_each_subject() -> None:
    """Whatever was measured stands in the table, latencies where there are any."""
    stage = [run | {"broker_cpu": 0.0, "stub_cpu": 0.1} for run in RUNS]
    light = [{"count": 10, "wall": 1.0, "cpu": 0.0, "p50_ms": 7.4, "p95_ms": 20.0, "p99_ms": 30.0}]
    lines = table({"stage sqlite": stage, "light sqlite": light, "resume kafka": [{"count": 1, "wall": 6.2, "cpu": 0}]})
    assert "| stage sqlite | 50 | 6000 | - | 1000 | 60 |  | 3 | 150% |" in lines
    assert "7 / 20 / 30" in lines
    assert "after 6.2 s" in lines


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path: Path) -> None:
    """A smoke run on the embedded log measures, and leaves JSON and a table; how fast it was is not asked."""
    command = [sys.executable, "-m", "bench", "--engine", "sqlite", "--repeats", "1", "--scale", "0.01"]
    command += ["--out", str(tmp_path)]
    for only in ("stage", "client 0", "light"):
        done = subprocess.run([*command, "--only", only], cwd=ROOT, capture_output=True, timeout=110, check=False)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        found = json.loads((tmp_path / "latest.json").read_bytes())
        assert [name for name in found["results"] if name.startswith(only)] == list(found["results"]) != []
        assert "Measured" in (tmp_path / "latest.md").read_text()
