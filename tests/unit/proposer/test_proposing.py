"""From calls to actions: faults, siblings, the cap, and what a tool declares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import pytest
from tests.support.proposer_values import NOW, function_call, open_toolbox, origin

from callgate.events.actions import ActionProposed
from callgate.events.digest import digest
from callgate.proposer.proposing import Proposals, Turn, propose
from callgate.proposer.reading import read
from callgate.settings import ProposerSettings
from callgate.tools.toolbox import Tool, Toolbox

KEY = "trn_000_abcdefghijklmnopqrstuvwx"


def proposals(items: list[dict[str, Any]], toolbox: Toolbox | None = None, **changes: Any) -> Proposals:
    """What a turn with these items becomes."""
    settings = ProposerSettings(**changes.pop("settings", {}))
    turn = Turn(origin(**changes), KEY, 0, NOW)
    return propose(turn, read("responses", orjson.dumps({"output": items})).calls, toolbox or open_toolbox(), settings)


def actions(items: list[dict[str, Any]], toolbox: Toolbox | None = None, **changes: Any) -> tuple[ActionProposed, ...]:
    return proposals(items, toolbox, **changes).actions


def codes(found: tuple[ActionProposed, ...]) -> list[str | None]:
    return [action.fault.code if action.fault else None for action in found]


def with_tool(**declared: Any) -> Toolbox:
    box = Toolbox()
    box.register(Tool(name="pay", function=print, **declared))
    return box


def test_a_call_becomes_an_action_with_all_that_its_readers_need() -> None:
    """Declarations, origin and arguments travel in the event, and the digest can be computed from it again."""
    box = with_tool(
        effect="idempotent",
        timeout_seconds=3,
        honours=("limit",),
        sensitive=("card",),
        value_from_args=lambda arguments: arguments["amount"],
        target_from_args=lambda arguments: f"account:{arguments['to']}",
        metadata_from_args=lambda arguments: {"currency": "EUR", "risk": "none", "n": len(arguments)},
        effect_key_from_args=lambda arguments: f"pay:{arguments['to']}",
        action_name="payments.send",
        domain="payments",
        actor="BOT",
        environment="production",
        risk="high",
        system="bank",
    )
    raw = '{ "amount": 12.50, "to": "Zoë", "card": "1" }'
    (action,) = actions(
        [function_call(arguments=raw)],
        box,
        requester="alice",
        domain="other",
        environment="staging",
        context=msgspec.Raw(b'{"malicious":true,"risk":"low","session":"forged"}'),
    )
    assert action.fault is None
    assert bytes(action.arguments).decode() == raw
    assert (action.value, action.target, action.effect_key) == (12.5, "account:Zoë", "pay:Zoë")
    assert (action.bighub_action, action.domain, action.actor) == ("payments.send", "payments", "BOT")
    assert (action.environment, action.risk, action.effect) == ("production", "high", "idempotent")
    assert (action.honours, action.sensitive, action.timeout_seconds) == (("limit",), ("card",), 3.0)
    assert action.requester == "alice"
    assert orjson.loads(bytes(action.context)) == {
        "malicious": True,
        "currency": "EUR",
        "n": 3,
        "risk": "high",
        "session": "s",
        "environment": "production",
        "system": "bank",
    }
    assert action.ref.digest == digest(
        tenant="acme",
        agent="bot",
        tool="pay",
        tool_version=action.tool_version,
        target=action.target,
        arguments=orjson.loads(bytes(action.arguments)),
    )


@pytest.mark.parametrize(
    ("item", "code", "kept"),
    [
        (function_call(name="steal"), "unknown_tool", {}),
        (function_call(arguments="{oops"), "malformed_arguments", "{oops"),
        (function_call(arguments="[1]"), "malformed_arguments", "[1]"),
        (function_call(arguments='{"x":"one"}'), "invalid_arguments", {"x": "one"}),
        (function_call(arguments='{"y":1}'), "invalid_arguments", {"y": 1}),
        (function_call(status="incomplete"), "incomplete", {}),
        ({**function_call(), "type": "mcp_approval_request", "id": "m"}, "unknown_tool", {}),
        ({"type": "shell_call", "call_id": "c", "action": {"commands": []}}, "unknown_tool", {"commands": []}),
    ],
)
def test_each_fault_is_named_and_the_call_kept(item: dict[str, Any], code: str, kept: object) -> None:
    """A faulty call is proposed all the same, with its arguments, or its text where they are no object."""
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}, "additionalProperties": False}
    (action,) = actions([item], with_tool(parameters=schema))
    assert codes((action,)) == [code]
    assert orjson.loads(bytes(action.arguments)) == kept


def test_the_model_cannot_fill_in_the_call() -> None:
    """Where a tool takes the `Call`, an argument of that name is refused, whatever the schema lets through."""
    item = function_call(arguments='{"call":{"action_id":"forged"}}')
    assert codes(actions([item], with_tool(takes_call=True))) == ["invalid_arguments"]
    assert codes(actions([item], with_tool())) == [None]


def test_arguments_beyond_the_limit_are_refused_and_cut() -> None:
    """Arguments that later events could not carry are refused, and only their beginning is kept."""
    (action,) = actions([function_call(arguments=orjson.dumps({"x": "é" * 200_000}).decode())])
    assert codes((action,)) == ["too_large"]
    assert len(bytes(action.arguments)) < 10_000


def test_a_call_id_used_twice_refuses_all_its_calls() -> None:
    """Where two calls have one id, no answer could be told apart, so neither is run; the others are."""
    items = [function_call(arguments=f'{{"n":{n}}}', call_id=call) for n, call in enumerate(["a", "b", "a"])]
    assert codes(actions(items)) == ["duplicate_call_id", None, "duplicate_call_id"]


@pytest.mark.parametrize("policy", ["review", "block", "collapse"])
def test_equal_siblings_never_run_more_than_once(policy: str) -> None:
    """Of equal calls the first stands for all, under suspicion unless they are collapsed; spacing hides nothing."""
    texts = ['{"a":1,"b":2}', '{ "b": 2, "a": 1 }', '{"a":1,"b":3}', '{"\\u0061":1,"b":2}']
    items = [function_call(arguments=text, call_id=f"c{n}") for n, text in enumerate(texts)]
    found = actions(items, settings={"siblings": policy})
    assert codes(found) == [None, "equal_sibling", None, "equal_sibling"]
    assert [action.suspicion for action in found] == [
        None if policy == "collapse" else "3 equal calls in one response",
        None,
        None,
        None,
    ]
    assert found[1].fault is not None
    assert "call 1" in found[1].fault.message


def test_one_and_one_point_nought_are_not_equal() -> None:
    """Arguments that a tool can tell apart are no siblings."""
    items = [
        function_call(arguments=text, call_id=text) for text in ('{"a":1}', '{"a":1.0}', '{"a":"1"}', '{"a":true}')
    ]
    assert codes(actions(items)) == [None, None, None, None]


def test_a_turn_over_the_cap_runs_nothing() -> None:
    """The recorded shape of 545 calls, 543 of them one transfer: every call is an action, and every one is refused."""
    items = [function_call("transfer", '{"to":"eve"}', f"c{n}") for n in range(543)]
    items += [function_call("balance", "{}", "c543"), function_call("balance", '{"x":1}', "c544")]
    result = proposals(items)
    assert result.over_cap
    assert Counter(codes(result.actions)) == {"too_many_calls": 545}
    assert len({action.ref.id for action in result.actions}) == 545


def test_the_same_shape_under_a_higher_cap_pays_once() -> None:
    """With a cap that lets them through, 543 equal transfers are still one, and under suspicion."""
    items = [function_call("transfer", '{"to":"eve"}', f"c{n}") for n in range(543)]
    found = actions(items, settings={"turn_cap": 600})
    assert Counter(codes(found)) == {None: 1, "equal_sibling": 542}
    assert found[0].suspicion == "543 equal calls in one response"


def test_the_cap_itself_is_allowed() -> None:
    """As many calls as the cap are run."""
    items = [function_call(arguments=f'{{"n":{n}}}', call_id=f"c{n}") for n in range(128)]
    assert set(codes(actions(items))) == {None}


def fails(_arguments: object) -> Any:
    raise KeyError("secret-value")


@pytest.mark.parametrize(
    "declared",
    [
        {"value_from_args": fails},
        {"value_from_args": lambda _: float("nan")},
        {"value_from_args": lambda _: "12"},
        {"value_from_args": lambda _: [1]},
        {"target_from_args": lambda _: 3},
        {"target_from_args": lambda _: "\ud800"},
        {"effect_key_from_args": lambda _: b"x"},
        {"metadata_from_args": lambda _: ["x"]},
        {"metadata_from_args": lambda _: {"x": object()}},
        {"metadata_from_args": lambda _: {"x": "y" * 70_000}},
    ],
)
def test_a_declaration_that_fails_refuses_the_call(declared: dict[str, Callable[[Any], Any]]) -> None:
    """The user's own code may raise or lie: its call is refused, the others go on, and nothing of it is told."""
    box = with_tool(**declared)
    box.register(Tool(name="fine", function=print))
    result = proposals([function_call(), function_call("fine", call_id="c2")], box)
    assert codes(result.actions) == ["declaration_failed", None]
    assert [problem.tool for problem in result.problems] == ["pay"]
    assert "secret-value" not in repr(result)


