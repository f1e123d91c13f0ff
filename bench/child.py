"""One measurement in a process of its own, so that its CPU is its own. Prints one JSON line.

Usage: python -m bench.child SUBJECT JSON
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import orjson

from bench import asking, gate, loops, resuming
from bench.worlds import fill, world
from callgate.telemetry import logs


async def filled(address: str, prefix: str, count: int) -> dict[str, float]:
    """Put proposals on a log."""
    async with world(address, prefix) as log:
        return {"count": count, "wall": 0.0, "cpu": 0.0, "bytes": await fill(log, count)}


SUBJECTS: dict[str, Any] = {
    "fill": filled,
    "copy": loops.copy,
    "copy_exactly_once": loops.copy_exactly_once,
    "naive": loops.naive,
    "evaluate": gate.evaluate,
    "pipeline": gate.pipeline,
    "ours": asking.ours,
    "sdk": asking.sdk,
    "resume": resuming.resume,
}


def main(subject: str, arguments: str) -> None:
    """Measure it."""
    logs.configure("error")
    result = asyncio.run(SUBJECTS[subject](**orjson.loads(arguments)))
    print(orjson.dumps(result).decode())  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
