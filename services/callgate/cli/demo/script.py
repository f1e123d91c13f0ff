"""The demo's turns, what each of them shows, and how the people in it answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson

from callgate.cli.play.voter import Says
from callgate.events.turns import ResponseFormat

TENANT = "demo"

ANSWERS: dict[str, Says] = {"refund_payment": "approve", "grant_access": "reject", "transfer_money": "approve"}
"""What the demo's person says, by tool. Nobody answers for any other tool, so those expire."""

POLICY = """\
# What the demo's local BIGHUB decides. The first rule that matches wins.

[default]
decision = "allow"

[[rule]]
action = "restart_service"
decision = "constrain"
reason = "Restart at most a tenth of the instances at a time."
constraints = { max_percentage = 10 }

[[rule]]
action = "drop_database"
decision = "block"
reason = "Databases are not dropped by agents."
risk_score = 0.97

[[rule]]
action = "refund_payment"
decision = "review"
reason = "Refunds are looked at by a person."
risk_score = 0.61

[[rule]]
action = "grant_access"
decision = "review"
reason = "Production access for 48 h is broader than necessary."
risk_score = 0.78
better_action = "Grant the group for 2 h"

[[rule]]
action = "issue_credit"
decision = "review"
reason = "Credits without an order are looked at by a person."
risk_score = 0.55

[[rule]]
action = "close_account"
decision = "needs_context"
reason = "Say why the account is to be closed."
"""


@dataclass(frozen=True, slots=True)
class DemoTurn:
    """One scripted turn."""

    title: str
    """What it shows, in a few words."""
    session: str
    format: ResponseFormat
    response: bytes
    call_ids: tuple[str, ...]
    times: int = 1
    """How often it is submitted; it counts once."""

    @property
    def calls(self) -> int:
        """How many calls it has."""
        return len(self.call_ids)


def turns() -> tuple[DemoTurn, ...]:
    """The script."""
    return (
        _turn("allowed: a harmless read", "support-1", ("lookup_order", {"order": "A-1001"})),
        _turn("approved by a person", "support-1b", ("refund_payment", _REFUND)),
        _turn("the same refund from another session: one effect", "support-2", ("refund_payment", _REFUND)),
        _turn("nobody answers: expired", "support-3", ("issue_credit", {"customer": "C-7", "amount": 25.0})),
        _turn("needs context", "support-4", ("close_account", {"customer": "C-9"})),
        _turn("the tool fails: tool error", "support-5", ("resend_receipt", {"order": "A-1002"})),
        _turn(
            "equal siblings: one suspicion, never five payments",
            "payments-1",
            *[("transfer_money", {"to": "ACME", "amount": 900.0})] * 5,
        ),
        _turn("allowed with constraints", "ops-1", ("restart_service", {"service": "web", "environment": "staging"})),
        _turn("blocked", "ops-2", ("drop_database", {"name": "orders"})),
        _turn("rejected by a person", "ops-3", ("grant_access", {"user": "mia", "group": "prod-admin", "hours": 48})),
        _turn("time-out: in doubt, never started again", "ops-4", ("sync_inventory", {"warehouse": "north"})),
        _turn(
            "parallel calls",
            "ops-5",
            *[("read_metric", {"service": name, "metric": "errors"}) for name in ("web", "api", "db")],
        ),
        _turn("malformed arguments: refused, the model is told", "ops-6", ("read_metric", '{"service": "web", ')),
        _turn("unknown tool: refused", "ops-7", ("launch_rocket", {"target": "moon"})),
        _turn("submitted twice: counts once", "ops-8", ("read_metric", _CPU), times=2),
        _chat("a Chat Completions message", "ops-9", ("read_metric", _CPU)),
    )


_REFUND = {"payment": "P-77", "amount": 420.0, "iban": "DE02120300000000202051"}
_CPU = {"service": "web", "metric": "cpu"}


def _turn(title: str, session: str, *calls: tuple[str, dict[str, Any] | str], times: int = 1) -> DemoTurn:
    output = [
        {
            "type": "function_call",
            "id": f"fc_{session}_{position}",
            "call_id": f"call_{session}_{position}",
            "name": name,
            "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
            "status": "completed",
        }
        for position, (name, arguments) in enumerate(calls)
    ]
    response = {"id": f"resp_{session}", "object": "response", "status": "completed", "model": "demo", "output": output}
    call_ids = tuple(str(item["call_id"]) for item in output)
    return DemoTurn(title, session, "responses", orjson.dumps(response), call_ids, times)


def _chat(title: str, session: str, *calls: tuple[str, dict[str, Any]]) -> DemoTurn:
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": f"call_{position}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for position, (name, arguments) in enumerate(calls)
        ],
    }
    call_ids = tuple(f"call_{position}" for position in range(len(calls)))
    return DemoTurn(title, session, "chat_completions", orjson.dumps(message), call_ids)
