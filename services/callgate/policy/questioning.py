"""The question that a review puts to people, on the terms of the policy that is in force. Pure.

Everything that bears on the count goes into the question, so that a later change of the policy changes no answer.
"""

from __future__ import annotations

import msgspec

from callgate.events import ids
from callgate.events.actions import ActionInDoubt, ActionProposed, Decision
from callgate.events.approvals import ApprovalRequested, ApproverGroup, EscalationLevel
from callgate.events.codec import MAX_RECORD_BYTES
from callgate.events.routing import ballot_partition
from callgate.policy.choosing import choose, facts
from callgate.policy.document import Policy, Terms


def request(
    action: ActionProposed, decision: Decision, policy: Policy, partitions: int, *, now: float, deadline_seconds: float
) -> ApprovalRequested:
    """The question; `deadline_seconds` counts where the policy sets none."""
    ref = action.ref
    choice = choose(policy, facts(action, decision))
    terms = choice.terms
    seconds = deadline_seconds if terms.deadline_seconds is None else terms.deadline_seconds
    return ApprovalRequested(
        approval_id=ids.approval_id(
            ballot_partition(ref.tenant, ref.tool, partitions), ref.id, ref.revision, ref.attempt, "action"
        ),
        action=action,
        decision=decision,
        answers=terms.answers,
        quorum=max(terms.quorum, len(terms.one_from_each)),
        eligible=policy.people(terms),
        one_from_each=tuple(ApproverGroup(name=name, members=policy.groups[name]) for name in terms.one_from_each),
        requester_may_answer=terms.requester_may_answer,
        policy_digest=policy.digest(),
        policy_rule=choice.rule,
        requested_at=now,
        deadline=now + seconds,
        reminders=tuple(now + after for after in _reminders(terms, seconds)),
        escalation=tuple(
            EscalationLevel(at=now + level.after_seconds, approvers=policy.named(level.approvers))
            for level in terms.escalation
            if level.after_seconds < seconds
        ),
    )


def settlement(
    action: ActionProposed,
    decision: Decision,
    doubt: ActionInDoubt,
    policy: Policy,
    partitions: int,
    *,
    now: float,
    deadline_seconds: float,
) -> ApprovalRequested:
    """The question what became of an action in doubt: to the people who may answer for it, with time to find out."""
    asked = request(action, decision, policy, partitions, now=now, deadline_seconds=deadline_seconds)
    ref = action.ref
    where = ballot_partition(ref.tenant, ref.tool, partitions)
    question = msgspec.structs.replace(
        asked,
        approval_id=ids.approval_id(where, ref.id, ref.revision, ref.attempt, "settle"),
        kind="settle",
        doubt=doubt,
        answers=("approve", "reject", "respond", "abstain", "delegate"),
        one_from_each=(),
        deadline=now + deadline_seconds,
        reminders=(),
        escalation=(),
    )
    fits = len(msgspec.json.encode(question)) <= MAX_RECORD_BYTES
    return question if fits else msgspec.structs.replace(question, doubt=_referring(doubt))


def _referring(doubt: ActionInDoubt) -> ActionInDoubt:
    """The doubt without what stands in its question too: what could not be asked would be in doubt for ever."""
    nothing = msgspec.Raw(b"{}")
    action = msgspec.structs.replace(doubt.action, arguments=nothing, context=nothing, target="", effect_key=None)
    decision = msgspec.structs.replace(doubt.decision, constraints=None, better_action=None)
    return msgspec.structs.replace(doubt, action=action, decision=decision)


def _reminders(terms: Terms, deadline: float) -> list[float]:
    """Seconds after the question, each once and in order. What is not before the deadline would remind nobody."""
    found = {after if after >= 1 else after * deadline for after in terms.reminders}
    return sorted(after for after in found if after < deadline)
