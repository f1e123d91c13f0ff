"""Questions, votes and ballots for tests of approvals."""

from __future__ import annotations

from typing import Any

import msgspec

from callgate.events import ids
from callgate.events.actions import ActionProposed, ActionRef, Decision
from callgate.events.approvals import Answer, ApprovalDue, ApprovalRequested, ApprovalVoted, BallotCast

NOW = 1_700_000_000.0
DEADLINE = NOW + 60
DIGEST = "a" * 64
TURN = ids.turn_key(0, "acme", "s", "1")
ACTION = ids.action_id(TURN, 0, 0, "c1")
APPROVAL = ids.approval_id(0, ACTION, 1, 0, "action")


def proposed(**changes: Any) -> ActionProposed:
    """A payment that `bot` wants to make for `kim`."""
    ref = ActionRef(
        id=ACTION,
        turn_key=TURN,
        tenant="acme",
        session="s",
        turn="1",
        agent="bot",
        position=0,
        call_id="c1",
        tool="pay",
        digest=DIGEST,
    )
    fields: dict[str, Any] = {"ref": ref, "arguments": msgspec.Raw(b'{"amount":5,"pin":"1234"}'), "requester": "kim"}
    return ActionProposed(**{**fields, "proposed_at": NOW - 1, **changes})


def review(**changes: Any) -> Decision:
    """BIGHUB's wish that people look."""
    fields: dict[str, Any] = {
        "verdict": "review",
        "by": "bighub",
        "reason": "rule 7",
        "told": "",
        "request_id": "req_1",
    }
    return Decision(**{**fields, "decided_at": NOW, "valid_until": NOW + 300, **changes})


def question(**changes: Any) -> ApprovalRequested:
    """The question whether the payment may be made."""
    fields: dict[str, Any] = {"approval_id": APPROVAL, "action": proposed(), "decision": review()}
    return ApprovalRequested(**{**fields, "requested_at": NOW, "deadline": DEADLINE, **changes})


def numbered_action(number: int, partitions: int, **changes: Any) -> ActionProposed:
    """The payment as a session of its own asks for it, one of many; the changes are of its ref."""
    turn, action = ids.turn_key(number % partitions, "acme", f"s{number}", "1"), proposed()
    own = {"id": ids.action_id(turn, 0, 0, "c"), "turn_key": turn, "session": f"s{number}"}
    return msgspec.structs.replace(action, ref=msgspec.structs.replace(action.ref, **{**own, **changes}))


def numbered_question(
    number: int, partitions: int, now: float, seconds: float = 600.0, **changes: Any
) -> ApprovalRequested:
    """The question about it, open for so long; most stand on another partition than their session's home."""
    action = changes.pop("action", None) or numbered_action(number, partitions)
    own = {
        "approval_id": ids.approval_id((number * 3) % partitions, action.ref.id, 1, 0, "action"),
        "requested_at": now,
        "deadline": now + seconds,
    }
    return question(action=action, **{**own, **changes})


def vote(answer: Answer = "approve", approver: str = "lee", vote_id: str = "v", **changes: Any) -> ApprovalVoted:
    """Somebody's vote on it."""
    fields: dict[str, Any] = {"vote_id": vote_id, "approval_id": APPROVAL, "digest": DIGEST, "answer": answer}
    return ApprovalVoted(**{**fields, "approver": approver, **changes})


def cast(
    cast_vote: ApprovalVoted | None = None, *, at: float = NOW + 5, origin: str = "x/0/0", **changes: Any
) -> BallotCast:
    """The vote as the intake passes it on."""
    fields: dict[str, Any] = {"approval_id": APPROVAL, "vote": cast_vote or vote(), "verification": "trusted"}
    return BallotCast(**{**fields, "appended_at": at, "origin": origin, **changes})


def deadline() -> ApprovalDue:
    """The deadline's place among the ballots."""
    return ApprovalDue(approval_id=APPROVAL, kind="deadline", due_at=DEADLINE)
