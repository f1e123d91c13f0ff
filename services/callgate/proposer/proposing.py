"""From the calls of a turn to proposed actions. Every call becomes one, also one that is refused.

Pure but for the user's own declarations (`…_from_args`), which are called here and are without effects by contract.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import orjson

from callgate.events import ids
from callgate.events.actions import ActionProposed, ActionRef, Fault
from callgate.events.digest import canonical, digest
from callgate.events.turns import TurnOrigin
from callgate.proposer.calls import ReadCall
from callgate.settings import ProposerSettings
from callgate.tools import arguments as reading
from callgate.tools import strict_json
from callgate.tools.declaring import MAX_CONTEXT_BYTES, DeclarationFailed, Facts, declared
from callgate.tools.toolbox import Entry, Tool, Toolbox

_TEXT_KEPT = 8_192
"""Bytes of an unreadable arguments text that are kept as evidence."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose calls they are, and when they were read."""

    origin: TurnOrigin
    key: str
    round: int
    read_at: float


@dataclass(frozen=True, slots=True)
class Problem:
    """A declaration of a tool that failed: for the log, since the model is told only that it did."""

    tool: str
    declaration: str
    error: str
    """The exception's class; its text may quote arguments."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """What a turn's calls have become."""

    actions: tuple[ActionProposed, ...]
    over_cap: bool = False
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Checked:
    """A call on its way: what is known of it so far, and the fault that ends its way."""

    call: ReadCall
    entry: Entry | None = None
    arguments: Mapping[str, Any] | None = None
    fault: Fault | None = None
    suspicion: str | None = None


def propose(turn: Turn, calls: Sequence[ReadCall], toolbox: Toolbox, settings: ProposerSettings) -> Proposals:
    """One action per call, in the response's order."""
    over_cap = len(calls) > settings.turn_cap
    labels = _labels(turn.origin)
    checked = [_check(call, toolbox) for call in calls]
    if over_cap:
        message = f"Not run: {len(calls)} calls in one response are more than the {settings.turn_cap} allowed."
        checked = [_faulted(each, Fault(code="too_many_calls", message=message)) for each in checked]
    else:
        checked = _siblings(_duplicates(checked), settings.siblings)
        if labels is None:
            message = "Not run: the turn's context is not a JSON object of reasonable size."
            checked = [_faulted(each, Fault(code="invalid_context", message=message)) for each in checked]
    actions, problems = [], []
    for position, each in enumerate(checked):
        facts = Facts()
        if each.fault is None and each.entry is not None and each.arguments is not None:
            try:
                facts = declared(each.entry.tool, each.arguments, labels or {}, _ours(each.entry.tool, turn.origin))
            except DeclarationFailed as failure:
                problems.append(Problem(each.entry.tool.name, failure.declaration, failure.error))
                message = "Not run: the tool could not be prepared for these arguments."
                each = _faulted(each, Fault(code="declaration_failed", message=message))  # noqa: PLW2901
        actions.append(_action(turn, position, each, facts))
    return Proposals(tuple(actions), over_cap, tuple(problems))


def _ours(tool: Tool, origin: TurnOrigin) -> dict[str, str | None]:
    """The context's own keys, which neither the agent nor the tool's declaration may set."""
    return {
        "session": origin.session,
        "environment": tool.environment or origin.environment,
        "system": tool.system,
        "risk": tool.risk,
    }


def _labels(origin: TurnOrigin) -> dict[str, Any] | None:
    """The agent's context as an object, or None where it can't be used. Never partly used: a label may forbid."""
    raw = bytes(origin.context)
    if len(raw) > MAX_CONTEXT_BYTES:
        return None
    try:
        value = strict_json.loads(raw)
    except strict_json.NotStrict:
        return None
    return value if isinstance(value, dict) else None


def _check(call: ReadCall, toolbox: Toolbox) -> _Checked:
    """Hold one call against its tool. The first fault found is the one that the model is told."""
    parsed = reading.parse(call.arguments)
    arguments = None if isinstance(parsed, Fault) else parsed
    if call.fault is not None:
        return _Checked(call, arguments=arguments, fault=call.fault)
    entry = toolbox.entry(call.tool)
    if entry is None or not entry.tool.accepts(call.kind):
        message = "There is no such tool. Use only the tools that you were given."
        return _Checked(call, arguments=arguments, fault=Fault(code="unknown_tool", message=message))
    if isinstance(parsed, Fault):
        return _Checked(call, entry, fault=parsed)
    return _Checked(call, entry, parsed, entry.misfit(parsed))


