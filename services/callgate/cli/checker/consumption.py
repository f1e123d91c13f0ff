"""What services say that they are done with, and what they still hold: whatever is in neither must have had its effect.

Progress is read before anything else. So whatever a service was done with then has left its outputs on the log by the
time that the topics are read, also while the services go on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from callgate.log.port import Log, Progress, Record

GROUPS = ("proposer", "evaluator", "executor")
_ACTION = re.compile(rb"act_\d{3}_[a-z2-7]{24}")
_PARKED = "~park/"
_STANDINGS = ("act/", "eff/")


@dataclass(frozen=True, slots=True)
class Consumption:
    """What the services were done with, and what they held, before the topics were read."""

    progress: Mapping[tuple[str, str, int], Progress] = field(default_factory=dict)
    """By group, topic and partition."""
    held: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By group, the actions that it has put aside or has under way."""

    def done(self, group: str, record: Record) -> bool:
        """Whether the group is done with a record."""
        at = self.progress.get((group, record.topic, record.partition))
        return at is not None and at.covers(record.offset)

    def holds(self, group: str, action_id: str) -> bool:
        """Whether the group has an action in its keeping."""
        return action_id in self.held.get(group, frozenset())


async def consumption(log: Log) -> Consumption:
    """Read it from the groups' own state."""
    progress = {(group, *place): at for group in GROUPS for place, at in (await log.progress(group)).items()}
    held = {group: await _held(log, group) for group in GROUPS}
    return Consumption(progress, held)


async def _held(log: Log, group: str) -> frozenset[str]:
    found: set[str] = set()
    async for _, key, value in log.tables(group):
        if key.startswith(_PARKED):
            found.update(match.decode() for match in _ACTION.findall(value))
        elif group == "executor" and key.startswith(_STANDINGS) and not _ended(value):
            found.add(key.partition("/")[2])
    return frozenset(found)


def _ended(standing: bytes) -> bool:
    """Whether the executor believes that an action has ended, and so holds it no more."""
    try:
        return bool(orjson.loads(standing).get("state") == "finished")
    except (orjson.JSONDecodeError, AttributeError):
        return False
