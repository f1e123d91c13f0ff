"""From measurements to medians, ratios and a table. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Runs = Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Target:
    """Something that was aimed at: a number, and which side of it is good."""

    name: str
    at_most: float | None = None
    at_least: float | None = None

    def met(self, value: float) -> bool:
        """Whether a value is on the good side."""
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)

    def words(self) -> str:
        """What was aimed at."""
        return f"at most {self.at_most:g}" if self.at_most is not None else f"at least {self.at_least:g}"


TARGETS = {
    "stage_kafka_over_copy": Target("stage without HTTP over the raw copy loop, CPU a record, Kafka", at_most=2),
    "evaluator_over_client": Target("one evaluator over the bare client, decisions/s, 64 in flight", at_least=0.8),
    "client_over_sdk": Target("our transport over the SDK's own, decisions/s, 64 in flight", at_least=8),
    "evaluator_over_sequential": Target("one evaluator over the sequential loop, decisions/s, 250 ms", at_least=500),
    "latency_kafka_ms": Target("added latency at light load, p50 ms, Kafka", at_most=60),
    "latency_sqlite_ms": Target("added latency at light load, p50 ms, SQLite", at_most=15),
    "resume_kafka_s": Target("to go on after SIGKILL, s, Kafka (session 6 s)", at_most=9),
    "resume_sqlite_s": Target("to go on after SIGKILL, s, SQLite", at_most=5),
}


def median(runs: Runs, key: str) -> float:
    """The median of one figure."""
    return statistics.median(run[key] for run in runs)


def rate(runs: Runs) -> float:
    """The median of how many a second."""
    return statistics.median(run["count"] / run["wall"] for run in runs)


def cpu_us(runs: Runs) -> float:
    """The median of CPU microseconds for each."""
    return statistics.median(run["cpu"] / run["count"] * 1e6 for run in runs)


def spread(runs: Runs) -> float:
    """How far the slowest and the fastest lie apart, as a part of the median."""
    rates = [run["count"] / run["wall"] for run in runs]
    return (max(rates) - min(rates)) / statistics.median(rates)


def ratios(results: Mapping[str, Runs]) -> dict[str, float]:
    """Every figure that has a target, as far as it was measured."""
    found: dict[str, float] = {}

    def over(name: str, left: str, right: str, figure: Any) -> None:
        if left in results and right in results:
            found[name] = figure(results[left]) / figure(results[right])

    over("stage_kafka_over_copy", "stage kafka", "copy loop", cpu_us)
    over("evaluator_over_client", "evaluator kafka 0 ms", "client 0 ms", rate)
    over("client_over_sdk", "client 0 ms", "sdk 0 ms", rate)
    over("evaluator_over_sequential", "evaluator kafka 250 ms, 2048 in flight", "sequential 250 ms", rate)
    for engine in ("kafka", "sqlite"):
        if f"light {engine}" in results:
            found[f"latency_{engine}_ms"] = median(results[f"light {engine}"], "p50_ms")
        if f"resume {engine}" in results:
            found[f"resume_{engine}_s"] = median(results[f"resume {engine}"], "wall")
    return found


def table(results: Mapping[str, Runs]) -> str:
    """Everything that was measured, as Markdown."""
    lines = [
        "| what | a second | CPU ms per 1,000 | peak MB | p50 / p95 / p99 ms | repeats | spread |",
        "|---|---:|---:|---:|---|---:|---:|",
    ]
    for name, runs in results.items():
        latency = ""
        if "p50_ms" in runs[0]:
            latency = " / ".join(f"{median(runs, key):.0f}" for key in ("p50_ms", "p95_ms", "p99_ms"))
        cpu = f"{cpu_us(runs):.0f}" if median(runs, "cpu") else "-"
        peak = f"{median(runs, 'peak_mb'):.0f}" if runs[0].get("peak_mb") else "-"
        each = f"{rate(runs):,.0f}" if not name.startswith("resume") else f"after {median(runs, 'wall'):.1f} s"
        lines.append(f"| {name} | {each} | {cpu} | {peak} | {latency} | {len(runs)} | {spread(runs):.0%} |")
    return "\n".join(lines)


def verdicts(found: Mapping[str, float]) -> str:
    """Which targets were met, as Markdown."""
    lines = ["| target | aimed at | measured | |", "|---|---|---:|---|"]
    for name, target in TARGETS.items():
        if name not in found:
            lines.append(f"| {target.name} | {target.words()} | - | not measured |")
            continue
        value = found[name]
        lines.append(f"| {target.name} | {target.words()} | {value:.3g} | {'met' if target.met(value) else 'MISSED'} |")
    return "\n".join(lines)
