"""What Callgate asks and tells BIGHUB, in values: an evaluation, and an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRequest:
    """One action to be decided."""

    action: str
    idempotency_key: str
    """An id of ours: the same for every repeat of one question, another for an attempt or revision that asks anew."""
    actor: str = "AI_AGENT"
    value: float | None = None
    target: str | None = None
    domain: str | None = None
    context: Mapping[str, object] = field(default_factory=dict)
    arguments: Mapping[str, object] = field(default_factory=dict)
    """Masked by whoever asks, as the tool declares: what stands here leaves the process as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeReport:
    """What became of a decision. BIGHUB merges repeats by request id, status and label quality."""

    request_id: str
    status: str
    """A word of BIGHUB's outcome taxonomy, such as SUCCESS, FAILURE or BLOCKED."""
    description: str = ""
    details: Mapping[str, object] = field(default_factory=dict)
    production_action: str = ""
    """What ran."""
    human_final_action: str = ""
    """What a person made of it, where one changed it."""
    recommendation_followed: bool | None = None
    label_quality: str = "runtime"
    """How the status is known: `runtime` by the tool's return, `observed` by somebody looking at the world."""
    correction_needed: bool = False
    rollback_performed: bool = False
    revenue_impact: float | None = None
    observed_at: str | None = None
    """ISO 8601, UTC."""
    reported_by: str = ""
    tags: tuple[str, ...] = ()
