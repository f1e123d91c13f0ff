"""What a BIGHUB answer means: one verdict out of every field that speaks of one. Pure, total, monotone.

Total: any decoded JSON resolves. Monotone: no added or raised signal turns a non-execution into an execution, but for
these three things, which an execution needs besides the absence of objections, and each of which blocks where it is
missing:

- a basis: `recommendation` says proceed (with or without caution), or `allowed` is true. A mode or a result alone is
  none, and neither is `enforced_verdict`: of the SDK and its adapter, one would not run on it;
- where enforcement is `enforced`, an enforced verdict that allows;
- an id under which the outcome can be reported, safe in a URL path. A review needs it too: its approval would run.

Explicit wishes soften generic refusals only among non-executions: an answer that asks for context may say "blocked" and
"do not proceed" beside it, and one that asks for a person may say "not allowed".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

from callgate.bighub import constraints as carriers
from callgate.bighub.signals import Severity, Signal, enforcement, read
from callgate.events.ids import is_id

__all__ = ["Resolution", "Severity", "resolve"]

ResolvedVerdict = Literal["allow", "review", "needs_context", "block"]
"""The verdicts that an answer can come to; a constrained answer is an allow that carries constraints."""

_VERDICTS: dict[Severity, ResolvedVerdict] = {
    Severity.ALLOW: "allow",
    Severity.CONSTRAINED: "allow",
    Severity.REVIEW: "review",
    Severity.NEEDS_CONTEXT: "needs_context",
    Severity.BLOCK: "block",
}
_REASON_LENGTH = 300


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, resolved."""

    severity: Severity
    verdict: ResolvedVerdict
    reason: str
    """For operators: which field decided, and BIGHUB's own words. Never for the model: it may name rules."""
    constraints: Mapping[str, object] | None = None
    """By name, gathered from every place that can carry them. None: there are none."""
    signals: tuple[tuple[str, Severity], ...] = ()
    """Every field that spoke, with what it said alone; for explanation."""
    request_id: str | None = None
    """None where the answer has none that is safe to use; then the verdict is neither allow nor review."""
    risk_score: float | None = None
    """0 to 1; None where absent or not a number in that range."""
    recommendation: str | None = None
    enforcement_mode: str | None = None
    better_action: str | Mapping[str, object] | None = None

    @property
    def executes(self) -> bool:
        """Whether the action may run on this answer alone."""
        return self.severity <= Severity.CONSTRAINED


def resolve(answer: object) -> Resolution:
    """The verdict of any decoded JSON value. Never raises."""
    if not isinstance(answer, dict):
        return Resolution(
            severity=Severity.BLOCK,
            verdict="block",
            reason=f"the answer is no JSON object but {type(answer).__name__}",
            signals=(("answer", Severity.BLOCK),),
        )
    signals = list(read(answer))
    found = carriers.gather(answer)
    if found.signal is not None:
        signals.append(found.signal)
    mode, restricting = enforcement(answer)
    if restricting is not None:
        signals.append(restricting)
    request_id = _request_id(answer)
    signals.extend(_missing(answer, signals, mode, request_id))
    severity, decisive = _combined(signals)
    return Resolution(
        severity=severity,
        verdict=_VERDICTS[severity],
        reason=_reason(answer, decisive),
        constraints=found.constraints or None,
        signals=tuple((signal.field, signal.severity) for signal in signals),
        request_id=request_id,
        risk_score=_risk(answer),
        recommendation=_text(answer.get("recommendation")),
        enforcement_mode=_text(answer.get("enforcement_mode")),
        better_action=_better_action(answer),
    )


def _combined(signals: list[Signal]) -> tuple[Severity, Signal | None]:
    """The highest severity after generic refusals gave way, and the first signal that has it."""
    wishes = frozenset(signal.severity for signal in signals if signal.explicit)
    severity, decisive = Severity.ALLOW, None
    for signal in signals:
        softened = signal.yields & wishes
        effective = max(softened) if softened else signal.severity
        if decisive is None or effective > severity:
            severity, decisive = effective, signal
    return severity, decisive


def _missing(answer: Mapping[str, object], signals: list[Signal], mode: str, request_id: str | None) -> list[Signal]:
    """What an answer lacks that an execution would need, as signals of its own."""
    missing: list[Signal] = []
    decided, _ = _combined([each for each in signals if each.field != "enforcement_mode"])
    recommendation = answer.get("recommendation")
    if decided <= Severity.CONSTRAINED:
        if recommendation not in ("proceed", "proceed_with_caution") and answer.get("allowed") is not True:
            missing.append(Signal("answer", "no word that allows", Severity.BLOCK))
        elif mode == "review" and recommendation != "proceed":
            missing.append(Signal("enforcement_mode", "review, without a plain proceed", Severity.REVIEW))
    if mode == "enforced" and not answer.get("enforced_verdict"):
        missing.append(Signal("enforced_verdict", "missing though enforced", Severity.BLOCK))
    if request_id is None:
        # An answer that only asks for context runs nothing and needs no report.
        missing.append(
            Signal("request_id", "missing or unsafe", Severity.BLOCK, yields=frozenset({Severity.NEEDS_CONTEXT}))
        )
    return missing


def _request_id(answer: Mapping[str, object]) -> str | None:
    """The first of the id fields that is present, if it is safe; a later one never stands in for an unsafe one."""
    for name in ("request_id", "validation_id", "id"):
        value = answer.get(name)
        if value is None or value == "":
            continue
        return value if isinstance(value, str) and is_id(value) else None
    return None


def _risk(answer: Mapping[str, object]) -> float | None:
    for name in ("risk_score", "risk"):
        value = answer.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1 and not math.isnan(value):
            return float(value)
    return None


def _better_action(answer: Mapping[str, object]) -> str | Mapping[str, object] | None:
    """The safer action, sought where the SDK seeks it and in its order."""
    packet = _object(answer.get("decision_packet"))
    found: list[object] = [
        answer.get("better_action"),
        answer.get("recommended_action"),
        packet.get("better_action"),
        _object(packet.get("action_contract")).get("better_action"),
    ]
    for holder in (_object(answer.get("decision_intelligence")), packet):
        alternatives = holder.get("alternatives")
        if isinstance(alternatives, list) and alternatives:
            first = alternatives[0]
            found.extend((first.get("better_action"), first.get("action")) if isinstance(first, dict) else (first,))
    for each in found:
        if each and isinstance(each, str | dict):
            return each
    return None


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value[:128] if isinstance(value, str) and value else None


def _reason(answer: Mapping[str, object], decisive: Signal | None) -> str:
    own = answer.get("reason")
    words = own.strip()[:_REASON_LENGTH] if isinstance(own, str) else ""
    if decisive is None:
        return words or "the answer says nothing"
    field = f"{decisive.field}: {decisive.said}"
    return f"{words} ({field})" if words else field
