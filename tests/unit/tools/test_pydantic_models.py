"""Parameters that are pydantic models."""

from __future__ import annotations

import enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from callgate.failures import BadInput
from callgate.tools.arguments import validate
from callgate.tools.toolbox import Toolbox


class Unit(enum.Enum):
    """A choice."""

    EURO = "eur"
    POUND = "gbp"


class Money(BaseModel):
    """An amount."""

    amount: float = Field(gt=0, description="How much.")
    unit: Unit = Unit.EURO


class Order(BaseModel):
    """An order with everything in it."""

    title: str
    state: Literal["open", "paid"]
    lines: list[Money]
    note: str | None = None


class Loose(BaseModel):
    """A model that takes whatever comes."""

    model_config = ConfigDict(extra="allow")
    name: str


class Node(BaseModel):
    """A model that contains itself."""

    inner: Node | None = None


class Card(BaseModel):
    """A model with a check of its own."""

    number: str

    @field_validator("number")
    @classmethod
    def _known(cls, _: str) -> str:
        message = "no such card"
        raise ValueError(message)


def test_a_model_is_closed_and_has_no_references() -> None:
    """The schema keeps the model's own limits, at every depth, and a field may be called `title`."""
    box = Toolbox()

    @box.tool
    def pay(order: Order) -> str:
        return order.title

    entry = box.entry("pay")
    assert entry is not None
    order = entry.tool.parameters["properties"]["order"]
    assert "$ref" not in str(order)
    assert order["additionalProperties"] is False
    assert order["properties"]["title"] == {"type": "string"}
    assert order["properties"]["lines"]["items"]["properties"]["amount"]["exclusiveMinimum"] == 0
    good: dict[str, Any] = {"title": "t", "state": "paid", "lines": [{"amount": 1}]}
    assert validate(entry.validator, {"order": good}) is None
    for bad in (
        {**good, "state": "lost"},
        {**good, "more": 1},
        {**good, "lines": [{"amount": 0}]},
        {**good, "lines": [{"amount": 1, "unit": "usd"}]},
        {**good, "lines": [{"amount": 1, "x": 1}]},
    ):
        assert validate(entry.validator, {"order": bad}) is not None


def test_the_function_gets_the_model() -> None:
    """Models are built wherever they stand in the signature."""
    box = Toolbox()

    @box.tool
    def pay(first: Money, rest: list[Money], last: Money | None = None) -> list[Money | None]:
        return [first, *rest, last]

    found = box.get("pay")
    assert found is not None
    built = found.function(first={"amount": 1}, rest=[{"amount": 2, "unit": "gbp"}], last={"amount": 3})
    assert built == [Money(amount=1), Money(amount=2, unit=Unit.POUND), Money(amount=3)]


def loose(x: Loose) -> None: ...


def recursive(x: Node) -> None: ...


@pytest.mark.parametrize("function", [loose, recursive])
def test_a_model_that_cannot_be_strict_is_refused(function: Any) -> None:
    """It is refused at registration, with the parameter and the reason."""
    with pytest.raises(BadInput, match="parameter `x`"):
        Toolbox().tool(function)


def test_a_model_that_refuses_its_input_does_not_quote_it() -> None:
    """The library shows its input cut in the middle, and a part of a secret can't be found to be masked."""
    box = Toolbox()

    @box.tool
    def pay(card: Card) -> None: ...

    found = box.get("pay")
    assert found is not None
    with pytest.raises(ValueError, match="number: Value error, no such card") as refused:
        found.function(card={"number": "4111-2222-3333-4444" * 9})
    assert "4111" not in str(refused.value)
