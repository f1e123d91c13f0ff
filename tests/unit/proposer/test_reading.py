"""What is read from a model's answer, over everything that was recorded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.support.corpora import corpus
from tests.support.proposer_values import function_call

from callgate.proposer.calls import Unreadable
from callgate.proposer.reading import read
from callgate.tools.arguments import parse

CLIENT = {
    "function_call",
    "custom_tool_call",
    "local_shell_call",
    "apply_patch_call",
    "computer_call",
    "mcp_approval_request",
}


def response(*items: object, status: object = "completed") -> bytes:
    return orjson.dumps({"object": "response", "status": status, "output": list(items)})


def chat(*calls: object, finish: object = "tool_calls", **message: object) -> bytes:
    assistant = {"role": "assistant", "content": None, "tool_calls": list(calls), **message}
    return orjson.dumps({"choices": [{"message": assistant, "finish_reason": finish}]})


def tool_call(name: object = "pay", arguments: object = "{}", call_id: object = "c1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def recorded_bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Responses object in the recorded bodies, streams and published examples."""
    for folder in ("responses-vercel-ai", "responses-openai-openapi"):
        for path in sorted(corpus(folder).rglob("*")):
            if path.suffix == ".json" and "schemas" not in path.name:
                for found in _responses(orjson.loads(path.read_bytes())):
                    yield path.name, found
            elif path.name.endswith(".chunks.txt"):
                for found in _streamed(path):
                    yield path.name, found


def _streamed(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines():
        try:
            yield from _responses(orjson.loads(line))
        except orjson.JSONDecodeError:
            # Two lines of one recording are published without a brace.
            assert path.name == "parallel-tool-call-wrapper.1.chunks.txt"


def _responses(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, str) and '"object": "response"' in value:
        yield from _responses(json.loads(value))
    elif isinstance(value, dict):
        if isinstance(value.get("output"), list) and "id" in value and "type" not in value:
            yield value
        else:
            for inner in value.values():
                yield from _responses(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _responses(inner)


def expected_calls(body: dict[str, Any]) -> Counter[str]:
    """Which items of a recorded body the agent's side must carry out, told apart by hand."""
    answered = {item["call_id"] for item in body["output"] if item["type"] == "shell_call_output"}
    kinds: Counter[str] = Counter()
    for item in body["output"]:
        kind = item["type"]
        if kind in CLIENT or (kind == "shell_call" and not _hosted(item) and item["call_id"] not in answered):
            kinds[kind] += 1
        elif kind == "tool_search_call" and item["execution"] == "client":
            kinds["unsupported_call"] += 1
    return kinds


def _hosted(item: dict[str, Any]) -> bool:
    return (item.get("environment") or {}).get("type") == "container_reference"


def test_every_recorded_response_is_read() -> None:
    """In every recorded response, what the client executes becomes a call and what the provider executed does not."""
    kinds: Counter[str] = Counter()
    executed: Counter[str] = Counter()
    bodies = 0
    for name, body in recorded_bodies():
        reading = read("responses", orjson.dumps(body))
        assert Counter(call.kind for call in reading.calls) == expected_calls(body), name
        final = body.get("status") in (None, "completed")
        for call in reading.calls:
            assert call.call_id, name
            assert final or call.fault is not None, name
        kinds.update(call.kind for call in reading.calls if call.fault is None)
        executed.update(each.item for each in reading.recorded)
        bodies += 1
    assert bodies > 100
    assert set(kinds) == {
        "function_call",
        "custom_tool_call",
        "shell_call",
        "local_shell_call",
        "apply_patch_call",
        "mcp_approval_request",
    }
    assert {
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "mcp_call",
        "shell_call",
        "tool_search_call",
        "x_search_call",
        "program",
    } <= set(executed)


@pytest.mark.parametrize(
    ("name", "turns", "calls", "malformed"),
    [
        ("agentdojo-ground-truth", 139, 139, 0),
        ("bfcl-v4", 1085, 1607, 0),
        ("glaive", 214, 214, 0),
        ("tau-bench-airline", 589, 589, 0),
        ("toolalpaca", 149, 149, 17),
    ],
)
def test_every_recorded_turn_is_read(name: str, turns: int, calls: int, malformed: int) -> None:
    """Each recorded turn gives its calls, with the arguments exactly as the model sent them."""
    lines = corpus(f"{name}.turns.jsonl").read_bytes().splitlines()
    assert len(lines) == turns
    read_calls = faults = 0
    for line in map(orjson.loads, lines):
        sent = [tool_call(call["name"], call["arguments"], call["call_id"]) for call in line["calls"]]
        reading = read("chat_completions", chat(*sent))
        assert [(call.tool, call.arguments) for call in reading.calls] == [
            (call["name"], call["arguments"]) for call in line["calls"]
        ]
        assert all(call.fault is None for call in reading.calls)
        read_calls += len(reading.calls)
        faults += sum(not isinstance(parse(call.arguments), dict) for call in reading.calls)
    assert (read_calls, faults) == (calls, malformed)


def test_recorded_conversations_are_read() -> None:
    """The assistant messages of whole recorded conversations are read as they are, without a completion around them."""
    found = 0
    for line in corpus("tau-bench-airline.runs.jsonl").read_bytes().splitlines():
        for message in orjson.loads(line)["messages"]:
            if message["role"] == "assistant":
                reading = read("chat_completions", orjson.dumps(message))
                assert len(reading.calls) == len(message.get("tool_calls") or [])
                found += len(reading.calls)
    assert found == 589


@pytest.mark.parametrize("status", ["queued", "in_progress", "incomplete", "failed", "cancelled", "some_future_status"])
def test_nothing_runs_from_a_response_that_is_not_final(status: str) -> None:
    """Calls of a response, or items, whose status is not final are all faulted, and the agent is told."""
    whole = read("responses", response(function_call(), status=status))
    item = read("responses", response(function_call(status=status)))
    for reading in (whole, item):
        assert [call.fault.code for call in reading.calls if call.fault] == ["incomplete"]
    assert whole.note is not None
    assert status in whole.note


@pytest.mark.parametrize("finish", ["length", "content_filter", "some_future_reason"])
def test_nothing_runs_from_a_completion_that_was_cut_off(finish: str) -> None:
    """A finish reason that does not say that the calls are whole faults them all."""
    reading = read("chat_completions", chat(tool_call(), finish=finish))
    assert [call.fault.code for call in reading.calls if call.fault] == ["incomplete"]


def test_a_refusal_is_no_call() -> None:
    """A model that refuses calls nothing, in either format."""
    parts = [{"type": "refusal", "refusal": "I can't."}]
    message = {"type": "message", "role": "assistant", "status": "completed", "content": parts}
    assert read("responses", response(message)).calls == ()
    refused = orjson.dumps({"role": "assistant", "content": None, "refusal": "no", "tool_calls": None})
    assert read("chat_completions", refused).calls == ()


@pytest.mark.parametrize(
    "item",
    [
        {"type": "teleport_call", "call_id": "c9"},
        {"type": "teleport", "call_id": "c9", "arguments": "{}"},
        {"name": "pay", "arguments": "{}"},
        {"type": "tool_search_call", "execution": "client", "call_id": "c9", "arguments": {}},
        {"type": "tool_search_call", "execution": "telepathy", "call_id": "c9"},
    ],
)
def test_an_unknown_kind_of_call_is_refused(item: dict[str, Any]) -> None:
    """What looks like a call of a kind that is not known is an action that is refused, not one that is overlooked."""
    (call,) = read("responses", response(item)).calls
    assert call.kind == "unsupported_call"
    assert call.fault is not None
    assert call.fault.code == "unsupported_kind"


def test_a_shell_call_in_the_providers_container_is_recorded() -> None:
    """A shell call is ours unless it ran in the provider's container or its output came with it."""
    local = {"type": "shell_call", "call_id": "a", "action": {"commands": ["ls"]}, "environment": {"type": "local"}}
    hosted = {**local, "call_id": "b", "environment": {"type": "container_reference", "container_id": "x"}}
    answered = {**local, "call_id": "c", "environment": None}
    reading = read("responses", response(local, hosted, answered, {"type": "shell_call_output", "call_id": "c"}))
    assert [(call.call_id, orjson.loads(call.arguments)) for call in reading.calls] == [("a", {"commands": ["ls"]})]
    assert [each.call_id for each in reading.recorded] == ["b", "c"]


def test_missing_call_ids_come_from_the_position() -> None:
    """A call without an id gets one from its position that no other call of the response has."""
    calls = [function_call(call_id=None), function_call(call_id=""), function_call(call_id="call_0")]
    reading = read("responses", response(*calls))
    assert [call.call_id for call in reading.calls] == ["call_0_", "call_1", "call_0"]


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (function_call(name=None), "unknown_tool"),
        (function_call(name=""), "unknown_tool"),
        (function_call(name="x" * 257), "unknown_tool"),
        (function_call(name=["pay"]), "unknown_tool"),
        (function_call(arguments=None), "malformed_arguments"),
        (function_call(arguments={"x": 1}), "malformed_arguments"),
        (function_call(call_id="c" * 257), "too_large"),
    ],
)
def test_a_field_of_the_wrong_type_is_a_fault(item: dict[str, Any], code: str) -> None:
    """A call whose fields are not what the format promises is read, and faulted."""
    (call,) = read("responses", response(item)).calls
    assert call.fault is not None
    assert call.fault.code == code


