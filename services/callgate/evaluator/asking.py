"""What BIGHUB is asked about an action. Pure."""

from __future__ import annotations

import orjson

from callgate.bighub.requests import EvaluateRequest
from callgate.events.actions import ActionProposed
from callgate.tools.masking import mask


def question(action: ActionProposed) -> EvaluateRequest:
    """The evaluation request of one revision and attempt; a repeat of it has the same idempotency key."""
    arguments = mask(orjson.loads(bytes(action.arguments)), action.sensitive)
    return EvaluateRequest(
        action=action.bighub_action or action.ref.tool,
        # The key is the proposal's own identity: a repeat is answered as before, a later attempt is asked anew.
        idempotency_key=action.identity(),
        actor=action.actor,
        value=action.value,
        target=action.target or None,
        domain=action.domain,
        context=_context(action),
        arguments=arguments,
    )


def _context(action: ActionProposed) -> dict[str, object]:
    """The turn's labels, under the names that only the gate may set: a label must not pose as one of them."""
    labels = orjson.loads(bytes(action.context))
    context: dict[str, object] = dict(labels) if isinstance(labels, dict) else {}
    own = {
        "session_id": action.ref.session,
        "agent": action.ref.agent,
        "tenant": action.ref.tenant,
        "environment": action.environment,
        "risk": action.risk,
        "suspicion": action.suspicion,
        "digest": action.ref.digest,
    }
    context.update({name: value for name, value in own.items() if value is not None})
    return context
