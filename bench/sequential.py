"""What a user would do without Callgate: the published adapter's loop, one turn after the other.

Run with the adapter's own environment: python sequential.py URL COUNT. Its model is scripted and answers at once.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from types import SimpleNamespace
from typing import Any

from bighub import BighubClient
from bighub_openai import BighubOpenAI


class Scripted:
    """A model that calls the tool once, and then is content."""

    def __init__(self) -> None:
        self.responses = SimpleNamespace(create=self.create)
        self._number = 0

    def create(self, **request: Any) -> dict[str, Any]:
        """Either of its two answers."""
        items = request["input"]
        if any(item.get("type") == "function_call_output" for item in items):
            return {"id": "r2", "output": [{"type": "message", "content": [{"type": "output_text", "text": "done"}]}]}
        self._number += 1
        arguments = json.dumps({"payment": f"P-{self._number}", "amount": 1, "note": "x" * 200})
        call = {"type": "function_call", "call_id": f"c{self._number}", "name": "refund", "arguments": arguments}
        return {"id": "r1", "output": [call]}


def main(url: str, count: int) -> None:
    """Run so many turns, and print what it took."""

    def refund(payment: str, amount: int, note: str) -> str:
        del payment, amount, note
        return "done"

    agent = BighubOpenAI(
        bighub=BighubClient(base_url=url, api_key="bench"),
        openai_client=Scripted(),
        memory_enabled=False,
        outcome_reporting=False,
    )
    agent.tool("refund", refund, value_from_args=lambda arguments: float(arguments["amount"]))

    def run() -> Any:
        return agent.run(messages=[{"role": "user", "content": "refund it"}], model="scripted")

    last = run()["execution"]["last"]
    if last["status"] != "executed":
        raise SystemExit(f"the adapter did not execute: {last}")
    began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(count):
        run()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    wall = time.monotonic() - began
    print(json.dumps({"count": count, "wall": wall, "cpu": cpu, "peak_mb": after.ru_maxrss / 1024}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