def _faulted(checked: _Checked, fault: Fault) -> _Checked:
    """What was wrong first stays: it is what the model can mend."""
    return replace(checked, fault=checked.fault or fault, suspicion=None)


def _duplicates(checked: Sequence[_Checked]) -> list[_Checked]:
    """A call id that occurs twice can't be answered: which output would be whose? So none of its calls is run."""
    counts = Counter(each.call.call_id for each in checked)
    message = "Not run: several calls of the response have the same call id."
    fault = Fault(code="duplicate_call_id", message=message)
    return [_faulted(each, fault) if counts[each.call.call_id] > 1 else each for each in checked]


def _siblings(checked: Sequence[_Checked], policy: str) -> list[_Checked]:
    """Equal calls in one response are one suspicion: the first stands for all, and the others never run."""
    keys = [_sibling_key(each) for each in checked]
    counts = Counter(key for key in keys if key is not None)
    first: dict[tuple[str, bytes], int] = {}
    result = []
    for position, (each, key) in enumerate(zip(checked, keys, strict=True)):
        if key is None or counts[key] == 1:
            result.append(each)
        elif key not in first:
            first[key] = position
            suspicion = f"{counts[key]} equal calls in one response"
            result.append(each if policy == "collapse" else replace(each, suspicion=suspicion))
        else:
            message = f"Not run: it is equal to call {first[key] + 1} of the same response. See the result of that one."
            result.append(_faulted(each, Fault(code="equal_sibling", message=message)))
    return result


def _sibling_key(checked: _Checked) -> tuple[str, bytes] | None:
    """What makes two calls equal: the tool and the canonical arguments. Faulty calls are nobody's siblings."""
    if checked.fault is not None or checked.arguments is None:
        return None
    return checked.call.tool, canonical(checked.arguments)


def _action(turn: Turn, position: int, checked: _Checked, facts: Facts) -> ActionProposed:
    """The action of a call, also of a faulty one.

    The digest covers what is certain: for arguments that are no object, their text as it is kept in the event.
    """
    call, origin = checked.call, turn.origin
    tool = checked.entry.tool if checked.entry is not None else None
    version = checked.entry.version if checked.entry is not None else ""
    readable = checked.arguments is not None
    text = call.arguments if readable else _excerpt(call.arguments)
    call_id = call.call_id or ""
    ref = ActionRef(
        id=ids.action_id(turn.key, turn.round, position, call_id),
        turn_key=turn.key,
        tenant=origin.tenant,
        session=origin.session,
        turn=origin.turn,
        agent=origin.agent,
        round=turn.round,
        position=position,
        call_id=call_id,
        kind=call.kind,
        tool=call.tool,
        digest=digest(
            tenant=origin.tenant,
            agent=origin.agent,
            tool=call.tool,
            tool_version=version,
            target=facts.target,
            arguments=checked.arguments if readable else text,
        ),
    )
    proposed = ActionProposed(
        ref=ref,
        arguments=msgspec.Raw(text.encode() if readable else orjson.dumps(text)),
        tool_version=version,
        target=facts.target,
        bighub_action=call.tool,
        domain=origin.domain,
        environment=origin.environment,
        value=facts.value,
        context=msgspec.Raw(facts.context),
        effect_key=facts.effect_key,
        requester=origin.requester,
        fault=checked.fault,
        suspicion=checked.suspicion,
        proposed_at=turn.read_at,
    )
    return proposed if tool is None else _with_tool(proposed, tool)


def _with_tool(proposed: ActionProposed, tool: Tool) -> ActionProposed:
    """Fill in what the tool declares, so that no later reader needs the tool to judge the action."""
    return msgspec.structs.replace(
        proposed,
        bighub_action=tool.action_name or tool.name,
        actor=tool.actor or "AI_AGENT",
        domain=tool.domain or proposed.domain,
        environment=tool.environment or proposed.environment,
        risk=tool.risk,
        sensitive=tuple(tool.sensitive),
        effect=tool.effect,
        parallel=tool.parallel,
        timeout_seconds=float(tool.timeout_seconds),
        honours=tuple(tool.honours),
    )


def _excerpt(text: str) -> str:
    """Enough of a text that is no object to see what it was; never more than the later events can carry."""
    return text.encode("utf-8", "replace")[:_TEXT_KEPT].decode("utf-8", "ignore")
