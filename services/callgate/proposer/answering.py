"""From ended actions to what the model is told: the input items of its next request.

Every call gets exactly one answer in the shape that its format demands, also a refused one: a provider refuses the
next request while a call has none. What the model reads is the tool's result, or a short status and reason; never the
policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import orjson

from callgate.events.actions import ActionFinished
from callgate.events.turns import ResponseFormat
from callgate.proposer.chat import LEGACY

Shape = dict[str, Any]

UNDELIVERABLE = "The result is too large to be delivered."
"""What the model is told where the answer would not fit into a record."""

_REASONS: Mapping[str, str] = {
    "executed": "It ran, but its result can't be shown.",
    "tool_error": "The tool failed.",
    "not_executed": "It was not carried out.",
    "blocked": "It is not allowed.",
    "rejected": "A person refused it.",
    "expired": "Nobody answered in time. That is no refusal.",
    "responded": "A person answered instead.",
    "needs_context": "More context is needed before it can be decided.",
    "refused": "The call can't be used.",
    "killed": "It was stopped by an operator.",
    "unknown": "It is not known whether it happened. Don't repeat it.",
}
_NO_REFUSAL = frozenset({"allow", "review", "settle"})
"""Verdicts whose `told` says nothing of why a call was not carried out."""


def told(finished: ActionFinished, *, deliverable: bool = True) -> str:
    """The text that answers the call: a result verbatim where it is a text, else as compact JSON.

    Not `deliverable` means that the result itself is too large, and only what became of the call is told.
    """
    result = _result(finished)
    if result is not None and deliverable:
        return _verbatim(result)
    if finished.status == "tool_error" and deliverable:
        return _compact({"status": "tool_error", "error": finished.error or _REASONS["tool_error"]})
    reason = _reason(finished) if deliverable else UNDELIVERABLE
    return _compact({"status": finished.status, "reason": reason})


def item(
    finished: ActionFinished,
    format_: ResponseFormat,
    caller: bytes | None = None,
    *,
    deliverable: bool = True,
    text: str | None = None,
) -> msgspec.Raw | None:
    """The input item that answers the call; None for a call of a kind that nothing can answer.

    `caller` is the JSON of the program that made the call, where one did; its answer must repeat it.
    `text` is said in place of what the end itself tells.
    """
    ref = finished.action.ref
    text = told(finished, deliverable=deliverable) if text is None else text
    if format_ == "chat_completions":
        if ref.kind == "unsupported_call" and ref.tool == LEGACY:
            return None
        return msgspec.Raw(orjson.dumps({"role": "tool", "tool_call_id": ref.call_id, "content": text}))
    shape = _SHAPES.get(ref.tool if ref.kind == "unsupported_call" else ref.kind)
    if shape is None:
        return None
    shaped = shape(finished, text)
    if caller is not None:
        shaped["caller"] = orjson.Fragment(caller)
    return msgspec.Raw(orjson.dumps(shaped))


def _result(finished: ActionFinished) -> bytes | None:
    """What stands as the tool's result: its own output, or the answer that a person gave in its place."""
    if finished.status == "responded" and finished.decision.response is not None:
        return bytes(finished.decision.response)
    if finished.status != "executed":
        return None
    if finished.output is not None:
        return bytes(finished.output)
    # An event can't tell a tool's null from no output; only an error says that there was something else.
    return None if finished.error else b"null"


def _reason(finished: ActionFinished) -> str:
    """Why there is no result: the call's own fault first, then the run's error, then what the decision tells."""
    if finished.action.fault is not None:
        return finished.action.fault.message
    if finished.error:
        return finished.error
    if finished.decision.verdict not in _NO_REFUSAL and finished.decision.told:
        return finished.decision.told
    return _REASONS[finished.status]


def _verbatim(raw: bytes) -> str:
    """A JSON text as the model reads it."""
    # Compacting without decoding keeps every number as the tool wrote it.
    return str(orjson.loads(raw)) if raw.lstrip()[:1] == b'"' else msgspec.json.format(raw, indent=-1).decode()


