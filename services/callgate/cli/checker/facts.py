"""What the log and the witness say of each action: plain counts, gathered without believing any service.

Only the events and the log port are used. What a service believes of itself is asked for one thing only: what it says
that it is done with must have left its mark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from callgate.cli.checker.consumption import Consumption, consumption
from callgate.events import topics
from callgate.events.actions import ActionDecided, ActionFinished, ActionInDoubt, ActionProposed, Decision
from callgate.events.approvals import ApprovalResolved
from callgate.events.codec import Undecodable, decode
from callgate.events.event import Event
from callgate.events.home import home
from callgate.events.ids import turn_key
from callgate.events.turns import TurnCompleted, TurnRecorded
from callgate.log.port import Log, Record


@dataclass(slots=True)
class ActionFacts:
    """Everything that the log and the witness hold about one action."""

    proposed: list[ActionProposed] = field(default_factory=list)
    decisions: list[tuple[int, Decision]] = field(default_factory=list)
    """With the revision that each was about."""
    decided: list[tuple[int, int]] = field(default_factory=list)
    """Revision and attempt of each decision."""
    doubts: list[tuple[int, ActionInDoubt]] = field(default_factory=list)
    """With the offset, to tell what came first."""
    ends: list[tuple[int, ActionFinished]] = field(default_factory=list)
    effects: list[int] = field(default_factory=list)
    """Process ids of the witness's lines."""


@dataclass(slots=True)
class Facts:
    """All that is known of a log's actions and turns."""

    actions: dict[str, ActionFacts] = field(default_factory=dict)
    turns: dict[str, list[TurnCompleted]] = field(default_factory=dict)
    resolved: Counter[str] = field(default_factory=Counter)
    """How often each approval was resolved."""
    dead: dict[tuple[str, int, int], str] = field(default_factory=dict)
    """Reason by the origin (topic, partition, offset) of each dead letter."""
    undecodable: list[str] = field(default_factory=list)
    """Places of records in internal topics that are no events: nobody of ours writes such."""
    torn: int = 0
    """Lines of the witness that are not whole."""
    taken_turns: set[str] = field(default_factory=set)
    """Turns that the proposer is done with."""
    taken_proposals: set[tuple[str, int, int]] = field(default_factory=set)
    """Action, revision and attempt that the evaluator is done with, and does not hold."""
    taken_decisions: set[str] = field(default_factory=set)
    """Actions with a decision that the executor is done with, and which it does not hold."""

    def action(self, identifier: str) -> ActionFacts:
        """The facts of one action, empty if nothing was seen of it."""
        return self.actions.setdefault(identifier, ActionFacts())


# What comes later in an action's life is read earlier, so that whatever is seen has its cause among what is read next.
_LATE = (topics.REPLIES, topics.RESOLVED, topics.FINISHED)
_EARLY = (topics.DECIDED, topics.PROPOSED)


async def gather(log: Log, witness: Path | None, only: Collection[str] | None = None) -> Facts:
    """Read the log from its beginning, and the witness. `only` restricts it to some turn keys.

    Safe while services run: progress first, then from the ends of lives to their beginnings.
    """
    facts = Facts()
    taken = await consumption(log)
    for partition in range(log.partitions):
        async for record in log.scan(topics.DEADLETTERS.name, partition):
            _note_dead(facts, dict(record.headers))
    for topic in _LATE:
        await _read(log, topic.name, facts, taken)
    if witness is not None:
        _note_effects(facts, _content(witness))
    for topic in _EARLY:
        await _read(log, topic.name, facts, taken)
    for partition in range(log.partitions):
        async for record in log.scan(topics.TURNS.name, partition):
            _note_turn(facts, record, taken, log.partitions)
    return _restricted(facts, only) if only is not None else facts


async def _read(log: Log, topic: str, facts: Facts, taken: Consumption) -> None:
    for partition in range(log.partitions):
        async for record in log.scan(topic, partition):
            try:
                event = decode(record.value, record.headers).event
            except Undecodable as error:
                facts.undecodable.append(f"{topic}[{partition}]@{record.offset}: {error}")
                continue
            _note(facts, event, record.offset)
            _note_taken(facts, event, record, taken)


def _note_taken(facts: Facts, event: Event, record: Record, taken: Consumption) -> None:
    match event:
        case ActionProposed():
            ref = event.ref
            if taken.done("evaluator", record) and not taken.holds("evaluator", ref.id):
                facts.taken_proposals.add((ref.id, ref.revision, ref.attempt))
        case ActionDecided() if event.decision.verdict != "review":
            identifier = event.action.ref.id
            if taken.done("executor", record) and not taken.holds("executor", identifier):
                facts.taken_decisions.add(identifier)
        case _:
            return


def _note_turn(facts: Facts, record: Record, taken: Consumption, partitions: int) -> None:
    """Turns away from home are forwarded, and dead letters keep what they hold: neither is dealt with here."""
    try:
        event = decode(record.value, record.headers).event
    except Undecodable:
        return
    if not isinstance(event, TurnRecorded) or (record.topic, record.partition, record.offset) in facts.dead:
        return
    origin = event.origin
    where = home(origin.tenant, origin.session, partitions)
    if where == record.partition and taken.done("proposer", record):
        facts.taken_turns.add(turn_key(where, origin.tenant, origin.session, origin.turn))


def _note(facts: Facts, event: Event, offset: int) -> None:
    match event:
        case ActionProposed():
            facts.action(event.ref.id).proposed.append(event)
        case ActionDecided():
            ref = event.action.ref
            facts.action(ref.id).decisions.append((ref.revision, event.decision))
            facts.action(ref.id).decided.append((ref.revision, ref.attempt))
        case ActionInDoubt():
            facts.action(event.action.ref.id).doubts.append((offset, event))
        case ActionFinished():
            facts.action(event.action.ref.id).ends.append((offset, event))
        case TurnCompleted():
            facts.turns.setdefault(event.turn_key, []).append(event)
        case ApprovalResolved():
            facts.resolved[event.approval_id] += 1
        case _:
            return


def _note_dead(facts: Facts, headers: dict[str, bytes]) -> None:
    place = (
        headers.get("callgate_topic", b"").decode(errors="replace"),
        int(headers.get("callgate_partition", b"-1")),
        int(headers.get("callgate_offset", b"-1")),
    )
    facts.dead[place] = headers.get("callgate_reason", b"").decode(errors="replace")


def _content(witness: Path) -> bytes:
    return witness.read_bytes() if witness.exists() else b""


def _note_effects(facts: Facts, content: bytes) -> None:
    for line in content.split(b"\n"):
        if not line:
            continue
        try:
            entry = orjson.loads(line)
            facts.action(entry["action_id"]).effects.append(int(entry["pid"]))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            facts.torn += 1


def _restricted(facts: Facts, only: Collection[str]) -> Facts:
    kept = {
        identifier: found
        for identifier, found in facts.actions.items()
        if any(event.ref.turn_key in only for event in found.proposed)
    }
    return Facts(
        actions=kept,
        turns={key: found for key, found in facts.turns.items() if key in only},
        resolved=facts.resolved,
        dead=facts.dead,
        undecodable=facts.undecodable,
        torn=facts.torn,
        taken_turns=facts.taken_turns & set(only),
        taken_proposals={each for each in facts.taken_proposals if each[0] in kept},
        taken_decisions={each for each in facts.taken_decisions if each in kept},
    )
