"""What a run submits, by seed: turns of calls, and how people answer. Pure: the same seed gives the same plan."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from callgate.cli.checker.judge import Expected
from callgate.events import ids
from callgate.events.home import home

TENANTS = ("north", "south", "east")
POLICY = """
[approvals]
seconds = 60

[[rule]]
action = "pay_out"
decision = "review"

[[rule]]
action = "forbid"
decision = "block"
"""
"""What the local BIGHUB decides."""

_WEIGHTS = {
    "look": 14, "gaze": 4, "charge": 16, "ship": 12, "book": 22, "haul": 5, "post": 8, "refund": 7, "pay_out": 5,
    "forbid": 2, "fail": 2, "hang": 0.4, "stall": 0.4, "nothing": 1,
}  # fmt: skip
_WORDS = {
    "look": "saw", "gaze": "saw", "charge": "charged", "book": "booked", "haul": "hauled", "post": "posted",
    "pay_out": "paid",
}  # fmt: skip
Answer = Literal["approve", "reject", "both", "late", "never", "respond", "delegate"]

Again = Literal["no", "home", "away"]
_AGAIN: tuple[Again, ...] = ("no", "home", "away")
_ANSWERS: tuple[Answer, ...] = (
    "approve",
    "approve",
    "approve",
    "reject",
    "both",
    "late",
    "never",
    "respond",
    "delegate",
)


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call of a model's answer."""

    action_id: str
    call_id: str
    tool: str
    arguments: dict[str, int]
    answer: Answer
    """What people say, where they are asked."""

    def output(self) -> bytes | None:
        """What the tool returns, as JSON, where nothing but the tool itself can end the call as executed."""
        word = _WORDS.get(self.tool)
        return orjson.dumps({word: self.arguments["n"]}) if word is not None else None


@dataclass(frozen=True, slots=True)
class PlannedTurn:
    """One turn, and how often it is submitted."""

    key: str
    tenant: str
    session: str
    turn: str
    calls: tuple[PlannedCall, ...]
    again: Again
    """Whether an agent sends it a second time: as it did before, or through a producer that partitions otherwise."""

    def message(self) -> bytes:
        """The assistant message of the turn."""
        return orjson.dumps({"role": "assistant", "content": None, "tool_calls": [_item(call) for call in self.calls]})


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is submitted in one run."""

    turns: tuple[PlannedTurn, ...]

    def calls(self) -> dict[str, PlannedCall]:
        """Every call by its action's id."""
        return {call.action_id: call for turn in self.turns for call in turn.calls}

    def expected(self) -> dict[str, Expected]:
        """What the checker may expect of every call."""
        return {
            call.action_id: Expected(turn.key, position, call.call_id, call.output())
            for turn in self.turns
            for position, call in enumerate(turn.calls)
        }


def plan(seed: int, actions: int, partitions: int) -> Plan:
    """Turns with at least so many calls, from as many sessions as make them independent of each other."""
    chance = random.Random(f"plan {seed}")
    sessions = max(8, actions // 12)
    turns: list[PlannedTurn] = []
    count = 0
    while count < actions:
        session = f"session-{chance.randrange(sessions)}"
        tenant = TENANTS[int(session.split("-")[1]) % len(TENANTS)]
        turn = f"turn-{len(turns)}"
        key = ids.turn_key(home(tenant, session, partitions), tenant, session, turn)
        size = chance.choice((1, 1, 1, 2, 2, 3, 5))
        calls = tuple(_planned(chance, key, position, count + position, actions) for position in range(size))
        again = chance.choices(_AGAIN, (0.92, 0.04, 0.04))[0]
        turns.append(PlannedTurn(key, tenant, session, turn, calls, again))
        count += size
    return Plan(tuple(turns))


def of_one_tool(tool: str, name: str, turns: int, partitions: int) -> Plan:
    """Turns of one call each, in sessions of their own."""
    found = []
    for number in range(turns):
        session = f"{name}-{number}"
        key = ids.turn_key(home(TENANTS[0], session, partitions), TENANTS[0], session, "turn")
        call = PlannedCall(ids.action_id(key, 0, 0, "call_0"), "call_0", tool, {"n": number}, "never")
        found.append(PlannedTurn(key, TENANTS[0], session, "turn", (call,), "no"))
    return Plan(tuple(found))


def _planned(chance: random.Random, key: str, position: int, n: int, actions: int) -> PlannedCall:
    tool = chance.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]
    arguments = {"n": n}
    if tool == "refund":
        # Few enough payments that sessions meet over one.
        arguments["payment"] = chance.randrange(max(2, actions // 30))
    # Providers use call ids again; position keeps these apart within a turn.
    call_id = f"call_{chance.randrange(8)}_{position}"
    answer = chance.choice(_ANSWERS)
    return PlannedCall(ids.action_id(key, 0, position, call_id), call_id, tool, arguments, answer)


def _item(call: PlannedCall) -> dict[str, Any]:
    function = {"name": call.tool, "arguments": orjson.dumps(call.arguments).decode()}
    return {"id": call.call_id, "type": "function", "function": function}
