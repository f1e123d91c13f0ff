"""From the log to the reading model: which topics are read for what, and nothing more than is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

from callgate.cli.views import ActionLife, Question, Step, fold_actions, fold_questions, subjects
from callgate.events import ids, topics
from callgate.events.approvals import ApprovalRequested
from callgate.events.codec import Undecodable, decode
from callgate.events.topics import Topic
from callgate.log.port import Log, Record

_LIFE = (topics.PROPOSED, topics.DECIDED, topics.FINISHED)


async def read(
    log: Log,
    names: Sequence[Topic],
    partitions: Iterable[int] | None = None,
    wanted: Callable[[Record], bool] = lambda _: True,
    about: frozenset[str] | None = None,
) -> list[Step]:
    """Every event of some topics that can be read, with its place.

    `wanted` looks before anything is decoded; `about` keeps only what tells of one of these subjects.
    """
    steps: list[Step] = []
    for topic in names:
        numbers = range(log.partitions) if partitions is None else partitions
        for partition in (0,) if topic.spread == "single" else numbers:
            async for record in log.scan(topic.name, partition):
                step = _step(record, topic) if wanted(record) else None
                if step is not None and (about is None or about & subjects(step.event, log.partitions)):
                    steps.append(step)
    return steps


async def all_actions(log: Log) -> dict[str, ActionLife]:
    """Every action on the log."""
    from callgate.cli.play.custody import parked_actions

    return fold_actions(await read(log, _LIFE), await parked_actions(log))


async def one_action(log: Log, identifier: str) -> ActionLife | None:
    """An action by its full id: only its home is read."""
    at = ids.partition_of(identifier)
    if at is None or at >= log.partitions:
        return None
    steps = await read(log, _LIFE, [at], _mentions({identifier}))
    return fold_actions(steps).get(identifier)


async def all_questions(log: Log) -> dict[str, Question]:
    """Every question to people."""
    return fold_questions(await read(log, (topics.BALLOTS, topics.RESOLVED)))


async def one_question(log: Log, approval_id: str) -> Question | None:
    """A question by its full id, with its votes and its end."""
    at = ids.partition_of(approval_id)
    asked = await read(log, (topics.BALLOTS,), None if at is None else [at], _mentions({approval_id}))
    resolved = await read(log, (topics.RESOLVED,), None, _mentions({approval_id}))
    return fold_questions([*asked, *resolved]).get(approval_id)


async def life_of(log: Log, life: ActionLife) -> list[Step]:
    """Every step that the log holds of one action, on every topic."""
    ref, decided = life.proposed.ref, life.decided
    at = ids.partition_of(ref.id)
    homes = None if at is None else [at]
    asked = await read(log, (topics.BALLOTS,), None, _mentions({ref.id}))
    approvals = {step.event.approval_id for step in asked if isinstance(step.event, ApprovalRequested)}
    request = decided.decision.request_id if decided is not None else None
    about = frozenset({ref.id, ref.turn_key, *approvals, *([request] if request else [])})
    found = await read(log, (*_LIFE, topics.RESOLVED, topics.REPLIES), homes, _mentions(about), about)
    elsewhere = (topics.BALLOTS, topics.VOTES, topics.EFFECTS, topics.OBSERVED)
    found += await read(log, elsewhere, None, _mentions(about), about)
    # A turn names no id of ours: its key is computed from what it says of itself.
    return found + await read(log, (topics.TURNS,), None, about=about)


def _step(record: Record, topic: Topic) -> Step | None:
    """None for what can't be read: a service makes a dead letter of it, and `deadletters list` shows that."""
    try:
        envelope = decode(record.value, record.headers)
    except Undecodable:
        return None
    if not isinstance(envelope.event, topic.events):
        return None
    at = record.timestamp if topic.entrance or not envelope.time else envelope.time
    return Step(record.topic, record.partition, record.offset, at, envelope.event)


def _mentions(names: AbstractSet[str]) -> Callable[[Record], bool]:
    """Ids hold no character that JSON escapes, so an event about one holds its bytes."""
    needles = [name.encode() for name in names]
    return lambda record: record.value is not None and any(needle in record.value for needle in needles)
