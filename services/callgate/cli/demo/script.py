"""The demo's turns, what each of them shows, and how the people in it answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from callgate.events.approvals import Answer, ApprovalKind
from callgate.events.turns import ResponseFormat

TENANT = "demo"

AGENT = "demo-agent"
"""Who acts in the demo; it must not answer its own requests."""

MODEL = "demo-model"
"""What the turns ask for that have the model run."""

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
action = "wire_money"
decision = "review"
reason = "Large sums need two people."
risk_score = 0.9

[[rule]]
action = "close_account"
decision = "needs_context"
reason = "Say why the account is to be closed."
"""

APPROVALS = """\
# Whom the demo asks. The first rule that matches counts; see docs/approval-policy.md.
version = 1

[groups]
finance = ["ana", "tom"]
security = ["mia"]

[[rules]]
name = "large sums: one of finance and one of security"
match = { tool = ["wire_money"] }
quorum = 2
one_from_each = ["finance", "security"]
answers = ["approve", "reject"]

[[rules]]
name = "access"
match = { tool = ["grant_access"] }
approvers = ["mia", "tom"]
"""
"""The approval policy that the demo's evaluator reads."""

MODEL_SCRIPT = """\
[[scenario]]
text = "Refund*"
[[scenario.round]]
reasoning = "The order must be looked up before any money moves."
calls = [{ name = "lookup_order", arguments = { order = "A-1003" }, call_id = "call_look" }]
[[scenario.round]]
[[scenario.round.calls]]
name = "refund_payment"
arguments = { payment = "P-90", amount = 35.5, iban = "DE02500105170137075030" }
call_id = "call_pay"
[[scenario.round]]
text = "The order was paid, and 35.50 EUR are on their way back."

[[scenario]]
text = "Drop*"
[[scenario.round]]
calls = [{ name = "drop_database", arguments = { name = "staging" }, call_id = "call_drop" }]
[[scenario.round]]
text = "I am not allowed to drop databases. Please ask an administrator."
"""
"""What the demo's local model says, round by round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """What a person of the demo says when asked."""

    who: str
    answer: Answer
    after: float = 0.0
    """Seconds after the question."""
    arguments: Mapping[str, Any] | None = None
    response: Any = None
    delegate_to: str | None = None
    kind: ApprovalKind = "action"
    """Whether it is said of a call that is to run, or of one that is in doubt."""


@dataclass(frozen=True, slots=True)
class Called:
    """Where one of a turn's calls stands, from which its identity follows."""

    round: int
    position: int
    call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTurn:
    """One scripted turn: what the agent's model has answered, or what the user says to a model that Callgate runs."""

    title: str
    """What it shows, in a few words."""
    session: str
    calls: tuple[Called, ...]
    format: ResponseFormat = "responses"
    response: bytes = b""
    said: str | None = None
    """What the user says; None where the model has answered already."""
    answers: tuple[Says, ...] = ()
    """Of the people who are asked. Where nobody answers, the approval expires."""
    times: int = 1
    """How often it is submitted; it counts once."""


def turns() -> tuple[DemoTurn, ...]:
    """The script."""
    return (*_customers(), *_operations(), *_people(), *_answers(), *_model())


def _customers() -> tuple[DemoTurn, ...]:
    approved = (Says(who="mia", answer="approve"),)
    return (
        _turn("allowed: a harmless read", "support-1", ("lookup_order", {"order": "A-1001"})),
        _turn("approved by a person", "support-1b", ("refund_payment", _REFUND), answers=approved),
        _turn(
            "the same refund from another session: one effect",
            "support-2",
            ("refund_payment", _REFUND),
            answers=(Says(who="mia", answer="approve", after=1.5),),
        ),
        _turn("nobody answers: expired", "support-3", ("issue_credit", {"customer": "C-7", "amount": 25.0})),
        _turn("needs context", "support-4", ("close_account", {"customer": "C-9"})),
        _turn("the tool fails: tool error", "support-5", ("resend_receipt", {"order": "A-1002"})),
        _turn(
            "equal siblings: one suspicion, never five payments",
            "payments-1",
            *[("transfer_money", {"to": "ACME", "amount": 900.0})] * 5,
            answers=approved,
        ),
    )


