"""In words: what it takes to answer a question, and the commands that do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from callgate.cli.wording import moment
from callgate.events import ids
from callgate.events.approvals import ApprovalRequested
from callgate.tools.masking import unmasked


def still_needed(request: ApprovalRequested) -> str:
    """The clause for somebody who has voted, and whose vote did not end it."""
    groups = " and ".join(group.name for group in request.one_from_each)
    count = max(1, request.quorum)
    noun = "approval is" if count == 1 else "approvals are"
    return f"{count} {noun} needed in all{f', one each from {groups}' if groups else ''}"


def needed(request: ApprovalRequested) -> str:
    """How many, of whom, and by which rule."""
    count = max(1, request.quorum)
    parts = [f"{count} approval{'' if count == 1 else 's'}"]
    if request.eligible:
        parts[0] += f" of {', '.join(request.eligible)}"
    parts += [f"one from {group.name} ({', '.join(group.members)})" for group in request.one_from_each]
    if request.eligible:
        parts += [f"from {moment(level.at)} also {', '.join(level.approvers)}" for level in request.escalation]
    if request.policy_rule is not None:
        parts.append(f"by rule {request.policy_rule!r}")
    return "; ".join(parts)


_COMMANDS = {
    "approve": "approve {}",
    "reject": "reject {} --comment WHY",
    "edit": "edit {}",
    "respond": "respond {} --text RESULT",
    "delegate": "delegate {} PERSON",
    "abstain": "abstain {}",
}
_SETTLING = ("settle {} happened", "settle {} did-not-happen", "settle {} happened --result JSON")


def better_arguments(request: ApprovalRequested) -> dict[str, Any] | None:
    """All arguments as BIGHUB's better action would have them; None where it is no set of this call's arguments."""
    raw = request.decision.better_action
    value = None if raw is None else orjson.loads(bytes(raw))
    inner = value.get("arguments", value) if isinstance(value, dict) else None
    before = orjson.loads(bytes(request.action.arguments))
    if not isinstance(inner, dict) or not inner or not isinstance(before, dict) or not inner.keys() <= before.keys():
        return None
    # BIGHUB was shown the arguments masked: a call must not run with the mask for a value.
    found: dict[str, Any] | None = unmasked({**before, **inner}, before)
    return found


def so_far(request: ApprovalRequested, votes: Sequence[Mapping[str, Any]]) -> str | None:
    """How many of several approvals there are; None where one is enough."""
    if request.quorum <= 1:
        return None
    given = {vote["approver"] for vote in votes if vote["answer"] in {"approve", "edit"} and not vote["refusal"]}
    return f"{len(given)} of {request.quorum}{': ' + ', '.join(sorted(given)) if given else ''}"


def commands(request: ApprovalRequested) -> tuple[str, ...]:
    """The commands that answer, one for each answer that the question allows."""
    shapes: list[str] = [shape for answer, shape in _COMMANDS.items() if answer in request.answers]
    if "edit" in request.answers and better_arguments(request) is not None:
        shapes.insert(0, "edit {} --better")
    if request.kind == "settle":
        shapes = [*_SETTLING, *(shape for shape in shapes if shape.startswith(("delegate", "abstain")))]
    return tuple(f"callgate approvals {shape.format(ids.short(request.approval_id))}" for shape in shapes)
