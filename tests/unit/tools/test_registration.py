"""Tools are registered in the forms and with the names that users of `bighub-openai` know, and mean the same."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from callgate.failures import BadInput
from callgate.tools.arguments import validate
from callgate.tools.definitions import definitions
from callgate.tools.options import tool
from callgate.tools.toolbox import Tool, Toolbox

SCHEMA = {"type": "object", "properties": {"amount": {"type": "number", "maximum": 100}}, "required": ["amount"]}


def refund(order_id: str, amount: float) -> dict[str, Any]:
    """Pay money back."""
    return {"order_id": order_id, "amount": amount}


def limited(amount: float) -> float:
    return amount


def only(box: Toolbox) -> Tool:
    """The one tool of a box."""
    (found,) = box
    return found


def test_a_function_is_registered_by_name() -> None:
    """`tool(name, fn)` and `register_tool(name, fn)` register under that name and give the function back."""
    box = Toolbox()
    assert box.tool("refund_payment", refund, value_from_args=lambda a: a["amount"]) is refund
    assert box.register_tool("again", fn=refund) is refund
    assert [each.name for each in box] == ["refund_payment", "again"]
    first = box.get("refund_payment")
    assert first is not None
    assert first.value_from_args is not None
    assert first.value_from_args({"amount": 3.0}) == 3.0
    assert first.description == "Pay money back."


def test_every_option_of_the_seeds_is_taken() -> None:
    """All that a registration of `bighub-openai` can say is said of the tool."""
    box = Toolbox()
    box.register_tool(
        "refund",
        refund,
        description="Refund.",
        parameters_schema=None,
        value_from_args=lambda a: a["amount"],
        target_from_args=lambda a: a["order_id"],
        metadata_from_args=lambda a: {"order": a["order_id"]},
        action_name="refund_money",
        domain="payments",
        actor="support",
        strict=True,
        decision_mode="submit_payload",
    )
    found, given = only(box), {"order_id": "o", "amount": 1.5}
    assert (found.description, found.action_name, found.domain, found.actor) == (
        "Refund.",
        "refund_money",
        "payments",
        "support",
    )
    assert found.value_from_args is not None
    assert found.target_from_args is not None
    assert found.metadata_from_args is not None
    told = (found.value_from_args(given), found.target_from_args(given), found.metadata_from_args(given))
    assert told == (1.5, "o", {"order": "o"})


def test_an_action_carries_its_system() -> None:
    """One `action` decorator serves several functions, and each has the system, risk and environment (H24)."""
    box = Toolbox()
    okta = box.action(system="okta", risk="high", environment="production", domain="it_actions")

    @okta
    def grant(user: str) -> str:
        return user

    @okta
    async def revoke(user: str) -> str:
        return user

    assert [(each.name, each.system, each.risk, each.environment, each.domain) for each in box] == [
        ("grant", "okta", "high", "production", "it_actions"),
        ("revoke", "okta", "high", "production", "it_actions"),
    ]
    assert grant("ann") == "ann"
    assert inspect.iscoroutinefunction(revoke)


def test_a_declared_function_is_added() -> None:
    """`@tool` leaves the function as it is; `add` registers it with what was said, in any number of toolboxes."""

    @tool(effect="read", risk="low")
    def look(x: int) -> int:
        return x

    @tool
    def plain(x: int) -> int:
        return x

    one, other = Toolbox(), Toolbox()
    one.add(look, plain)
    other.add(look)
    assert [(each.name, each.effect, each.risk) for each in one] == [("look", "read", "low"), ("plain", "unsafe", None)]
    assert only(other).name == "look"
    assert look(3) == 3
    with pytest.raises(BadInput, match="not declared"):
        one.add(refund)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"decision_mode": "guess"}, "decision_mode"),
        ({"parameters": SCHEMA, "parameters_schema": SCHEMA}, "two schemas"),
        ({"colour": "red"}, "no option `colour`"),
        ({"strict": "yes"}, "strict"),
        ({"strict": True, "parameters_schema": {"type": "object", "properties": {"amount": {}}}}, "can't be strict"),
    ],
)
def test_an_option_that_says_nothing_is_refused(options: dict[str, Any], told: str) -> None:
    """A misspelt or contradictory option is found at registration, not passed over."""
    with pytest.raises(BadInput, match=told):
        Toolbox().register_tool("limited", limited, **options)


def test_a_name_without_a_function_or_with_another_name_is_refused() -> None:
    """`tool("refund")` is no decorator by accident."""
    with pytest.raises(BadInput, match="no function"):
        Toolbox().tool("refund", None)  # type: ignore[call-overload]
    with pytest.raises(BadInput, match="two names"):
        Toolbox().tool("refund", refund, name="other")  # type: ignore[call-overload]


def test_a_strict_tool_says_what_keeps_it_from_being_strict() -> None:
    """`strict=True` on a signature with a default names the parameter; left out, the model is told `strict: false`."""

    def optional(a: int, b: int = 2) -> int:
        return a + b

    with pytest.raises(BadInput, match="`b`"):
        Toolbox().tool("optional", optional, strict=True)
    box = Toolbox()
    box.tool("optional", optional)
    box.tool("refund", refund)
    box.tool("loose", refund, strict=False)
    assert [each["strict"] for each in definitions(box)] == [False, True, False]


def test_keys_that_a_function_cannot_take_are_refused_before_it_runs() -> None:
    """A schema of the user's own is closed where its function takes no further keywords (H10), and only there."""

    def whatever(**arguments: Any) -> Any:
        return arguments

    box = Toolbox()
    box.tool("limited", limited, parameters_schema=SCHEMA)
    box.tool("whatever", whatever, parameters_schema=SCHEMA)
    closed, free = box.entry("limited"), box.entry("whatever")
    assert closed is not None
    assert free is not None
    assert validate(closed.validator, {"amount": 5}) is None
    assert validate(closed.validator, {"amount": 500}) is not None
    assert validate(closed.validator, {"amount": 5, "extra": 1}) is not None
    assert validate(free.validator, {"amount": 5, "extra": 1}) is None
