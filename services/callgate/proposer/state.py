"""What the proposer remembers of a turn, by its key, in the lease's table.

    turn/<key>             the turn's identity and how many of its calls have ended; kept for the identity window
    response/<key>         the model's response, until the turn is completed
    end/<key>/<position>   the answer to one call, until the turn is completed

One entry per call, because rewriting one entry for each of a hundred ends would cost the square of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from callgate.events import ids
from callgate.events.event import OptionalRaw
from callgate.events.turns import ResponseFormat, TurnOrigin
from callgate.worker.effects import Table

S = TypeVar("S", bound=msgspec.Struct)


class TurnEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A turn that has been read."""

    tenant: str
    session: str
    turn: str
    agent: str
    format: ResponseFormat
    content: str
    """Fingerprint of what was submitted: the same turn id with other content is refused."""
    count: int
    """How many calls it has."""
    ended: int = 0
    refused: bool = False
    reason: str | None = None
    callers: Mapping[int, msgspec.Raw] = {}
    """By position: the program of the model that made the call."""

    @property
    def completed(self) -> bool:
        """Whether `TurnCompleted` has been said."""
        return self.ended >= self.count


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed once more when the turn is completed."""

    response: msgspec.Raw
    recorded: msgspec.Raw
    """The list of the execution events of what the provider carried out."""


class End(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a call came to."""

    event: msgspec.Raw
    item: OptionalRaw = None


def turn_name(key: str) -> str:
    """The table key of a turn, which is also the key of the timer that forgets it."""
    return f"turn/{key}"


def key_of(timer: str) -> str:
    """The turn key in a timer's key."""
    return timer.removeprefix("turn/")


def response_name(key: str) -> str:
    """The table key of a turn's response."""
    return f"response/{key}"


def end_name(key: str, position: int) -> str:
    """The table key of one call's answer. Keys sort as text, so positions have leading zeros."""
    return f"end/{key}/{position:08d}"


def ends_prefix(key: str) -> str:
    """What the table keys of all answers of a turn begin with."""
    return f"end/{key}/"


def load(table: Table, name: str, kind: type[S]) -> S | None:
    """The entry under `name`, or None."""
    raw = table.get(name)
    return None if raw is None else msgspec.json.decode(raw, type=kind)


def dump(entry: msgspec.Struct) -> bytes:
    """An entry as the table keeps it."""
    return msgspec.json.encode(entry)


def lane_of(tenant: str, session: str) -> str:
    """The session's lane. Injective: two tenants with a session of one name never wait for each other."""
    return f"{len(tenant)}:{tenant}/{session}"


def content_of(origin: TurnOrigin, format_: str, response: bytes) -> str:
    """Fingerprint of what counts as the content of a turn: who asks, and the response, however it is spaced."""
    try:
        compact = msgspec.json.format(response, indent=-1).decode()
    except (msgspec.DecodeError, ValueError):
        compact = response.decode("utf-8", "backslashreplace")
    return ids.fingerprint(origin.agent, origin.requester or "", format_, compact)