def test_a_namespace_is_part_of_the_name() -> None:
    """A tool in a namespace is not the tool of that name outside it."""
    (call,) = read("responses", response(function_call(name="pay", namespace="crm"))).calls
    assert call.tool == "crm.pay"


def test_chat_custom_and_legacy_calls() -> None:
    """A custom tool's text becomes its one argument; the old `function_call` field is refused, not overlooked."""
    custom = {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    legacy = {"name": "pay", "arguments": "{}"}
    first, second = read("chat_completions", chat(custom, function_call=legacy)).calls
    assert (first.kind, first.tool, orjson.loads(first.arguments)) == ("custom_tool_call", "sql", {"input": "SELECT 1"})
    assert second.fault is not None
    assert second.fault.code == "unsupported_kind"


@pytest.mark.parametrize(
    ("format_", "raw"),
    [
        ("responses", b"null"),
        ("responses", b"[]"),
        ("responses", b"{"),
        ("responses", b"\xff"),
        ("responses", b'{"output":null}'),
        ("responses", b'{"output":[1]}'),
        ("responses", b'{"output":[],"output":[]}'),
        ("responses", b'{"error":{"code":"insufficient_quota"}}'),
        ("chat_completions", b"{}"),
        ("chat_completions", b'{"choices":[]}'),
        ("chat_completions", b'{"choices":[{"message":{}},{"message":{}}]}'),
        ("chat_completions", b'{"role":"user","content":"hi"}'),
        ("chat_completions", b'{"role":"assistant","tool_calls":{}}'),
        ("chat_completions", b'{"role":"assistant","tool_calls":["x"]}'),
    ],
)
def test_what_is_no_answer_is_refused_as_a_whole(format_: Any, raw: bytes) -> None:
    """A response that is not of its format gives no calls at all, and a reason."""
    with pytest.raises(Unreadable, match=r"\w"):
        read(format_, raw)
