"""What a handler is given and what it returns.

A handler never publishes, commits, sleeps for a retry or writes to its table: it returns `Effects`, and the worker
makes them visible in one unit with the progress of the record that caused them. So a handler can't forget to commit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Protocol

import msgspec

from callgate.clock import Clock
from callgate.events.codec import Envelope
from callgate.events.event import Event
from callgate.events.routing import Address
from callgate.log.port import Record


class Publish(msgspec.Struct, frozen=True):
    """An event to be written. Its address is computed (`events.routing`) unless one is given."""

    event: Event
    address: Address | None = None


class Timer(msgspec.Struct, frozen=True):
    """A durable wake-up: `handler.on_timer` is called in `lane` at or after `due`, once per setting of `key`.

    It moves with the lease's state, and fires only after the lease has passed the end offsets of its claim. Setting
    a key again replaces its time.
    """

    key: str
    lane: str
    due: float
    """Wall time, seconds since the epoch."""
    tenant: str = ""
    """Whose share of the worker serving it uses; empty for what is quick, and then nobody's."""


class DeadLettered(msgspec.Struct, frozen=True):
    """A record, or a part of it, that the handler gives up on while it goes on with the rest."""

    reason: str


class Effects(msgspec.Struct, frozen=True):
    """Everything that becomes visible together when a handler, or one stage of it, is done."""

    publish: tuple[Publish, ...] = ()
    put: Mapping[str, bytes | None] = msgspec.field(default_factory=dict)
    """Changes to the lease's table by key; None deletes. Visible to later work of the lease at once."""
    timers: tuple[Timer, ...] = ()
    cancel: tuple[str, ...] = ()
    """Keys of timers that are no longer wanted."""
    dead: DeadLettered | None = None
    """The record itself goes to the dead letters, in the same unit as the rest."""
    then: Callable[[], Awaitable[Effects]] | None = None
    """The next stage: called in the same lane once this stage is committed, and not at all if it is not.

    The record counts as done only with the last stage; a crash between stages delivers it again.
    """


NOTHING = Effects()
"""For a record that needs nothing done: it only counts as done."""


class Table(Protocol):
    """The living table of a lease: what was restored, with every accepted change. Keys sort as text."""

    def get(self, key: str) -> bytes | None:
        """The value, or None."""
        ...

    def items(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """The entries whose keys begin with `prefix`, in the order of their keys, as a snapshot."""
        ...


class Context(msgspec.Struct, frozen=True):
    """What a handler may look at while it works on one record or timer."""

    table: Table
    clock: Clock
    partitions: int
    lease: int
    """The lease's partition number."""
    epoch: int
    """The lease's fencing token."""
    attempt: int
    """0 at first; rises with each retry of this record, also over parking and restarts."""
    first_tried: float
    """Wall time of the first attempt at this record, also over parking and restarts."""
    delivered: Record | None
    """The record itself; None for a timer."""
    held: Callable[[], Awaitable[bool]]
    """Asks whether the lease is still ours: the last check before an effect."""
    remaining: Callable[[], float | None]
    """Seconds left before the worker must have given the lease back, or None while nobody asks for it."""


class Handler(Protocol):
    """One service's logic. Raises `TemporaryFailure` (retried in its lane, then parked) or `PermanentFailure`.

    Anything else that it raises is a defect: the record becomes a dead letter that names the exception's class. A
    handler is delivered every record at least once, perhaps twice, and must return the same effects, or none, for a
    repeat.
    """

    def lane(self, event: Event, record: Record) -> str:
        """The key within which records are handled one at a time and in order. Pure and quick."""
        ...

    def tenant(self, event: Event) -> str:
        """Whose share of the worker the record uses. Pure and quick."""
        ...

    async def handle(self, envelope: Envelope, context: Context) -> Effects:
        """The effects of one record."""
        ...

    async def on_timer(self, key: str, context: Context) -> Effects:
        """The effects of a timer that has come due. The timer is gone when they are committed."""
        ...

    async def on_dead(self, envelope: Envelope, context: Context, reason: str) -> Effects:
        """What else must happen when a record is given up, so that no action or turn hangs. Must not fail."""
        ...
