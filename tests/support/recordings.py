"""Recorded runs made up by seed, in the shape of real ones, for tests that need many and know every answer."""

from __future__ import annotations

import random
from pathlib import Path

import orjson

TOOLS = ("book_flight", "refund", "search.flights", "update_user", "calculate")


def write_runs(path: Path, *, seed: int, runs: int, turns: int) -> int:
    """A `*.runs.jsonl` file of conversations with so many tool-calling turns each; returns the number of calls."""
    chance = random.Random(seed)
    calls = 0
    lines = []
    for run in range(runs):
        messages: list[dict[str, object]] = [{"role": "system", "content": "You are an agent."}]
        for turn in range(turns):
            count = chance.choice((1, 1, 1, 2, 3))
            calls += count
            messages.append({"role": "user", "content": f"question {turn}"})
            messages.append(
                {"role": "assistant", "content": None, "tool_calls": [_call(chance, n) for n in range(count)]}
            )
            messages.extend(
                {"role": "tool", "content": chance.choice(("done", '{"ok": true}', "Fehler: größer", ""))}
                for _ in range(count)
            )
        lines.append(orjson.dumps({"run_id": f"run-{run}", "messages": messages}))
    path.write_bytes(b"\n".join(lines) + b"\n")
    return calls


def _call(chance: random.Random, position: int) -> dict[str, object]:
    arguments = {"n": position, "city": chance.choice(("Lyon", "東京", "Zürich")), "amount": chance.randrange(10_000)}
    return {
        "id": f"call_{chance.randrange(8)}_{position}",
        "type": "function",
        "function": {"name": chance.choice(TOOLS), "arguments": orjson.dumps(arguments).decode()},
    }
