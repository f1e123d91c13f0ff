"""A question as people and programs see it: what is asked, why, what is needed, and how much time is left."""

from __future__ import annotations

from typing import Any

import click

from callgate.cli.comparing import better_action
from callgate.cli.needing import commands, needed
from callgate.cli.views import Question, masked_fault
from callgate.cli.wording import compact, duration, moment, visible
from callgate.events import ids


def row(question: Question, now: float) -> tuple[str, ...]:
    """One line of a list, with the first command that answers it."""
    request, action = question.request, question.request.action
    standing = question.standing(now)
    return (
        ids.short(request.approval_id),
        duration(question.time_left(now)) if standing == "open" else standing,
        action.requester or action.ref.agent,
        action.ref.tool,
        action.target,
        compact(masked_fault(action), 200),
        _risk(question),
        request.decision.reason if request.doubt is None else f"in doubt: {request.doubt.reason}",
        next(iter(commands(request)), "") if standing == "open" else "",
    )


def print_question(question: Question, now: float) -> None:
    """All of it, for people; what is sensitive is masked."""
    request, action, ref = question.request, question.request.action, question.request.action.ref
    standing = question.standing(now)
    left = f"{duration(question.time_left(now))} left, until {moment(request.deadline)}"
    requester = f", for {action.requester}" if action.requester else ""
    rows = [
        ("approval", f"{request.approval_id} ({ids.short(request.approval_id)})"),
        ("standing", left if standing == "open" else standing),
        ("who", f"{ref.agent}{requester} (tenant {ref.tenant}, session {ref.session})"),
        ("tool", ref.tool + (f" on {action.target}" if action.target else "")),
        ("arguments", compact(masked_fault(action), 4000)),
        ("risk", _risk(question)),
        ("reason", request.decision.reason),
        *([("doubt", request.doubt.reason)] if request.doubt is not None else []),
        *([("better", compact(better, 4000))] if (better := better_action(question)) is not None else []),
        ("needed", needed(request)),
        ("digest", ref.digest),
        ("action", ref.id),
    ]
    if action.suspicion:
        rows.append(("suspicion", action.suspicion))
    if question.resolved is not None:
        rows.append(("answered", f"{', '.join(question.resolved.approvers) or 'by nobody'}"))
    for name, text in rows:
        click.echo(f"{name:10} {visible(text)}")


def _risk(question: Question) -> str:
    action, decision = question.request.action, question.request.decision
    parts = [action.risk or "", f"{decision.risk_score:g}" if decision.risk_score is not None else ""]
    value = f"value {action.value:g}" if action.value is not None else ""
    return ", ".join(part for part in (*parts, value) if part) or "-"


def shown(question: Question, now: float) -> dict[str, Any]:
    """The same for programs."""
    request, action, ref = question.request, question.request.action, question.request.action.ref
    return {
        "approval_id": request.approval_id,
        "id": ids.short(request.approval_id),
        "standing": question.standing(now),
        "seconds_left": round(question.time_left(now), 3),
        "deadline": request.deadline,
        "action_id": ref.id,
        "tenant": ref.tenant,
        "session": ref.session,
        "agent": ref.agent,
        "requester": action.requester,
        "tool": ref.tool,
        "target": action.target,
        "arguments": masked_fault(action),
        "digest": ref.digest,
        "risk": action.risk,
        "risk_score": request.decision.risk_score,
        "value": action.value,
        "reason": request.decision.reason,
        "kind": request.kind,
        "doubt": None if request.doubt is None else request.doubt.reason,
        "better_action": better_action(question),
        "answers": list(request.answers),
        "commands": list(commands(request)) if question.standing(now) == "open" else [],
        "quorum": request.quorum,
        "eligible": list(request.eligible),
        "one_from_each": {group.name: list(group.members) for group in request.one_from_each},
        "policy_rule": request.policy_rule,
        "policy_digest": request.policy_digest,
        "suspicion": action.suspicion,
        "resolution": question.resolved.resolution if question.resolved is not None else None,
        "approvers": list(question.resolved.approvers) if question.resolved is not None else [],
    }
