"""What people are told of an approval, before any channel has its way with it. Pure.

Arguments are masked and bounded, texts from models and strangers are cut and can steer no reader: a notice leaves the
gate for places where more people read than may answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from callgate.events import ids
from callgate.events.actions import ActionProposed, ActionRef
from callgate.events.approvals import ApprovalEscalated, ApprovalReminded, ApprovalRequested, ApprovalResolved
from callgate.events.event import Event
from callgate.tools.masking import MASK, mask

TEXT_MOST = 500
"""Characters of any one text of a notice."""

ARGUMENTS_MOST = 2000
"""Characters of the arguments, as JSON on one line."""

NAMES_MOST = 20
"""People who are named in a notice; the question itself names all."""

_News = ApprovalRequested | ApprovalReminded | ApprovalEscalated | ApprovalResolved


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message, the same for all channels."""

    id: str
    """The event's id: whoever is told twice knows it by this."""
    kind: str
    """requested, reminded, escalated or resolved."""
    tenant: str
    at: float
    """When it happened, or was set for."""
    until: float | None = None
    """After this moment there is no use in telling it; None where there always is."""
    subject: str
    """One line."""
    facts: Mapping[str, str]
    """Label and text, in the order in which they are shown. None of them holds a control character."""


def notice_of(event: Event) -> Notice | None:
    """The notice that an event is, or None: votes are nobody's news."""
    match event:
        case ApprovalRequested():
            return _notice(event, event.action.ref, ("requested", event.requested_at), "Approval needed", _asked(event))
        case ApprovalReminded():
            facts = {"reminder": str(event.ordinal)}
            return _notice(event, event.action, ("reminded", event.reminded_at), "Still waiting for approval", facts)
        case ApprovalEscalated():
            facts = {"level": str(event.level), "approvers": _names(event.eligible)}
            return _notice(event, event.action, ("escalated", event.escalated_at), "Approval escalated", facts)
        case ApprovalResolved():
            facts = {
                "resolution": event.resolution,
                "approvers": _names(event.approvers),
                "comment": event.comment or "",
            }
            return _notice(event, event.action, ("resolved", event.resolved_at), f"Approval {event.resolution}", facts)
        case _:
            return None


def plain(text: str, most: int = TEXT_MOST) -> str:
    """On one line, with nothing that steers a reader or hides from one, and cut where it is too long."""
    shown = "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text[: most + 1])
    return shown if len(text) <= most and len(shown) <= most else f"{shown[:most]}…"


def _notice(event: _News, ref: ActionRef, what: tuple[str, float], said: str, facts: Mapping[str, str]) -> Notice:
    """A notice of what (its kind, and when) with these facts; an end has no deadline, so there is always use in it."""
    kind, at = what
    until = None if isinstance(event, ApprovalResolved) else event.deadline
    deadline = {} if until is None else {"until": _moment(until)}
    return Notice(
        id=event.identity(),
        kind=kind,
        tenant=ref.tenant,
        at=at,
        until=until,
        subject=plain(f"{said}: {ref.tool} of {ref.agent}"),
        facts=_filled({**_about(event.approval_id, ref), **facts, **deadline}),
    )


def _asked(event: ApprovalRequested) -> dict[str, str]:
    action = event.action
    return {
        "for": action.requester or "",
        "target": action.target,
        "arguments": _arguments(action),
        "risk": ", ".join(part for part in (action.risk or "", _number(event.decision.risk_score)) if part),
        "value": _number(action.value),
        "reason": event.decision.reason,
        "suspicion": action.suspicion or "",
        "approvers": _names(event.eligible),
        "needed": f"{max(1, event.quorum)} of them" if event.eligible else str(max(1, event.quorum)),
    }


def _about(approval_id: str, ref: ActionRef) -> dict[str, str]:
    return {
        "approval": approval_id,
        "tool": ref.tool,
        "agent": ref.agent,
        "tenant": ref.tenant,
        "session": ref.session,
        "action": ref.id,
        "digest": ref.digest,
        "show": f"callgate approvals show {ids.short(approval_id)}",
    }


def _filled(facts: Mapping[str, str]) -> dict[str, str]:
    """Only what is known. Arguments have a bound of their own."""
    return {
        label: plain(text, ARGUMENTS_MOST if label == "arguments" else TEXT_MOST)
        for label, text in facts.items()
        if text
    }


def _arguments(action: ActionProposed) -> str:
    """As JSON with what is sensitive masked; what can't be looked through is masked whole."""
    try:
        found = mask(orjson.loads(bytes(action.arguments)), action.sensitive)
    except (orjson.JSONDecodeError, RecursionError):
        return MASK
    if action.fault is not None and not isinstance(found, dict):
        return MASK
    return orjson.dumps(found).decode()


def _names(people: tuple[str, ...]) -> str:
    more = f" and {len(people) - NAMES_MOST} more" if len(people) > NAMES_MOST else ""
    return ", ".join(people[:NAMES_MOST]) + more


def _number(number: float | None) -> str:
    return "" if number is None else f"{number:g}"


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""
