"""What the model is told of each end, in the shape that its format demands."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from tests.support.proposer_values import NOW, finished, function_call, origin

from callgate.events.actions import ActionProposed
from callgate.proposer.answering import item, told
from callgate.proposer.proposing import Turn, propose
from callgate.proposer.reading import read
from callgate.settings import ProposerSettings
from callgate.tools.toolbox import Tool, Toolbox


def proposed(raw: dict[str, Any]) -> ActionProposed:
    """The action of a response with this one item."""
    box = Toolbox(
        default=lambda name: Tool(
            name=name,
            function=print,
            kinds=("function_call", "custom_tool_call", "mcp_approval_request") if "_call" not in name else (),
        )
    )
    reading = read("responses", orjson.dumps({"output": [raw]}))
    (action,) = propose(Turn(origin(), "trn_000_x", 0, NOW), reading.calls, box, ProposerSettings()).actions
    return action


def answer(raw: dict[str, Any], output: object = "done", format_: Any = "responses", **changes: Any) -> Any:
    """The item that answers it."""
    made = item(finished(proposed(raw), output=output, **changes), format_)
    return None if made is None else orjson.loads(bytes(made))


def call(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "call_id": "c1", "id": "i1", **fields}


SHELL = call("shell_call", action={"commands": ["ls"]})
BLOCKED: dict[str, Any] = {"output": None, "status": "blocked", "verdict": "block", "told": "Not today."}
BLOCKED_TEXT = '{"status":"blocked","reason":"Not today."}'


@pytest.mark.parametrize(
    ("raw", "executed", "blocked"),
    [
        (
            function_call(),
            {"type": "function_call_output", "call_id": "c1", "output": "done"},
            {"type": "function_call_output", "call_id": "c1", "output": BLOCKED_TEXT},
        ),
        (
            call("custom_tool_call", name="sql", input="x"),
            {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
            {"type": "custom_tool_call_output", "call_id": "c1", "output": BLOCKED_TEXT},
        ),
        (
            call("local_shell_call", action={"command": ["ls"]}),
            {"type": "local_shell_call_output", "id": "c1", "call_id": "c1", "output": "done"},
            {"type": "local_shell_call_output", "id": "c1", "call_id": "c1", "output": BLOCKED_TEXT},
        ),
        (
            SHELL,
            {
                "type": "shell_call_output",
                "call_id": "c1",
                "output": [{"stdout": "done", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
            },
            {
                "type": "shell_call_output",
                "call_id": "c1",
                "output": [{"stdout": "", "stderr": BLOCKED_TEXT, "outcome": {"type": "exit", "exit_code": 1}}],
            },
        ),
        (
            call("apply_patch_call", operation={"type": "delete_file", "path": "x"}),
            {"type": "apply_patch_call_output", "call_id": "c1", "status": "completed", "output": "done"},
            {"type": "apply_patch_call_output", "call_id": "c1", "status": "failed", "output": BLOCKED_TEXT},
        ),
        (
            call("mcp_approval_request", name="short", arguments="{}", server_label="m"),
            {"type": "mcp_approval_response", "approval_request_id": "i1", "approve": False, "reason": "done"},
            {"type": "mcp_approval_response", "approval_request_id": "i1", "approve": False, "reason": BLOCKED_TEXT},
        ),
        (
            call("computer_call", action={"type": "click"}, pending_safety_checks=[]),
            {
                "type": "computer_call_output",
                "call_id": "c1",
                "output": {"type": "computer_screenshot"},
                "status": "incomplete",
            },
            {
                "type": "computer_call_output",
                "call_id": "c1",
                "output": {"type": "computer_screenshot"},
                "status": "incomplete",
            },
        ),
    ],
)
def test_each_kind_has_its_answer(raw: dict[str, Any], executed: object, blocked: object) -> None:
    """Every kind of call is answered in its own shape, whether it ran or not."""
    assert answer(raw) == executed
    assert answer(raw, **BLOCKED) == blocked
    assert answer(raw, format_="chat_completions")["role"] == "tool"


def test_only_a_plain_true_lets_the_provider_run_an_mcp_call() -> None:
    """An MCP request is approved by nothing but the JSON value true of a tool that ran."""
    raw = call("mcp_approval_request", name="short", arguments="{}", server_label="m")
    assert answer(raw, output=True) == {"type": "mcp_approval_response", "approval_request_id": "i1", "approve": True}
    for output in ("true", 1, {"approve": True}, [True], None, False):
        assert answer(raw, output)["approve"] is False
    assert answer(raw, output=True, status="not_executed")["approve"] is False


def test_structured_outputs_keep_their_structure() -> None:
    """Shell results and screenshots that a tool gives in the provider's own shape are passed on."""
    result = {"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 3}}
    assert answer(SHELL, [result])["output"] == [result]
    seen = answer(call("computer_call", action={}), {"image_url": "data:image/png;base64,xx", "more": 1})
    assert seen["output"] == {"type": "computer_screenshot", "image_url": "data:image/png;base64,xx"}
    assert seen["status"] == "completed"


def test_unknown_kinds_are_answered_where_an_answer_is_known() -> None:
    """A client tool search finds nothing; an item that nothing can answer has no answer."""
    search = {"type": "tool_search_call", "execution": "client", "call_id": "c1", "arguments": {}}
    refused: dict[str, Any] = {"output": None, "status": "refused", "verdict": "refuse", "via": "gate"}
    assert answer(search, **refused)["tools"] == []
    assert answer({"type": "teleport_call", "call_id": "c1"}, **refused) is None


def test_a_program_gets_its_own_name_back() -> None:
    """The answer to a call that a program of the model made repeats the caller."""
    made = item(finished(proposed(function_call()), output=1), "responses", b'{"type":"program","caller_id":"p"}')
    assert made is not None
    assert orjson.loads(bytes(made))["caller"] == {"type": "program", "caller_id": "p"}


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("plain ✓ text\n", "plain ✓ text\n"),
        ('{"looks":"like json"}', '{"looks":"like json"}'),
        ("", ""),
        ({"b": 1, "a": [1.0, None]}, '{"b":1,"a":[1.0,null]}'),
        ([], "[]"),
        (0, "0"),
        (False, "false"),
    ],
)
def test_a_result_reaches_the_model_verbatim(output: object, text: str) -> None:
    """A text is told as it is, anything else as compact JSON."""
    assert told(finished(proposed(function_call()), output=output)) == text