def _compact(value: object) -> str:
    """JSON without white space: models pay for it."""
    return orjson.dumps(value).decode()


def _function(finished: ActionFinished, text: str) -> Shape:
    """The shape of the one kind that every provider has."""
    return {"type": "function_call_output", "call_id": finished.action.ref.call_id, "output": text}


def _custom(finished: ActionFinished, text: str) -> Shape:
    return {"type": "custom_tool_call_output", "call_id": finished.action.ref.call_id, "output": text}


def _local_shell(finished: ActionFinished, text: str) -> Shape:
    # The documentation asks for call_id, the clients send id: both name the call.
    call_id = finished.action.ref.call_id
    return {"type": "local_shell_call_output", "id": call_id, "call_id": call_id, "output": text}


def _shell(finished: ActionFinished, text: str) -> Shape:
    """Results in the provider's own shape are passed on; any other stands as the output of one command.

    What did not run is an exit code of 1 with the reason on standard error, because a model reads that right.
    """
    output = _decoded(finished)
    commands = output if isinstance(output, list) else [output]
    if not commands or not all(
        isinstance(each, dict) and {"stdout", "stderr", "outcome"} <= set(each) for each in commands
    ):
        ran = finished.status == "executed"
        outcome = {"type": "exit", "exit_code": 0 if ran else 1}
        commands = [{"stdout": text if ran else "", "stderr": "" if ran else text, "outcome": outcome}]
    return {"type": "shell_call_output", "call_id": finished.action.ref.call_id, "output": commands}


def _apply_patch(finished: ActionFinished, text: str) -> Shape:
    """Only a patch that was applied is `completed`: the model goes on from what it says."""
    status = "completed" if finished.status == "executed" else "failed"
    return {
        "type": "apply_patch_call_output",
        "call_id": finished.action.ref.call_id,
        "status": status,
        "output": text,
    }


def _computer(finished: ActionFinished, _text: str) -> Shape:
    """Only a screenshot can answer.

    A reason has no place in this shape, so the status alone says that nothing was done.
    """
    output = _decoded(finished)
    shown = output if isinstance(output, dict) else {}
    picture = {name: shown[name] for name in ("image_url", "file_id") if isinstance(shown.get(name), str)}
    return {
        "type": "computer_call_output",
        "call_id": finished.action.ref.call_id,
        "output": {"type": "computer_screenshot", **picture},
        "status": "completed" if picture else "incomplete",
    }


def _mcp_approval(finished: ActionFinished, text: str) -> Shape:
    """The registered tool only says whether the provider may run the call itself.

    So nothing but a plain `true` of a tool that ran is a yes; the provider's run is outside our claim.
    """
    approved = _decoded(finished) is True
    reason = {} if approved else {"reason": text}
    return {
        "type": "mcp_approval_response",
        "approval_request_id": finished.action.ref.call_id,
        "approve": approved,
        **reason,
    }


def _tool_search(finished: ActionFinished, _text: str) -> Shape:
    """A search that the agent's side should have made, and did not: it has found nothing."""
    return {
        "type": "tool_search_output",
        "call_id": finished.action.ref.call_id,
        "execution": "client",
        "status": "completed",
        "tools": [],
    }


def _decoded(finished: ActionFinished) -> object:
    """The output of a tool that ran; None for every other end, whatever it carries."""
    if finished.status != "executed" or finished.output is None:
        return None
    return orjson.loads(bytes(finished.output))


_SHAPES: Mapping[str, Callable[[ActionFinished, str], Shape]] = {
    "function_call": _function,
    "custom_tool_call": _custom,
    "local_shell_call": _local_shell,
    "shell_call": _shell,
    "apply_patch_call": _apply_patch,
    "computer_call": _computer,
    "mcp_approval_request": _mcp_approval,
    "tool_search_call": _tool_search,
}
