"""The demo's tools: IT operations and customer transactions. Their only effect is a line at the witness."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from callgate.failures import CallgateError
from callgate.tools.toolbox import Call, Toolbox

Testify = Callable[[str], None]
"""Leaves the line of an action at the witness."""

SLOW_SECONDS = 30.0
"""How long the warehouse takes to answer: far beyond its tool's time-out."""


class ReceiptServiceDown(CallgateError):  # noqa: N818 - a fact that the model is told
    """What the demo's receipt tool raises."""


def demo_toolbox(testify: Testify) -> Toolbox:
    """All of the demo's tools."""
    box = Toolbox()
    _operations(box, testify)
    _transactions(box, testify)
    return box


def _operations(box: Toolbox, testify: Testify) -> None:
    @box.tool(effect="read", domain="it_actions", description="Read a metric of a service.")
    def read_metric(service: str, metric: str, *, call: Call) -> dict[str, Any]:
        testify(call.action_id)
        return {"service": service, "metric": metric, "value": 0.42}

    @box.tool(
        effect="idempotent",
        domain="it_actions",
        honours=("max_percentage",),
        target_from_args=lambda arguments: str(arguments["service"]),
        description="Restart the instances of a service.",
    )
    def restart_service(service: str, environment: Literal["staging", "production"], *, call: Call) -> dict[str, Any]:
        testify(call.action_id)
        share = call.constraints.get("max_percentage", 100)
        return {"service": service, "environment": environment, "restarted_percent": share}

    @box.tool(domain="it_actions", risk="high", target_from_args=lambda arguments: str(arguments["name"]))
    def drop_database(name: str, *, call: Call) -> str:
        testify(call.action_id)
        return f"{name} dropped"

    @box.tool(domain="it_actions", risk="high", target_from_args=lambda arguments: str(arguments["user"]))
    def grant_access(user: str, group: str, hours: int, *, call: Call) -> str:
        testify(call.action_id)
        return f"{user} is in {group} for {hours} h"

    @box.tool(domain="it_actions", timeout_seconds=0.5, target_from_args=lambda arguments: str(arguments["warehouse"]))
    async def sync_inventory(warehouse: str, *, call: Call) -> str:
        testify(call.action_id)
        await asyncio.sleep(SLOW_SECONDS)
        return f"{warehouse} synchronised"


def _transactions(box: Toolbox, testify: Testify) -> None:
    @box.tool(effect="read", domain="customer_transactions", description="Look an order up.")
    def lookup_order(order: str, *, call: Call) -> dict[str, Any]:
        testify(call.action_id)
        return {"order": order, "total": 420.0, "currency": "EUR", "paid": True}

    @box.tool(
        domain="customer_transactions",
        risk="medium",
        value_from_args=lambda arguments: float(arguments["amount"]),
        target_from_args=lambda arguments: str(arguments["payment"]),
        effect_key_from_args=lambda arguments: f"refund:{arguments['payment']}",
        sensitive=("iban",),
        description="Pay money back to the customer.",
    )
    def refund_payment(payment: str, amount: float, iban: str, *, call: Call) -> dict[str, Any]:
        testify(call.action_id)
        return {"payment": payment, "refunded": amount, "account": iban[-4:]}

    @box.tool(
        domain="customer_transactions",
        risk="high",
        value_from_args=lambda arguments: float(arguments["amount"]),
        target_from_args=lambda arguments: str(arguments["to"]),
    )
    def transfer_money(to: str, amount: float, *, call: Call) -> str:
        testify(call.action_id)
        return f"{amount:.2f} sent to {to}"

    @box.tool(
        domain="customer_transactions",
        risk="critical",
        value_from_args=lambda arguments: float(arguments["amount"]),
        target_from_args=lambda arguments: str(arguments["to"]),
    )
    def wire_money(to: str, amount: float, *, call: Call) -> str:
        testify(call.action_id)
        return f"{amount:.2f} wired to {to}"

    @box.tool(domain="customer_transactions", target_from_args=lambda arguments: str(arguments["customer"]))
    def close_account(customer: str, *, call: Call) -> str:
        testify(call.action_id)
        return f"{customer} closed"

    @box.tool(domain="customer_transactions", target_from_args=lambda arguments: str(arguments["customer"]))
    def issue_credit(customer: str, amount: float, *, call: Call) -> str:
        testify(call.action_id)
        return f"{amount:.2f} credited to {customer}"

    @box.tool(domain="customer_transactions")
    def resend_receipt(order: str, *, call: Call) -> str:
        testify(call.action_id)
        message = f"the receipt service is down, {order} was not sent"
        raise ReceiptServiceDown(message)
