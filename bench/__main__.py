"""`python -m bench`: measures everything side by side, and writes JSON and a readable table to bench/results/.

Servers and brokers are processes of their own and are counted apart: CPU is that of the process under test.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from bench.report import ratios, table, verdicts
from bench.servers import Server, broker, stub
from bench.worlds import fresh_prefix

HERE = Path(__file__).resolve().parent
ADAPTER = HERE.parent / ".bench" / "adapter"
"""The sequential loop's own environment: it needs another major version of a library than ours will."""

_SECONDS = 600.0


class Bench:
    """Runs subjects, each in a process of its own."""

    def __init__(self, kafka: Server | None, folder: Path, scale: float) -> None:
        """`kafka`: the broker; None leaves Kafka out. `scale`: of the counts, 1 for a full run."""
        self.kafka = kafka
        self.folder = folder
        self.scale = scale
        self.stack = ExitStack()
        self._files = 0
        self._stubs: dict[str, Server] = {}

    def counted(self, full: int) -> int:
        """How many, at this scale."""
        return max(20, int(full * self.scale))

    def child(self, subject: str, **arguments: Any) -> dict[str, float]:
        """One measurement."""
        command = [sys.executable, "-m", "bench.child", subject, orjson.dumps(arguments).decode()]
        beside = {"broker": [self.kafka] if self.kafka else [], "stub": list(self._stubs.values())}
        before = {name: sum(each.cpu() for each in servers) for name, servers in beside.items()}
        said = _said(subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False, cwd=HERE.parent))  # noqa: S603
        return said | {f"{name}_cpu": sum(each.cpu() for each in beside[name]) - before[name] for name in beside}

    def stub(self, name: str) -> str:
        """A BIGHUB that takes as long to answer as its name says; ends with the run."""
        if name not in self._stubs:
            self._stubs[name] = self.stack.enter_context(stub(DELAYS[name][0]))
        return self._stubs[name].address

    def evaluate(self, engine: str, count: int, url: str, concurrency: int, batch: int = 1) -> dict[str, float]:
        """An evaluator on proposals that lie there."""
        log = self.log(engine)
        self.child("fill", count=count, **log)
        return self.child("evaluate", count=count, url=url, concurrency=concurrency, batch=batch, **log)

    def loop(self, subject: str, count: int, **more: str) -> dict[str, float]:
        """A loop without Callgate, on the same records."""
        assert self.kafka is not None
        log = self.log("kafka")
        self.child("fill", count=count, **log)
        return self.child(subject, bootstrap=self.kafka.address, prefix=log["prefix"], count=count, **more)

    def pipeline(self, engine: str, count: int, concurrency: int, name: str) -> dict[str, float]:
        """All services, so many turns at once, decisions as slow as `name` says."""
        url, delay = self.stub(name), DELAYS[name][0]
        return self.child("pipeline", count=count, url=url, concurrency=concurrency, delay=delay, **self.log(engine))

    def resume(self, engine: str, service: str) -> dict[str, float]:
        """From SIGKILL to what is done next."""
        return self.child("resume", url=self.stub("50 ms"), service=service, **self.log(engine))

    def log(self, engine: str) -> dict[str, str]:
        """A fresh log of an engine."""
        if engine == "kafka":
            assert self.kafka is not None
            return {"address": f"kafka://{self.kafka.address}", "prefix": fresh_prefix()}
        self._files += 1
        return {"address": f"sqlite:///{self.folder}/bench{self._files}.db", "prefix": ""}


def _said(done: subprocess.CompletedProcess[bytes]) -> dict[str, float]:
    if done.returncode != 0:
        raise SystemExit(f"a measurement failed: {done.stderr.decode()[-2000:]}")
    found: dict[str, float] = orjson.loads(done.stdout.splitlines()[-1])
    return found


Subject = tuple[str, Callable[[], Mapping[str, float]]]

IN_FLIGHT = 64
"""Calls at once, where nothing else is said: what one evaluator does by default."""

MANY = 2048
"""Calls at once that a decision of 250 ms needs to keep a core busy."""

BATCH = 64
"""Actions in one request, where batches are measured: as many as are in flight by default."""

DELAYS = {"0 ms": (0.0, 6000, 200), "50 ms": (0.05, 3000, 100), "250 ms": (0.25, 1500, 30)}
"""Seconds that a decision takes, and how many are asked at once and one by one."""


