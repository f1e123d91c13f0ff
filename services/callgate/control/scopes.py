"""Which switches apply to an action: the scope ladder. Pure.

A scope is a set of fields (tenant, agent, tool, domain); it covers an action that agrees with every field it sets. A
stop or hold of any scope that covers the action applies: narrower scopes add, they never lift a wider one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from callgate.events.control import ControlChanged

UNREADABLE = "the control topic can't be read, which counts as stopped"
"""The reason given while nobody can know what the switches say."""

UNCLEAR = "a record of control can't be understood: hold everything and lift that again to go on without it"
"""The reason given while a record may be a stop in the words of a newer version. It holds, and kills nothing."""


class Subject(msgspec.Struct, frozen=True):
    """What of an action a scope looks at."""

    tenant: str
    agent: str
    tool: str
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class Switches:
    """Every switch and hold in force up to an epoch."""

    active: Mapping[str, ControlChanged] = field(default_factory=dict)
    """By scope key (`ControlChanged.scope`)."""
    epoch: int = -1
    """Offset of the last record of `control` that is taken into account; -1 where there is none."""
    readable: bool = True
    unclear: frozenset[bytes | None] = frozenset()
    """Keys of records that could not be understood, until one that can follows under the key or over everything."""

    def apply(self, change: ControlChanged, offset: int) -> Switches:
        """The switches after one more record. A record that was applied before changes nothing."""
        if offset <= self.epoch:
            return self
        active = dict(self.active)
        if change.active and change.kind != "partitions":
            active[change.scope()] = change
        else:
            active.pop(change.scope(), None)
        # Who speaks about everything has looked at everything: it is the way out of a record that nobody can read.
        wide = change.kind != "partitions" and covers(change, None)
        unclear = frozenset[bytes | None]() if wide else self.unclear - {change.scope().encode()}
        return Switches(active, offset, self.readable, unclear)

    def misread(self, key: bytes | None, offset: int) -> Switches:
        """The switches after a record that can't be understood: unknown is never a yes, so everything is held."""
        if offset <= self.epoch:
            return self
        return Switches(self.active, offset, self.readable, self.unclear | {key})

    def stopped(self, subject: Subject) -> str | None:
        """Why nothing of this kind may start and what waits is killed, or None."""
        return UNREADABLE if not self.readable else self._reason("stop", subject)

    def held(self, subject: Subject) -> str | None:
        """Why nothing of this kind may start for now, or None."""
        return UNCLEAR if self.unclear else self._reason("hold", subject)

    def _reason(self, kind: Literal["stop", "hold"], subject: Subject) -> str | None:
        for change in self.active.values():
            if change.kind == kind and covers(change, subject):
                return change.reason or f"{kind} by {change.changed_by}"
        return None


def covers(change: ControlChanged, subject: Subject | None) -> bool:
    """Whether a change's scope takes in the subject; None stands for everything that there is."""
    scope = (change.tenant, change.agent, change.tool, change.domain)
    if subject is None:
        return scope == (None,) * len(scope)
    values = (subject.tenant, subject.agent, subject.tool, subject.domain)
    return all(wanted is None or wanted == value for wanted, value in zip(scope, values, strict=True))