def test_a_result_of_null_is_told_as_null() -> None:
    """A tool that returns nothing has run; only an error says that there was another output."""
    action = proposed(function_call())
    assert told(finished(action)) == "null"
    assert told(finished(action, error="The output is not JSON.")) == (
        '{"status":"executed","reason":"The output is not JSON."}'
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"status": "tool_error", "error": "no such card"}, '{"status":"tool_error","error":"no such card"}'),
        (
            {"status": "expired", "verdict": "expire", "told": ""},
            '{"status":"expired","reason":"Nobody answered in time. That is no refusal."}',
        ),
        (
            {"status": "killed", "told": "Fine."},
            '{"status":"killed","reason":"It was stopped by an operator."}',
        ),
        ({"status": "not_executed", "error": "too late"}, '{"status":"not_executed","reason":"too late"}'),
        ({"status": "blocked", "verdict": "block"}, '{"status":"blocked","reason":"It is not allowed."}'),
    ],
)
def test_what_did_not_run_is_told_with_its_reason(changes: dict[str, Any], text: str) -> None:
    """Each end without a result says its status and a reason that is not the allowance's."""
    assert told(finished(proposed(function_call()), **changes)) == text


def test_the_policys_reason_is_not_told() -> None:
    """The decision's reason for operators never reaches the model."""
    for status, verdict in (("blocked", "block"), ("needs_context", "needs_context"), ("rejected", "reject")):
        end: Any = {"status": status, "verdict": verdict}
        assert "rule 7" not in told(finished(proposed(function_call()), reason="rule 7", **end))


def test_a_fault_tells_the_model_what_to_mend() -> None:
    """A refused call is answered with its fault's message."""
    action = proposed(function_call(arguments="{"))
    text = told(finished(action, "refused", verdict="refuse", via="gate", told="other"))
    assert orjson.loads(text)["reason"].startswith("The arguments are not valid JSON")


def test_a_persons_answer_stands_for_the_result() -> None:
    """An approver's own response is the tool's result, verbatim."""
    end = finished(
        proposed(function_call()), "responded", verdict="respond", via="person", response=msgspec.Raw(b'"ask Bob"')
    )
    assert told(end) == "ask Bob"