def subjects(bench: Bench) -> Iterator[Subject]:
    """Everything that is measured, by name."""
    engines = ["sqlite", *(["kafka"] if bench.kafka else [])]
    if bench.kafka:
        yield "copy loop", partial(bench.loop, "copy", bench.counted(20_000))
        yield "copy loop, exactly once", partial(bench.loop, "copy_exactly_once", bench.counted(20_000))
    for engine in engines:
        yield f"stage {engine}", partial(bench.evaluate, engine, bench.counted(8000), "", IN_FLIGHT)
    for name in DELAYS:
        yield from _at_delay(bench, name, engines)
    for engine in engines:
        url = bench.stub("250 ms")
        subject = f"evaluator {engine} 250 ms, {MANY} in flight"
        yield subject, partial(bench.evaluate, engine, bench.counted(12_000), url, MANY)
        yield f"{subject}, batches", partial(bench.evaluate, engine, bench.counted(12_000), url, MANY, BATCH)
    for engine in engines:
        for name, (_, _, few) in DELAYS.items():
            yield f"pipeline {engine} {name}", partial(bench.pipeline, engine, bench.counted(1200), IN_FLIGHT, name)
            yield f"light {engine} {name}", partial(bench.pipeline, engine, bench.counted(few // 2), 1, name)
        for service in ("evaluator", "executor"):
            yield f"resume {service} {engine}", partial(bench.resume, engine, service)


def _at_delay(bench: Bench, name: str, engines: list[str]) -> Iterator[Subject]:
    _, many, few = DELAYS[name]
    url, many, few = bench.stub(name), bench.counted(many), bench.counted(few)
    yield f"client {name}", partial(bench.child, "ours", url=url, count=many, concurrency=IN_FLIGHT)
    yield f"sdk {name}", partial(bench.child, "sdk", url=url, count=max(20, many // 6), concurrency=IN_FLIGHT)
    for engine in engines:
        yield f"evaluator {engine} {name}", partial(bench.evaluate, engine, many, url, IN_FLIGHT)
        yield f"evaluator {engine} {name}, batches", partial(bench.evaluate, engine, many, url, IN_FLIGHT, BATCH)
    if bench.kafka:
        yield f"naive worker {name}", partial(bench.loop, "naive", few, url=url)
    yield f"sequential {name}", partial(sequential, url, few)


def sequential(url: str, count: int) -> dict[str, float]:
    """The published adapter's loop, in its own environment."""
    python = ADAPTER / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ADAPTER)], check=True)  # noqa: S603 - our own command
        install = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(HERE / "adapter.lock")]
        subprocess.run(install, check=True)  # noqa: S603 - the same
    command = [str(python), str(HERE / "sequential.py"), url, str(count)]
    return _said(subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False))  # noqa: S603 - the same


def machine() -> dict[str, str]:
    """Where it was measured."""
    packages = ("aiokafka", "aiohttp", "bighub", "msgspec", "orjson")
    found = {"cpus": str(os.cpu_count()), "python": platform.python_version(), "system": platform.machine()}
    with Path("/proc/cpuinfo").open() as info:
        model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), "unknown")
    return found | {"model": model} | {name: version(name) for name in packages}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the counts; 0.02 is a smoke run")
    parser.add_argument("--only", default="", help="only subjects whose name begins with this")
    parser.add_argument("--engine", choices=["both", "sqlite"], default="both")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="callgate-bench-") as name, ExitStack() as stack:
        kafka = stack.enter_context(broker(Path(name))) if options.engine == "both" else None
        bench = Bench(kafka, Path(name), options.scale)
        stack.enter_context(bench.stack)
        results: dict[str, list[Mapping[str, float]]] = {}
        text = ""
        chosen = [(name, run) for name, run in subjects(bench) if name.startswith(options.only)]
        for number in range(options.repeats):
            for subject, run in chosen:
                print(f"{number + 1}/{options.repeats} {subject}", file=sys.stderr, flush=True)  # noqa: T201 - progress
                results.setdefault(subject, []).append(run())
            # After each round: a run that breaks off late has still measured something.
            text = _write(options.out, results, " ".join(["python -m bench", *sys.argv[1:]]))
    print(text)  # noqa: T201 - this is what was asked for


def _write(folder: Path, results: Mapping[str, list[Mapping[str, float]]], command: str) -> str:
    found = ratios(results)
    where = machine()
    folder.mkdir(parents=True, exist_ok=True)
    day = time.strftime("%Y-%m-%d")
    whole = {"command": command, "day": day, "machine": where, "targets": found, "results": results}
    (folder / "latest.json").write_bytes(orjson.dumps(whole, option=orjson.OPT_INDENT_2))
    words = ", ".join(f"{key} {value}" for key, value in where.items())
    text = f"# Measured {day}\n\n`{command}` on: {words}.\n\n{verdicts(found)}\n\n{table(results)}\n"
    (folder / "latest.md").write_text(text)
    return text


if __name__ == "__main__":
    main()
