"""Hazards of the published adapter in what a tool is, H10, H22, H23, H24, H26 and H28: none of them can happen here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest
from tests.support.small_gate import small_gate, statuses

from callgate.failures import BadInput
from callgate.tools.strictness import strict
from callgate.tools.toolbox import Toolbox


@dataclass
class Limits:
    """What a tool may ask for."""

    most: int
    note: str | None


class Place(TypedDict):
    """Where."""

    city: str


def typed(
    count: int | None,
    mode: Literal["fast", "slow"],
    names: list[str],
    where: Place,
    limits: Limits,
    ok: bool,  # noqa: FBT001 - a tool's parameter
) -> bool:
    """This module's annotations are postponed, as those that became texts there."""
    return ok


async def test_h10_arguments_are_held_against_the_schema_first(tmp_path: Path) -> None:
    """A wrong type, a missing and an unknown key are refused before BIGHUB is asked, and the tool is not called."""
    ran: list[int] = []
    box = Toolbox()

    @box.tool
    def act(n: int) -> int:
        ran.append(n)
        return n

    said = 'call act {"n": "1"}\ncall act {}\ncall act {"n": 1, "m": 2}\ncall act {"n": 4}'
    async with small_gate(tmp_path, box) as gate:
        response = await gate.client.run(said, "any")
        assert statuses(response) == ["refused", "refused", "refused", "executed"]
        assert len(gate.asked()) == 1
    assert ran == [4]


def test_h22_schemas_are_strict_and_say_what_the_signature_says() -> None:
    """Unions, literals, lists, typed dicts and dataclasses are themselves, and the API would call it strict."""
    box = Toolbox()
    box.tool(typed)
    (found,) = box.list_tools()
    properties = found["parameters"]["properties"]
    assert properties["count"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert properties["mode"] == {"enum": ["fast", "slow"]}
    assert properties["names"] == {"type": "array", "items": {"type": "string"}}
    assert properties["where"]["properties"] == {"city": {"type": "string"}}
    assert properties["limits"]["additionalProperties"] is False
    assert properties["ok"] == {"type": "boolean"}
    assert strict(found["parameters"])
    assert found["strict"] is True


def bare(x) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001


def raw(x: bytes) -> None: ...


@pytest.mark.parametrize("function", [bare, raw])
def test_h22_nothing_becomes_a_text_by_default(function: Callable[..., Any]) -> None:
    """What can't be typed is refused at registration, with the parameter's name."""
    with pytest.raises(BadInput, match="parameter `x`"):
        Toolbox().tool(function)


async def test_h23_a_sync_function_that_gives_a_coroutine_is_awaited(tmp_path: Path) -> None:
    """The end is that of the coroutine, not of having made it."""
    ran: list[int] = []

    async def later(n: int) -> int:
        ran.append(n)
        return n + 1

    box = Toolbox()

    @box.tool
    def act(n: int) -> Any:
        return later(n)

    async with small_gate(tmp_path, box) as gate:
        response = await gate.client.run('call act {"n": 1}', "any")
    assert (response["execution"]["last"]["status"], response["execution"]["last"]["output"]) == ("executed", 2)
    assert ran == [1]


def test_h24_a_decorator_used_twice_means_the_same_twice() -> None:
    """Domain and metadata are there for the second function as for the first."""
    box = Toolbox()
    on_okta = box.action(system="okta", domain="it", metadata_from_args=lambda _: {"team": "ops"})
    for name in ("one", "two"):
        on_okta(_named(name))
    assert [(each.system, each.domain, each.metadata_from_args is not None) for each in box] == [
        ("okta", "it", True)
    ] * 2


def _named(name: str) -> Callable[[int], int]:
    def function(n: int) -> int:
        return n

    function.__name__ = name
    return function


async def test_h26_the_listed_tools_are_those_that_are_sent(tmp_path: Path) -> None:
    """`list_tools` has the very shape that the model is sent."""
    box = Toolbox()

    @box.tool
    def act(n: int) -> int:
        return n

    async with small_gate(tmp_path, box) as gate:
        await gate.client.run("hello", "any")
        assert [asked.body["tools"] for asked in gate.sandbox.model.journal] == [box.list_tools()]
    assert box.list_tools()[0].keys() == {"type", "name", "description", "parameters", "strict"}


def test_h28_what_is_needed_can_be_installed_together() -> None:
    """Callgate needs no adapter, and the model's SDK that is installed is one that it asks for."""
    needed = [each for each in requires("callgate") or [] if "extra ==" not in each]
    names = {re.split(r"[^a-z0-9_-]", each.lower())[0] for each in needed}
    assert "bighub-openai" not in names
    assert {"openai", "bighub"} <= names
    (wanted,) = [each for each in needed if each.startswith("openai")]
    assert f">={version('openai').partition('.')[0]}" in wanted
