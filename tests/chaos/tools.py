"""The tools of a chaos run: one of every effect class, quick, slow, hanging and failing, each leaving a witness.

Two files are written, in the folder that CHAOS_HOME names: `starts.jsonl` as the first act of every tool, and
`effects.jsonl` at the moment of its effect. A verifiable tool's target honours its key: once the probe has said that
an effect never happened, the target refuses it for good, or a tool that stood still meanwhile could still have it.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import orjson

from callgate.tools.toolbox import Arguments, Call, Toolbox

TIMEOUT_SECONDS = 3.0
"""Of every tool but those that hang: with it a claim's horizon is short enough for a run to wait for."""

HANG_SECONDS = 0.6
"""The time-out of the tools that hang."""

toolbox = Toolbox()


def starts_file(home: Path) -> Path:
    """Where tools say that they have been started."""
    return home / "starts.jsonl"


def effects_file(home: Path) -> Path:
    """Where tools leave their effects."""
    return home / "effects.jsonl"


def append(path: Path, entry: dict[str, Any]) -> None:
    """One whole line in one write, so that processes never mix theirs."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, orjson.dumps(entry) + b"\n")
    finally:
        os.close(handle)


def _line(call: Call, tool: str) -> dict[str, Any]:
    return {"action_id": call.action_id, "pid": os.getpid(), "at": time.time(), "tool": tool}


def _home() -> Path:
    return Path(os.environ["CHAOS_HOME"])


def _started(call: Call, tool: str) -> None:
    append(starts_file(_home()), _line(call, tool))


def _had_effect(call: Call, tool: str) -> None:
    append(effects_file(_home()), _line(call, tool))


def _settled(action_id: str, word: str) -> str:
    """The target's one word on a key, whoever says it first: a link is made whole, and once."""
    place = _home() / "target" / action_id
    try:
        place.symlink_to(word)
    except FileExistsError:
        return str(place.readlink())
    return word


def _seconds(n: int) -> float:
    return 0.2 + (n % 7) * 0.15


@toolbox.tool(effect="read", timeout_seconds=TIMEOUT_SECONDS)
def look(n: int, *, call: Call) -> dict[str, int]:
    """Look at once."""
    _started(call, "look")
    _had_effect(call, "look")
    return {"saw": n}


@toolbox.tool(effect="read", timeout_seconds=TIMEOUT_SECONDS)
async def gaze(n: int, *, call: Call) -> dict[str, int]:
    """Look for long."""
    _started(call, "gaze")
    await asyncio.sleep(_seconds(n))
    _had_effect(call, "gaze")
    return {"saw": n}


@toolbox.tool(effect="idempotent", timeout_seconds=TIMEOUT_SECONDS)
async def charge(n: int, *, call: Call) -> dict[str, int]:
    """Charge under the action's id as the key."""
    _started(call, "charge")
    await asyncio.sleep(_seconds(n) / 4)
    _had_effect(call, "charge")
    return {"charged": n}


def _was_shipped(call: Call, arguments: Arguments) -> bool:
    return _settled(call.action_id, "never") == "shipped"


@toolbox.tool(effect="verifiable", probe=_was_shipped, timeout_seconds=TIMEOUT_SECONDS)
def ship(n: int, *, call: Call) -> dict[str, int]:
    """Ship, unless the target was asked before and has said that it never happened."""
    _started(call, "ship")
    time.sleep(_seconds(n) / 4)
    if _settled(call.action_id, "shipped") != "shipped":
        message = "the target refuses a key that it has disowned"
        raise RuntimeError(message)
    _had_effect(call, "ship")
    return {"shipped": n}


@toolbox.tool(timeout_seconds=TIMEOUT_SECONDS)
def book(n: int, *, call: Call) -> dict[str, int]:
    """Book, unsafely."""
    _started(call, "book")
    _had_effect(call, "book")
    return {"booked": n}


@toolbox.tool(timeout_seconds=TIMEOUT_SECONDS)
async def haul(n: int, *, call: Call) -> dict[str, int]:
    """Haul for long, unsafely."""
    _started(call, "haul")
    await asyncio.sleep(_seconds(n))
    _had_effect(call, "haul")
    return {"hauled": n}


@toolbox.tool(timeout_seconds=TIMEOUT_SECONDS, parallel=True)
def post(n: int, *, call: Call) -> dict[str, int]:
    """Post beside others, unsafely."""
    _started(call, "post")
    _had_effect(call, "post")
    return {"posted": n}


@toolbox.tool(timeout_seconds=TIMEOUT_SECONDS, effect_key_from_args=lambda given: f"refund:{given['payment']}")
def refund(payment: int, n: int, *, call: Call) -> dict[str, int]:
    """Refund a payment: once, whichever session asks."""
    _started(call, "refund")
    _had_effect(call, "refund")
    return {"refunded": n}


@toolbox.tool(timeout_seconds=TIMEOUT_SECONDS)
def pay_out(n: int, *, call: Call) -> dict[str, int]:
    """Pay out, after a person has said so."""
    _started(call, "pay_out")
    _had_effect(call, "pay_out")
    return {"paid": n}


@toolbox.tool(timeout_seconds=TIMEOUT_SECONDS)
def forbid(n: int, *, call: Call) -> dict[str, int]:
    """Do what the policy blocks."""
    _started(call, "forbid")
    _had_effect(call, "forbid")
    return {"done": n}


@toolbox.tool(timeout_seconds=TIMEOUT_SECONDS)
def fail(n: int, *, call: Call) -> dict[str, int]:
    """Fail, after the effect."""
    _started(call, "fail")
    _had_effect(call, "fail")
    message = f"number {n} does not work"
    raise RuntimeError(message)


@toolbox.tool(timeout_seconds=HANG_SECONDS)
async def hang(n: int, *, call: Call) -> dict[str, int]:
    """Never come back in time, unsafely."""
    _started(call, "hang")
    await asyncio.sleep(5)
    return {"hung": n}


@toolbox.tool(timeout_seconds=HANG_SECONDS, parallel=True)
def stall(n: int, *, call: Call) -> dict[str, int]:
    """Outlive the time-out in a thread, and have the effect after it."""
    _started(call, "stall")
    time.sleep(1.5)
    _had_effect(call, "stall")
    return {"stalled": n}