def _operations() -> tuple[DemoTurn, ...]:
    return (
        _turn("allowed with constraints", "ops-1", ("restart_service", {"service": "web", "environment": "staging"})),
        _turn("blocked", "ops-2", ("drop_database", {"name": "orders"})),
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


def _people() -> tuple[DemoTurn, ...]:
    return (
        _turn("rejected by a person", "ops-3", ("grant_access", _ACCESS), answers=(Says(who="mia", answer="reject"),)),
        _turn(
            "two people, one of each group: approved",
            "payments-2",
            ("wire_money", {"to": "ACME", "amount": 25_000.0}),
            answers=(Says(who="ana", answer="approve"), Says(who="mia", answer="approve", after=0.2)),
        ),
        _turn(
            "two of the same group are not enough: expired",
            "payments-3",
            ("wire_money", {"to": "Globex", "amount": 30_000.0}),
            answers=(Says(who="ana", answer="approve"), Says(who="tom", answer="approve", after=0.2)),
        ),
        _turn(
            "the agent answers its own request: does not count, expired",
            "support-6",
            ("issue_credit", {"customer": "C-8", "amount": 9000.0}),
            answers=(Says(who=AGENT, answer="approve"),),
        ),
        _turn(
            "a vote that is withdrawn in time does not count: expired",
            "payments-4",
            ("wire_money", {"to": "Initech", "amount": 12_000.0}),
            answers=(
                Says(who="ana", answer="approve"),
                Says(who="ana", answer="withdraw", after=0.3),
                Says(who="mia", answer="approve", after=0.6),
            ),
        ),
    )


def _answers() -> tuple[DemoTurn, ...]:
    return (
        _turn(
            "edited by a person, evaluated again, and run as edited",
            "ops-10",
            ("grant_access", {"user": "kim", "group": "prod-admin", "hours": 48}),
            answers=(Says(who="mia", answer="edit", arguments={"user": "kim", "group": "prod-admin", "hours": 2}),),
        ),
        _turn(
            "answered by a person in the tool's stead",
            "support-7",
            ("issue_credit", {"customer": "C-11", "amount": 40.0}),
            answers=(Says(who="ana", answer="respond", response="It was credited yesterday."),),
        ),
        _turn(
            "passed on to somebody else, who approves",
            "ops-11",
            ("grant_access", {"user": "lee", "group": "staging", "hours": 8}),
            answers=(
                Says(who="tom", answer="delegate", delegate_to="ana"),
                Says(who="ana", answer="approve", after=0.5),
            ),
        ),
        _turn(
            "in doubt, and settled by a person who has looked",
            "ops-12",
            ("sync_inventory", {"warehouse": "south"}),
            answers=(
                Says(who="ana", answer="respond", response={"warehouse": "south", "synchronised": True}, kind="settle"),
            ),
        ),
    )


def _model() -> tuple[DemoTurn, ...]:
    return (
        DemoTurn(
            title="the model is run: two rounds of tools, a person between them",
            session="chat-1",
            said="Refund order A-1003, please.",
            calls=(Called(0, 0, "call_look"), Called(1, 0, "call_pay")),
            answers=(Says(who="mia", answer="approve"),),
        ),
        DemoTurn(
            title="the model is told that it may not, and says so",
            session="chat-2",
            said="Drop the staging database.",
            calls=(Called(0, 0, "call_drop"),),
        ),
        DemoTurn(title="an answer without tools, streamed", session="chat-3", said="Hello!", calls=()),
    )


_REFUND = {"payment": "P-77", "amount": 420.0, "iban": "DE02120300000000202051"}
_CPU = {"service": "web", "metric": "cpu"}
_ACCESS = {"user": "mia", "group": "prod-admin", "hours": 48}


def _turn(
    title: str,
    session: str,
    *calls: tuple[str, dict[str, Any] | str],
    times: int = 1,
    answers: tuple[Says, ...] = (),
) -> DemoTurn:
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
    called = tuple(Called(0, position, str(item["call_id"])) for position, item in enumerate(output))
    return DemoTurn(
        title=title, session=session, calls=called, response=orjson.dumps(response), answers=answers, times=times
    )


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
    called = tuple(Called(0, position, f"call_{position}") for position in range(len(calls)))
    return DemoTurn(
        title=title, session=session, calls=called, format="chat_completions", response=orjson.dumps(message)
    )
