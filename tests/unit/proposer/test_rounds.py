"""One round with the model: what is asked, and what an answer means."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.proposer_values import NOW, function_call, origin

from callgate.events.turns import TurnSubmitted
from callgate.proposer.rounds import SEALED, fault_of, judge, output_items, request, wants_stream
from callgate.tools.definitions import definitions
from callgate.tools.strictness import strict
from callgate.tools.toolbox import Tool, Toolbox

REFUSAL = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
TEXT = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]}


def asked(said: object = "hi", options: dict[str, Any] | None = None, past: tuple[bytes, ...] = ()) -> dict[str, Any]:
    """The request, as it is sent."""
    tools = [{"type": "function", "name": "pay"}]
    made = request("m", orjson.dumps(said), orjson.dumps(options or {}), past, tools)
    sent: dict[str, Any] = orjson.loads(orjson.dumps(made))
    return sent


def answer(**fields: Any) -> bytes:
    """A response with these fields."""
    return orjson.dumps({"object": "response", "status": "completed", "output": [TEXT], **fields})


def _objects(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["output", "status", "error", "type", "usage", "content", "call_id", "name", "code"])
    return st.dictionaries(names, of | st.sampled_from(["message", "function_call", "error", "failed"]))


def _dumped(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return b"null"


def test_a_request_holds_the_whole_history_and_stores_nothing() -> None:
    """The agent's options stand in every request; storing nothing and carrying reasoning are not up to it."""
    body = asked("hi", {"temperature": 0.5, "metadata": {"k": "v"}, "include": ["x"]}, (b'{"a": 1.0}', b'{"b":2}'))
    assert body["input"] == [{"role": "user", "content": "hi"}, {"a": 1.0}, {"b": 2}]
    assert (body["store"], body["model"], body["temperature"], body["metadata"]) == (False, "m", 0.5, {"k": "v"})
    assert body["include"] == ["x", SEALED]
    assert body["tools"] == [{"type": "function", "name": "pay"}]
    assert "stream" not in body


def test_the_agents_own_tools_and_stream_are_passed_on() -> None:
    """Tools that the agent names take the place of the toolbox's, an empty list too; a stream is asked for."""
    assert asked(options={"tools": []})["tools"] == []
    assert asked(options={"stream": True})["stream"] is True
    assert (wants_stream(b'{"stream":true}'), wants_stream(b'{"stream":1}')) == (True, False)


def test_numbers_of_the_history_are_copied_as_they_are() -> None:
    """Items are fragments: a number too large for a float comes back as it went."""
    item = b'{"type":"reasoning","n":12345678901234567890123}'
    made = request("m", b"[%b]" % item, b"{}", (item,), ())
    assert orjson.dumps(made).count(b"12345678901234567890123") == 2


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"options": b'{"store": true}'}, "`store`"),
        ({"options": b'{"previous_response_id": "resp_1"}'}, "`previous_response_id`"),
        ({"options": b'{"conversation": "conv_1"}'}, "`conversation`"),
        ({"options": b'{"background": true}'}, "`background`"),
        ({"options": b'{"model": "other"}'}, "`model`"),
        ({"options": b"[]"}, "options"),
        ({"options": b'{"a": NaN}'}, "JSON"),
        ({"input": b"7"}, "input"),
        ({"input": b'["a"]'}, "input"),
        ({"max_tool_rounds": -1}, "max_tool_rounds"),
    ],
)
def test_what_the_loop_can_not_do_is_said(changes: dict[str, Any], part: str) -> None:
    """Options that would make the provider remember, and what is no request at all, name themselves."""
    raw = {name: msgspec.Raw(value) if isinstance(value, bytes) else value for name, value in changes.items()}
    fields: dict[str, Any] = {"origin": origin(), "model": "m", "input": msgspec.Raw(b'"hi"'), "submitted_at": NOW}
    turn = TurnSubmitted(**{**fields, **raw})
    assert part in (fault_of(turn) or "")


def test_a_plain_turn_has_no_fault() -> None:
    """Texts and items are both an input."""
    for said in (b'"hi"', b'[{"role":"user","content":"hi"}]'):
        assert fault_of(TurnSubmitted(origin=origin(), model="m", input=msgspec.Raw(said), submitted_at=NOW)) is None


@pytest.mark.parametrize(
    ("response", "outcome", "part"),
    [
        (answer(), "final", None),
        (answer(status=None), "final", None),
        (answer(output=[REFUSAL]), "final", "refused: No."),
        (answer(output=[]), "final", "nothing"),
        (answer(output=[TEXT, function_call()]), "calls", None),
        (answer(status="incomplete", incomplete_details={"reason": "content_filter"}), "incomplete", "content_filter"),
        (answer(status="incomplete", output=[function_call()]), "incomplete", "cut off"),
        (answer(status="queued"), "failed", "'queued'"),
        (answer(status="in_progress"), "failed", "'in_progress'"),
        (answer(status="cancelled"), "failed", "'cancelled'"),
        (answer(status="failed", error={"code": "invalid_prompt", "message": "no"}), "failed", "invalid_prompt: no"),
        (answer(status="failed", error={"code": "server_error", "message": "no"}), "again", "server_error"),
        (answer(status="failed", error=None), "failed", "did not say why"),
        (b'{"error":{"code":"x","message":"flat"}}', "failed", "x: flat"),
        (b'{"type":"error","code":"rate_limit_exceeded","message":"slow"}', "again", "slow"),
        (b"<html>", "again", "JSON"),
        (b"[]", "again", "object"),
        (b"{}", "failed", "can't be read"),
        (b'{"output":[1]}', "failed", "can't be read"),
        (b'{"output":[{"type":"message","content":"%b"}]}' % (b"x" * 900_000), "failed", "too large"),
    ],
)
def test_only_a_whole_answer_is_acted_on(response: bytes, outcome: str, part: str | None) -> None:
    """What is no whole answer is what it is, with a reason for the agent; nothing of it can be run."""
    judged = judge(response)
    assert judged.outcome == outcome
    assert (part in (judged.reason or "")) if part else judged.reason is None
    assert (judged.reading is None) == (outcome not in ("calls", "final"))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda of: st.lists(of) | _objects(of)))
def test_any_json_has_a_meaning(value: object) -> None:
    """Whatever comes back is judged, and never raises; only a list of items can be acted on."""
    judged = judge(_dumped(value))
    if judged.outcome in ("calls", "final"):
        assert output_items(_dumped(value)) is not None


@pytest.mark.parametrize("usage", [None, 3, {"input_tokens": "1", "output_tokens": 2}, {"input_tokens": -1}])
def test_tokens_are_counted_only_where_they_are_counts(usage: object) -> None:
    """What a provider says of tokens is taken only if it can be added up."""
    assert judge(answer(usage=usage)).usage is None
    counted = judge(answer(usage={"input_tokens": 3, "output_tokens": 4})).usage
    assert counted is not None
    assert counted.plus(counted).total_tokens == 14


def test_tools_are_strict_where_they_can_be() -> None:
    """A schema that the API would refuse as strict is offered as not strict; other kinds of tools are not offered."""
    box = Toolbox()

    @box.tool
    def exact(city: str, days: int | None) -> str:
        """Tell the weather."""
        return city

    @box.tool
    def loose(city: str, days: int = 3) -> str:
        return city

    box.register(Tool(name="shell_call", function=lambda **_: None))
    made = definitions(box)
    assert [(each["name"], each["strict"]) for each in made] == [("exact", True), ("loose", False)]
    assert made[0]["description"] == "Tell the weather."
    assert not strict({"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False})
