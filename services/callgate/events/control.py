"""What operators switch, and what the workers say that they have applied."""

from __future__ import annotations

from typing import ClassVar, Literal

from callgate.events import ids
from callgate.events.event import Event, Name, Seconds


class ControlChanged(Event, frozen=True, kw_only=True):
    """Signals that a switch or hold was set or lifted, or the number of partitions was recorded.

    Its offset in `control` is the epoch that workers acknowledge.
    """

    TYPE: ClassVar[str] = "callgate.control.changed.v1"

    kind: Literal["stop", "hold", "partitions"]
    """`stop`: nothing in scope starts and what waits is killed. `hold`: nothing in scope starts until lifted."""
    active: bool = True
    tenant: str | None = None
    """A scope is narrower with every field that is set; all unset is the whole fleet."""
    agent: str | None = None
    tool: str | None = None
    domain: str | None = None
    partitions: int | None = None
    """The one number of partitions of this log, with kind `partitions`."""
    reason: str = ""
    changed_by: Name
    changed_at: Seconds

    def scope(self) -> str:
        """The compaction key: one record per kind and scope stays."""
        fields = {"tenant": self.tenant, "agent": self.agent, "tool": self.tool, "domain": self.domain}
        named = [part for name, given in fields.items() if given is not None for part in (name, given)]
        return ids.fingerprint(self.kind, *named)

    def identity(self) -> str:
        """See `Event.identity`."""
        return f"evt_{ids.fingerprint('control', self.scope(), str(self.changed_at), self.changed_by, self.active)}"


class WorkerReported(Event, frozen=True, kw_only=True):
    """Signals who holds which leases of a service, and up to which epoch of `control` it has applied."""

    TYPE: ClassVar[str] = "callgate.worker.reported.v1"

    service: Name
    member: Name
    version: str
    leases: tuple[int, ...] = ()
    epoch: int
    """Offset of the last `control` record applied; -1 where there is none."""
    ready: bool
    reported_at: Seconds

    def identity(self) -> str:
        """See `Event.identity`."""
        return f"evt_{ids.fingerprint('worker', self.service, self.member, str(self.reported_at))}"
