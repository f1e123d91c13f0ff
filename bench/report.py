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
    "evaluator_over_client": Target(
        "one evaluator over the bare client, decisions/s, 64 in flight, 0 ms", at_least=0.8
    ),
    "evaluator_over_client_50": Target("the same, 50 ms", at_least=0.8),
    "evaluator_over_client_250": Target("the same, 250 ms", at_least=0.8),
    "evaluator_over_sdk": Target(
        "one evaluator over the SDK's own transport, decisions/s, 64 in flight, 0 ms", at_least=8
    ),
    "evaluator_over_sequential": Target("one evaluator over the sequential loop, decisions/s, 250 ms", at_least=500),
    "batches_over_client": Target("the first, with requests of up to 64 actions", at_least=0.8),
    "batches_over_sdk": Target("over the SDK's own transport, with such requests", at_least=8),
    "batches_over_sequential": Target("over the sequential loop at 250 ms, with such requests", at_least=500),
    "latency_kafka_ms": Target("added latency at light load, p50 ms, Kafka", at_most=60),
    "latency_sqlite_ms": Target("added latency at light load, p50 ms, SQLite", at_most=15),
    "resume_evaluator_kafka_s": Target("evaluator goes on after SIGKILL, s, Kafka (session 6 s)", at_most=9),
    "resume_executor_kafka_s": Target("executor with open claims goes on, s, Kafka (session 6 s)", at_most=9),
    "resume_evaluator_sqlite_s": Target("evaluator goes on after SIGKILL, s, SQLite (session 3 s)", at_most=6),
    "resume_executor_sqlite_s": Target("executor with open claims goes on, s, SQLite (session 3 s)", at_most=6),
}


def median(runs: Runs, key: str) -> float:
    """The median of one figure."""
    return statistics.median(run[key] for run in runs)


def rate(runs: Runs) -> float:
    """The median of how many a second."""
    return statistics.median(run["count"] / run["wall"] for run in runs)


def cpu_us(runs: Runs, key: str = "cpu") -> float:
    """The median of CPU microseconds for each: the same number as milliseconds for a thousand."""
    return statistics.median(run[key] / run["count"] * 1e6 for run in runs)


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
    over("evaluator_over_client_50", "evaluator kafka 50 ms", "client 50 ms", rate)
    over("evaluator_over_client_250", "evaluator kafka 250 ms", "client 250 ms", rate)
    over("evaluator_over_sdk", "evaluator kafka 0 ms", "sdk 0 ms", rate)
    over("evaluator_over_sequential", "evaluator kafka 250 ms, 2048 in flight", "sequential 250 ms", rate)
    over("batches_over_client", "evaluator kafka 0 ms, batches", "client 0 ms", rate)
    over("batches_over_sdk", "evaluator kafka 0 ms, batches", "sdk 0 ms", rate)
    over("batches_over_sequential", "evaluator kafka 250 ms, 2048 in flight, batches", "sequential 250 ms", rate)
    for engine in ("kafka", "sqlite"):
        if (light := f"light {engine} 0 ms") in results:
            found[f"latency_{engine}_ms"] = median(results[light], "p50_ms")
        for service in ("evaluator", "executor"):
            if (resume := f"resume {service} {engine}") in results:
                found[f"resume_{service}_{engine}_s"] = median(results[resume], "wall")
    return found


def table(results: Mapping[str, Runs]) -> str:
    """Everything that was measured, as Markdown."""
    lines = [
        "| what | a second | CPU ms per 1,000 | broker's | stub's | peak MB | p50 / p95 / p99 ms | repeats | spread |",
        "|---|---:|---:|---:|---:|---:|---|---:|---:|",
    ]
    for name, runs in results.items():
        latency = ""
        if "p50_ms" in runs[0]:
            latency = " / ".join(f"{median(runs, key):.0f}" for key in ("p50_ms", "p95_ms", "p99_ms"))
        cpu, broker, stub = (_cpu(runs, key) for key in ("cpu", "broker_cpu", "stub_cpu"))
        peak = f"{median(runs, 'peak_mb'):.0f}" if runs[0].get("peak_mb") else "-"
        each = f"{rate(runs):,.0f}" if not name.startswith("resume") else f"after {median(runs, 'wall'):.1f} s"
        lines.append(
            f"| {name} | {each} | {cpu} | {broker} | {stub} | {peak} | {latency} | {len(runs)} | {spread(runs):.0%} |"
        )
    return "\n".join(lines)


def _cpu(runs: Runs, key: str) -> str:
    return f"{cpu_us(runs, key):.0f}" if median(runs, "cpu") and key in runs[0] and median(runs, key) else "-"


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