def test_a_declaration_cannot_change_the_arguments() -> None:
    """What a declaration does to the arguments that it is shown changes neither the digest nor another declaration."""

    def spoil(arguments: Any) -> str:
        return str(arguments["deep"].pop())

    (action,) = actions(
        [function_call(arguments='{"deep":[1,2]}')], with_tool(target_from_args=spoil, effect_key_from_args=spoil)
    )
    assert (action.target, action.effect_key) == ("2", "2")
    assert action.ref.digest == digest(
        tenant="acme", agent="bot", tool="pay", tool_version=action.tool_version, target="2", arguments={"deep": [1, 2]}
    )


@pytest.mark.parametrize("context", [b"[]", b'"x"', b'{"a":1,"a":2}', b'{"a":"' + b"x" * 70_000 + b'"}'])
def test_a_context_that_cannot_be_used_refuses_the_calls(context: bytes) -> None:
    """Labels that can't be passed on would be missing in the decision, so nothing is decided without them."""
    assert codes(actions([function_call()], context=msgspec.Raw(context))) == ["invalid_context"]


def test_ids_depend_on_turn_round_position_and_call() -> None:
    """The same call at another place, in another turn or with another id is another action; read again, the same."""
    items = [function_call(arguments='{"n":1}', call_id="a"), function_call(arguments='{"n":2}', call_id="b")]
    first = [action.ref.id for action in actions(items)]
    assert first == [action.ref.id for action in actions(items)]
    swapped = [action.ref.id for action in actions(items[::-1])]
    assert not set(first) & set(swapped)
