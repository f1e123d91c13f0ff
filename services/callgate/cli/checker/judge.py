"""The judge: facts against the promises. Pure. What it can't explain it reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from callgate.cli.checker.facts import ActionFacts, Facts

_RAN = frozenset({"executed", "tool_error"})
_MAY_START_AGAIN = frozenset({"read", "idempotent"})
_STARTABLE = frozenset({"allow"})
CLOCK_MARGIN_SECONDS = 5.0
"""How much later than its decision's validity a start may be recorded before it counts: clocks of hosts differ."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise."""

    promise: str
    """P1 to P9."""
    action_id: str
    detail: str

    def shown(self) -> dict[str, str]:
        """As it stands in a report."""
        return {"promise": self.promise, "action_id": self.action_id, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known beforehand of one submitted call."""

    turn_key: str
    position: int
    call_id: str
    output: bytes | None
    """JSON of what the tool must have returned, if it ran; None where nobody knows."""


def judge(facts: Facts, expected: Mapping[str, Expected]) -> list[Violation]:
    """Every violation, ordered by action. `expected` holds the submitted calls by action id; may be empty."""
    found: list[Violation] = [
        Violation("P1", "", f"an internal topic holds no event: {place}") for place in facts.undecodable
    ]
    if facts.torn:
        found.append(Violation("P3", "", f"{facts.torn} lines of the witness are torn"))
    for approval, count in facts.resolved.items():
        if count > 1:
            found.append(Violation("P6", approval, f"the approval was resolved {count} times"))
    for identifier in sorted(set(facts.actions) | set(expected)):
        action = facts.actions.get(identifier, ActionFacts())
        if identifier in facts.actions:
            found.extend(Violation(promise, identifier, detail) for promise, detail in _of_action(action))
            found.extend(Violation("P1", identifier, detail) for detail in _of_custody(facts, identifier, action))
        if identifier in expected:
            told = expected[identifier]
            found.extend(Violation(promise, identifier, text) for promise, text in _of_call(facts, action, told))
        elif expected:
            found.append(Violation("P1", identifier, "nobody submitted this call"))
    for turn, completions in facts.turns.items():
        if len({bytes(completion.items) for completion in completions}) > 1:
            found.append(Violation("P2", turn, "the turn was completed in different ways"))
    return found


def _of_action(action: ActionFacts) -> Iterator[tuple[str, str]]:
    if len(action.ends) > 1:
        yield "P2", f"finished {len(action.ends)} times: {', '.join(end.status for _, end in action.ends)}"
    if len(action.doubts) > 1:
        yield "P2", f"declared in doubt {len(action.doubts)} times"
    if action.doubts and action.ends and min(o for o, _ in action.ends) < min(o for o, _ in action.doubts):
        yield "P2", "declared in doubt after it had finished"
    if not action.proposed:
        yield "P1", "something is known of an action that was never proposed"
        return
    yield from _of_effects(action)
    yield from _of_start(action)


def _of_custody(facts: Facts, identifier: str, action: ActionFacts) -> Iterator[str]:
    """What a service says that it is done with has a mark on the log, or lies with it; else it is lost."""
    decided = set(action.decided)
    for taken, revision, attempt in facts.taken_proposals:
        if taken == identifier and (revision, attempt) not in decided:
            yield f"lost: revision {revision}, attempt {attempt} was taken by the evaluator, and nothing came of it"
    if identifier in facts.taken_decisions and not action.ends and not action.doubts:
        last = max((event.ref.attempt for event in action.proposed), default=0)
        if all(attempt < last for _, attempt in action.decided):
            return  # the last one was sent back, and waits to be evaluated
        yield "lost: its decision was taken by the executor, and nothing came of it"


def _of_effects(action: ActionFacts) -> Iterator[tuple[str, str]]:
    count = len(action.effects)
    effect = action.proposed[0].effect
    if count > 1 and effect not in _MAY_START_AGAIN:
        yield "P3", f"the tool had its effect {count} times"
    statuses = {end.status for _, end in action.ends}
    # A read has no effect that its end could deny: evaluated anew after a start that did not answer, it may be blocked.
    if count and effect != "read" and statuses and not statuses & (_RAN | {"unknown"}):
        yield "P3", f"it had an effect, yet ended {', '.join(sorted(statuses))}"
    if count and not any(decision.verdict in _STARTABLE for _, decision in action.decisions):
        yield "P5", "it had an effect without a decision that allows it"


def _of_start(action: ActionFacts) -> Iterator[tuple[str, str]]:
    for _, end in action.ends:
        if end.status not in _RAN:
            continue
        if end.decision.verdict not in _STARTABLE:
            yield "P5", f"it ran on the verdict {end.decision.verdict}"
        if end.started_at is not None and end.started_at > end.decision.valid_until + CLOCK_MARGIN_SECONDS:
            late = end.started_at - end.decision.valid_until
            yield "P4", f"it was started {late:.1f} s after its decision had expired"
        if all(each.ref.digest != end.action.ref.digest for each in action.proposed):
            yield "P4", "what ran is not what was proposed"


def _of_call(facts: Facts, action: ActionFacts, told: Expected) -> Iterator[tuple[str, str]]:
    completions = facts.turns.get(told.turn_key, [])
    if told.turn_key in facts.taken_turns and not action.proposed and not completions:
        yield "P1", "lost: its turn was taken by the proposer, and nothing came of it"
    if completions and not action.ends:
        yield "P1", "its turn was completed, yet the action has no end"
    if told.output is None or not action.ends:
        return
    end = action.ends[0][1]
    if end.status != "executed":
        return
    if not action.effects:
        yield "P3", "it ended executed, yet the witness saw no effect"
    if end.via != "run" or end.action.ref.revision > 1:
        return  # nobody has the tool's output, or it is that of an edited call
    if end.output is None or bytes(end.output) != told.output:
        yield "P1", "the output on the log is not the recorded one"
    for completion in completions:
        answers = [item for item in orjson.loads(bytes(completion.items)) if _answers(item, told.call_id)]
        if _as_text(told.output) not in {_text_of(item) for item in answers}:
            yield "P1", "the output in the completed turn is not the recorded one"


def _answers(item: Mapping[str, object], call_id: str) -> bool:
    return call_id in {item.get("call_id"), item.get("tool_call_id")}


def _text_of(item: Mapping[str, object]) -> object:
    return item.get("output", item.get("content"))


def _as_text(output: bytes) -> str:
    """What the model must read: a string verbatim, other JSON as it is written."""
    value = orjson.loads(output)
    return value if isinstance(value, str) else output.decode()
