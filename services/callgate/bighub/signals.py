"""What each field of a BIGHUB answer says, taken alone: a severity, and what it gives way to. Pure.

The fields are those that the SDK, its adapter or the documents read as a verdict. `null` and the empty string are
absence. A wrong JSON type blocks, whatever the field: `"false"` is not False, and a consumer that thinks so runs tools.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from functools import partial

import msgspec


class Severity(IntEnum):
    """How much an answer restricts; the highest of all signals wins. Up to CONSTRAINED the action runs."""

    ALLOW = 0
    CONSTRAINED = 1
    REVIEW = 2
    NEEDS_CONTEXT = 3
    BLOCK = 4


_NOTHING: frozenset[Severity] = frozenset()
_CONTEXT = frozenset({Severity.NEEDS_CONTEXT})
_ASKING = frozenset({Severity.REVIEW, Severity.NEEDS_CONTEXT})


class Signal(msgspec.Struct, frozen=True):
    """One field's word."""

    field: str
    said: str
    severity: Severity
    explicit: bool = False
    """It asks for a person or for context in a word that we know, so that generic refusals may give way to it."""
    yields: frozenset[Severity] = _NOTHING
    """A generic refusal ("not allowed") that accompanies every answer other than yes: it gives way to an explicit
    wish of one of these severities, all of which still run nothing by themselves."""


# Caution without constraints still runs: it says how, not whether.
_RECOMMENDATIONS = {
    "proceed": Severity.ALLOW,
    "proceed_with_caution": Severity.CONSTRAINED,
    "review_recommended": Severity.REVIEW,
    "do_not_proceed": Severity.BLOCK,
}
_RESULTS = {
    "allowed": Severity.ALLOW,
    "limited": Severity.CONSTRAINED,
    "requires_approval": Severity.REVIEW,
    "blocked": Severity.BLOCK,
    "denied": Severity.BLOCK,
}
# Every other verdict blocks, `denied` and words of the future alike: it is the one field that calls itself enforced.
_VERDICTS = {
    "allowed": Severity.ALLOW,
    "proceed": Severity.ALLOW,
    "requires_approval": Severity.REVIEW,
    "blocked": Severity.BLOCK,
}
# Words of the documents, and the gate words that the backend sends, in capitals too.
_MODES = {
    "autonomous": Severity.ALLOW,
    "full": Severity.ALLOW,
    "allowed": Severity.ALLOW,
    "constrained": Severity.CONSTRAINED,
    "limited": Severity.CONSTRAINED,
    "restricted": Severity.CONSTRAINED,
    "conditional": Severity.CONSTRAINED,
    "review": Severity.REVIEW,
    "review_required": Severity.REVIEW,
    "needs_context": Severity.NEEDS_CONTEXT,
    "blocked": Severity.BLOCK,
    "denied": Severity.BLOCK,
    # An answer that was only being tried out decides nothing.
    "shadow": Severity.BLOCK,
    "dry_run": Severity.BLOCK,
}
_REQUEST_TYPES = {
    "clarification_needed": Severity.NEEDS_CONTEXT,
    "needs_more_context": Severity.NEEDS_CONTEXT,
}
# What stands beside every answer other than yes. `denied` is not among them: somebody chose that word.
_GENERIC_WORDS = frozenset(
    {("recommendation", "do_not_proceed"), ("enforced_verdict", "blocked"), ("result", "blocked")}
)
_BLOCKING_WORDS = frozenset({"block", "blocked", "deny", "denied", "do_not_proceed", "forbidden"})
_FLAGS: dict[str, Signal] = {
    name: Signal(name, "true", severity, explicit=explicit)
    for name, severity, explicit in (
        ("requires_approval", Severity.REVIEW, True),
        ("human_review", Severity.REVIEW, True),
        ("needs_review", Severity.REVIEW, True),
        ("needs_more_context", Severity.NEEDS_CONTEXT, True),
        ("should_not_run", Severity.BLOCK, False),
        ("dry_run", Severity.BLOCK, False),
    )
}


def read(answer: Mapping[str, object]) -> Iterator[Signal]:
    """Every signal that is present in `answer`, except `enforcement_mode`, which says how to take the others."""
    for name, signals in _FIELDS:
        if name in answer:
            yield from signals(answer, name)


def enforcement(answer: Mapping[str, object]) -> tuple[str, Signal | None]:
    """The enforcement mode in lower case (empty where absent), and a signal where it restricts by itself."""
    match answer.get("enforcement_mode"):
        case None | "":
            return "", None
        case str(text):
            mode = text.strip().lower()
            if mode in {"advisory", "review", "enforced"}:
                return mode, None
            return mode, Signal("enforcement_mode", _shown(text), Severity.REVIEW)
        case other:
            return "", _mistyped("enforcement_mode", other)


