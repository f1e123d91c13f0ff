"""What BIGHUB would say of a call, without the call: nothing is proposed, claimed or run.

It is a real evaluation, which BIGHUB counts and keeps, and which may open a question in BIGHUB's own queue; the SDK's
dry run decides nothing, so it could not answer. Switches, approvals of the log and the executor's gate are not asked:
a check is information, and no permission to run anything.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any, Literal, Protocol

import orjson

from callgate.bighub.requests import EvaluateRequest
from callgate.bighub.resolve import Resolution
from callgate.client.asking import Caller
from callgate.environment import load
from callgate.events.actions import Fault
from callgate.failures import BadInput
from callgate.tools.arguments import parse, validate
from callgate.tools.masking import mask
from callgate.tools.toolbox import Arguments, Tool, Toolbox

Resolved = Literal["execute", "approval_required", "needs_context", "blocked", "refused"]
"""What the gate would do on this answer alone; `refused`: the call itself is faulty, and nobody was asked."""

_ACTIONS: Mapping[str, Resolved] = {
    "allow": "execute",
    "review": "approval_required",
    "needs_context": "needs_context",
    "block": "blocked",
}


class Evaluations(Protocol):
    """What a check needs of BIGHUB; `bighub.client.Bighub` has it."""

    async def evaluate(self, request: EvaluateRequest) -> Resolution:
        """Ask for a decision."""
        ...


@asynccontextmanager
async def asking(bighub: Evaluations | None) -> AsyncIterator[Evaluations]:
    """The given BIGHUB, which stays its owner's to close; else that of the environment, for as long as the context."""
    if bighub is not None:
        yield bighub
        return
    from callgate.bighub.client import Bighub  # noqa: PLC0415 - the SDK is loaded when it is used

    settings = load({name: value for name, value in os.environ.items() if name.startswith("CALLGATE_BIGHUB_")})
    if not settings.bighub.key:
        raise BadInput("CALLGATE_BIGHUB_KEY", "is not set, so BIGHUB can't be asked", "Set it, or give `bighub`")
    async with Bighub(settings.bighub) as opened:
        yield opened


async def check_tool(
    name: str, arguments: Mapping[str, Any], *, toolbox: Toolbox, bighub: Evaluations | None, caller: Caller
) -> dict[str, Any]:
    """The would-be decision on a call, under the names of an execution event, and `_resolved_action`.

    Raises BadInput for a tool that is not in the box, and what asking BIGHUB raises.
    """
    entry = toolbox.entry(name)
    if entry is None:
        raise BadInput("tool", f"{name[:80]!r} is not in the toolbox", "Register it, or mend the name")
    try:
        raw = orjson.dumps(dict(arguments))
    except (TypeError, ValueError) as error:
        raise BadInput("arguments", f"are not JSON ({error})", "Give them as the model would") from error
    read = parse(raw)
    fault = read if isinstance(read, Fault) else validate(entry.validator, read)
    if fault is not None or isinstance(read, Fault):
        told = fault.message if fault is not None else ""
        return _shape(name, "refused", None, reason=told)
    async with asking(bighub) as opened:
        answer = await opened.evaluate(_request(entry.tool, read, caller))
    resolved = _ACTIONS[answer.verdict]
    unkept = sorted(set(answer.constraints or ()) - set(entry.tool.honours))
    reason = answer.reason
    if resolved == "execute" and unkept:
        # As in the gate: what the tool can't keep to is a person's to allow.
        resolved, reason = "approval_required", f"the tool does not keep to: {', '.join(unkept)}; {reason}"
    return _shape(name, resolved, answer, reason=reason)


def _request(tool: Tool, arguments: dict[str, Any], caller: Caller) -> EvaluateRequest:
    """The question as the gate would ask it. Each check asks anew: its key is its own."""
    labels = _declared(tool, "metadata_from_args", tool.metadata_from_args, arguments) or {}
    ours = {
        "agent": caller.agent,
        "tenant": caller.tenant,
        "environment": tool.environment or caller.environment,
        "system": tool.system,
        "risk": tool.risk,
        "check": True,
    }
    value = _declared(tool, "value_from_args", tool.value_from_args, arguments)
    return EvaluateRequest(
        action=tool.action_name or tool.name,
        idempotency_key=f"chk_{uuid.uuid4().hex}",
        actor=tool.actor or "AI_AGENT",
        value=None if value is None else float(value),
        target=_declared(tool, "target_from_args", tool.target_from_args, arguments) or None,
        domain=tool.domain or caller.domain,
        context={**labels, **{key: each for key, each in ours.items() if each is not None}},
        arguments=mask(arguments, tool.sensitive),
    )


def _declared(tool: Tool, what: str, function: Callable[[Arguments], Any] | None, arguments: dict[str, Any]) -> Any:
    """What a declaration says. In the gate one that raises refuses the call; here it is the developer's to see."""
    if function is None:
        return None
    try:
        return function(deepcopy(arguments))
    except Exception as error:
        problem = f"`{what}` fails on these arguments: {type(error).__name__}"
        raise BadInput(f"tool {tool.name!r}", problem, "Mend it: such a call would be refused") from error


def _shape(name: str, resolved: Resolved, answer: Resolution | None, *, reason: str) -> dict[str, Any]:
    review = resolved == "approval_required"
    return {
        "tool": name,
        "status": resolved,
        "_resolved_action": resolved,
        "decision": {
            "request_id": answer.request_id if answer is not None else None,
            "verdict": answer.verdict if answer is not None else "refuse",
            "allowed": resolved == "execute",
            "can_run": resolved == "execute",
            "needs_review": review,
            "requires_approval": review,
            "needs_more_context": resolved == "needs_context",
            "should_not_run": resolved in ("blocked", "refused"),
            "risk": answer.risk_score if answer is not None else None,
            "reason": reason,
            "better_action": answer.better_action if answer is not None else None,
            "constraints": dict(answer.constraints) if answer is not None and answer.constraints else None,
        },
        "recommendation": answer.recommendation if answer is not None else None,
        "risk_score": answer.risk_score if answer is not None else None,
        "enforcement_mode": answer.enforcement_mode if answer is not None else None,
    }
