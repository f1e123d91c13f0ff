"""Whatever a response holds: as many actions as calls, each with its place and its id."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
from hypothesis import given
from hypothesis import strategies as st
from tests.support.event_values import json_values, text
from tests.support.proposer_values import NOW, open_toolbox, origin

from callgate.events import ids
from callgate.events.codec import decode, encode
from callgate.proposer.calls import ReadCall, Unreadable
from callgate.proposer.proposing import Turn, propose
from callgate.proposer.reading import read
from callgate.settings import ProposerSettings
from callgate.tools.toolbox import Tool, Toolbox

KEY = "trn_000_abcdefghijklmnopqrstuvwx"

_arguments = (
    st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 2), max_size=2).map(
        lambda each: orjson.dumps(each).decode()
    )
    | text
    | json_values
)
_items = st.fixed_dictionaries(
    {"type": st.sampled_from(["function_call", "custom_tool_call", "shell_call", "mcp_approval_request", "new_call"])},
    optional={
        "name": st.sampled_from(["pay", "look"]) | json_values,
        "arguments": _arguments,
        "input": json_values,
        "action": json_values,
        "call_id": st.sampled_from(["c1", "c2", "call_0", "", None]) | json_values,
        "id": text,
        "status": st.sampled_from(["completed", None]) | json_values,
    },
)


def attempt(format_: Any, raw: bytes) -> tuple[tuple[ReadCall, ...] | None, str]:
    """The calls, or the reason why there are none."""
    try:
        return read(format_, raw).calls, ""
    except Unreadable as error:
        return None, str(error)


def some_toolbox() -> Toolbox:
    box = Toolbox()
    box.register(Tool(name="pay", function=print, parameters={"type": "object", "required": ["a"]}))
    box.register(Tool(name="look", function=print, effect="read", kinds=("function_call", "custom_tool_call")))
    return box


@given(
    st.lists(_items, max_size=8),
    st.sampled_from(["completed", None, "incomplete"]),
    st.integers(1, 8),
    st.sampled_from(["review", "block", "collapse"]),
)
def test_calls_equal_actions(items: list[dict[str, Any]], status: str | None, cap: int, policy: str) -> None:
    """Every call becomes one action with its position and a unique id, whatever is wrong with it, and all encode."""
    response = orjson.dumps({"status": status, "output": items})
    calls = read("responses", response).calls
    assert len(calls) == len(items)
    settings = ProposerSettings(turn_cap=cap, siblings=policy)
    found = propose(Turn(origin(), KEY, 0, NOW), calls, some_toolbox(), settings).actions
    assert [action.ref.position for action in found] == list(range(len(items)))
    assert len({action.ref.id for action in found}) == len(items)
    assert all(ids.is_id(action.ref.id) for action in found)
    fit = [action for action in found if action.fault is None]
    if status == "incomplete" or len(items) > cap:
        assert fit == []
    effects = [
        (action.ref.tool, orjson.dumps(orjson.loads(bytes(action.arguments)), option=orjson.OPT_SORT_KEYS))
        for action in fit
    ]
    assert len(set(effects)) == len(effects)
    for action in found:
        assert decode(*encode(action, source="t", time=NOW)).event == action


@given(json_values, st.sampled_from(["responses", "chat_completions"]))
def test_any_json_is_read_or_refused(value: object, format_: Any) -> None:
    """Reading is total: any JSON gives calls or a reason."""
    calls, reason = attempt(format_, orjson.dumps(value))
    assert (calls is None) == bool(reason)
    actions = propose(Turn(origin(), KEY, 0, NOW), calls or (), open_toolbox(), ProposerSettings()).actions
    assert len(actions) == len(calls or ())


@given(st.binary(), st.sampled_from(["responses", "chat_completions"]))
def test_any_bytes_are_read_or_refused(raw: bytes, format_: Any) -> None:
    """Reading is total over bytes that are no JSON."""
    calls, reason = attempt(format_, raw)
    assert (calls is None) == bool(reason)


@given(st.lists(json_values, max_size=4), json_values)
def test_any_tool_calls_are_read_or_refused(entries: list[Any], finish: object) -> None:
    """Whatever stands in a completion's `tool_calls`, it is read as so many calls, or the turn is refused."""
    message = {"role": "assistant", "tool_calls": entries}
    try:
        reading = read("chat_completions", orjson.dumps({"choices": [{"message": message, "finish_reason": finish}]}))
    except Unreadable:
        assert not all(isinstance(entry, dict) for entry in entries)
    else:
        assert len(reading.calls) == len(entries)


@given(st.dictionaries(text, json_values, max_size=3))
def test_the_digest_survives_the_log(arguments: dict[str, Any]) -> None:
    """Arguments decoded from the event give the digest that the event names."""
    item = {"type": "function_call", "name": "any", "call_id": "c", "arguments": orjson.dumps(arguments).decode()}
    calls = read("responses", orjson.dumps({"output": [item]})).calls
    (action,) = propose(Turn(origin(), KEY, 0, NOW), calls, open_toolbox(), ProposerSettings()).actions
    again = decode(*encode(action, source="t", time=NOW)).event
    assert msgspec.structs.asdict(again)["ref"].digest == action.ref.digest
    assert orjson.loads(bytes(action.arguments)) == arguments