def _word(
    holder: Mapping[str, object],
    name: str,
    words: Mapping[str, Severity],
    *,
    path: str = "",
    folded: bool = False,
    unknown: Severity = Severity.REVIEW,
) -> Iterator[Signal]:
    """The signal of a text field. Padding and case restrict but never permit, unless documented (`folded`)."""
    field = f"{path}{name}"
    match holder.get(name):
        case None | "":
            return
        case str(text):
            word = text.strip().lower()
            severity = words.get(word, unknown)
            if word not in words or (text != word and not folded):
                severity = max(severity, unknown)
            # A word that was made stricter for its spelling is not the word that may ask for anything.
            known = words.get(word) is severity
            generic = severity is Severity.BLOCK and (name, word) in _GENERIC_WORDS and known
            yield Signal(
                field,
                _shown(text),
                severity,
                explicit=known and severity in _ASKING,
                yields=_CONTEXT if generic else _NOTHING,
            )
        case other:
            yield _mistyped(field, other)


def _flag(answer: Mapping[str, object], name: str) -> Iterator[Signal]:
    """A wish for people or context, or a no, that is either raised or not."""
    match answer.get(name):
        case True:
            yield _FLAGS[name]
        case None | False:
            pass
        case other:
            yield _mistyped(name, other)


def _permission(answer: Mapping[str, object], name: str) -> Iterator[Signal]:
    """A yes or no: true permits nothing that another field withholds; a no beside which nothing says why blocks."""
    match answer.get(name):
        case None:
            pass
        case True:
            yield Signal(name, "true", Severity.ALLOW)
        case False:
            yield Signal(name, "false", Severity.BLOCK, yields=_ASKING)
        case other:
            yield _mistyped(name, other)


def _blocked_by(answer: Mapping[str, object], name: str) -> Iterator[Signal]:
    """The name of a rule that blocked."""
    match answer.get(name):
        case None | "":
            pass
        case str(text):
            yield Signal(name, _shown(text), Severity.BLOCK, yields=_ASKING)
        case other:
            yield _mistyped(name, other)


def _ceiling(answer: Mapping[str, object], name: str) -> Iterator[Signal]:
    """The catastrophic ceiling, which neither the SDK nor its adapter reads, blocks whatever it would force.

    One that forces something without saying whether it is active counts as active.
    """
    match answer.get(name):
        case None:
            return
        case dict(ceiling):
            active = ceiling.get("active")
            forced = bool(ceiling.get("forced_mode") or ceiling.get("forced_recommendation"))
            if active is True or (active is None and forced):
                yield Signal(f"{name}.active", "true" if active else "forced", Severity.BLOCK)
            elif active is not None and active is not False:
                yield _mistyped(f"{name}.active", active)
        case other:
            yield _mistyped(name, other)


def _override(answer: Mapping[str, object], name: str) -> Iterator[Signal]:
    """An override's shape is documented nowhere: a person looks at it, unless it says no in so many words."""
    match answer.get(name):
        case None:
            return
        case dict(override):
            said = {text.strip().lower() for text in override.values() if isinstance(text, str)}
            if said & _BLOCKING_WORDS:
                yield Signal(name, ", ".join(sorted(said & _BLOCKING_WORDS)), Severity.BLOCK)
            elif override:
                yield Signal(name, "present", Severity.REVIEW)
        case other:
            yield _mistyped(name, other)


def _nested(answer: Mapping[str, object], *names: str, words: Mapping[str, Mapping[str, Severity]]) -> Iterator[Signal]:
    """Signals inside an explanatory object, found under `names`. They restrict; only the top level permits.

    A path that ends in something other than an object is of a wrong type, where the adapter crashes after the effect.
    """
    holder: object = answer
    path = ""
    for name in names:
        holder = holder.get(name) if isinstance(holder, dict) else None
        path = f"{path}{name}."
        if holder is None:
            return
        if not isinstance(holder, dict):
            yield _mistyped(path[:-1], holder)
            return
    if isinstance(holder, dict):
        for name, table in words.items():
            yield from _word(holder, name, table, path=path, folded=table is _MODES)


def _mistyped(field: str, value: object) -> Signal:
    return Signal(field, f"a {type(value).__name__}", Severity.BLOCK)


def _shown(text: str) -> str:
    """Enough of a text to recognise it in a reason; the other side chooses its length."""
    return text[:64]


_BRAIN = {"recommendation": _RECOMMENDATIONS, "recommended_execution_mode": _MODES}
_PACKET = {"recommendation": _RECOMMENDATIONS}
_FIELDS: tuple[tuple[str, Callable[[Mapping[str, object], str], Iterator[Signal]]], ...] = (
    ("recommendation", partial(_word, words=_RECOMMENDATIONS)),
    ("result", partial(_word, words=_RESULTS)),
    # A restricting verdict counts in every enforcement mode: one that is not enforced is still a no.
    ("enforced_verdict", partial(_word, words=_VERDICTS, unknown=Severity.BLOCK)),
    ("mode", partial(_word, words=_MODES, folded=True)),
    ("execution_mode", partial(_word, words=_MODES, folded=True)),
    ("request_type", partial(_word, words=_REQUEST_TYPES, folded=True)),
    *((name, _flag) for name in _FLAGS),
    ("allowed", _permission),
    ("can_run", _permission),
    ("blocked_by", _blocked_by),
    ("catastrophic_ceiling", _ceiling),
    ("verdict_override", _override),
    ("decision_packet", lambda answer, name: _nested(answer, name, "signal", words=_PACKET)),
    ("decision_brain", lambda answer, name: _nested(answer, name, words=_BRAIN)),
)
"""The fields that speak, in the order in which they are heard, each with its reader."""
