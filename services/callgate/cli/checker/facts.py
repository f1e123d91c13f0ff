"""What the log and the witness say of each action: plain counts, gathered without believing any service.

Only the events and the log port are used: what the executor believes of itself is not asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from callgate.events import topics
from callgate.events.actions import ActionDecided, ActionFinished, ActionInDoubt, ActionProposed, Decision
from callgate.events.approvals import ApprovalResolved
from callgate.events.codec import Undecodable, decode
from callgate.events.event import Event
from callgate.events.turns import TurnCompleted
from callgate.log.port import Log


@dataclass(slots=True)
class ActionFacts:
    """Everything that the log and the witness hold about one action."""

    proposed: list[ActionProposed] = field(default_factory=list)
    decisions: list[tuple[int, Decision]] = field(default_factory=list)
    """With the revision that each was about."""
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

    def action(self, identifier: str) -> ActionFacts:
        """The facts of one action, empty if nothing was seen of it."""
        return self.actions.setdefault(identifier, ActionFacts())


_READ = (topics.PROPOSED, topics.DECIDED, topics.FINISHED, topics.RESOLVED, topics.REPLIES)


async def gather(log: Log, witness: Path | None, only: Collection[str] | None = None) -> Facts:
    """Read the log from its beginning, and the witness. `only` restricts it to some turn keys."""
    facts = Facts()
    for topic in _READ:
        for partition in range(log.partitions):
            async for record in log.scan(topic.name, partition):
                try:
                    event = decode(record.value, record.headers).event
                except Undecodable as error:
                    facts.undecodable.append(f"{topic.name}[{partition}]@{record.offset}: {error}")
                    continue
                _note(facts, event, record.offset)
    for partition in range(log.partitions):
        async for record in log.scan(topics.DEADLETTERS.name, partition):
            _note_dead(facts, dict(record.headers))
    if witness is not None:
        _note_effects(facts, _content(witness))
    return _restricted(facts, only) if only is not None else facts


def _note(facts: Facts, event: Event, offset: int) -> None:
    match event:
        case ActionProposed():
            facts.action(event.ref.id).proposed.append(event)
        case ActionDecided():
            facts.action(event.action.ref.id).decisions.append((event.action.ref.revision, event.decision))
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
        headers.get("callgate_origin_topic", b"").decode(errors="replace"),
        int(headers.get("callgate_origin_partition", b"-1")),
        int(headers.get("callgate_origin_offset", b"-1")),
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
    )
