"""What the proposer remembers of a turn, by its key, in the lease's table.

    turn/<key>             the turn's identity and how many of its calls have ended; kept for the identity window
    asked/<key>            what the agent asked of the model, where it is run here, until the turn is completed
    response/<key>         the model's response, until the turn is completed; of later rounds response/<key>/r<round>
    end/<key>/<position>   the answer to one call, until the turn is completed; of later rounds
                           end/<key>/r<round>/<position>

One entry per call, because rewriting one entry for each of a hundred ends would cost the square of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

import msgspec

from callgate.events import ids
from callgate.events.event import OptionalRaw
from callgate.events.turns import ResponseFormat, TurnOrigin
from callgate.proposer.calls import Reading
from callgate.proposer.rounds import Usage
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
    open: bool = False
    """Whether the model is run for the turn, and has not said its last word."""
    round: int = 0
    """The round whose calls are counted here, or for which the model is being asked."""
    failure: Literal["failed", "incomplete"] | None = None
    """How the model's part ended, where it did not end well."""
    stream: bool = False
    """Whether the agent wants to hear of the steps."""
    tell: bool = False
    """Whether the model is told of calls that wait for a person, so that the turn needn't."""
    remote: str | None = None
    """The provider's id of the answer that it makes in the background for this round."""
    remote_since: float = 0.0
    """When that was begun."""
    streamed: int = 0
    """The next number in `replies.stream`."""

    @property
    def completed(self) -> bool:
        """Whether `TurnCompleted` has been said."""
        return self.ended >= self.count and not self.open

    @property
    def asking(self) -> bool:
        """Whether the next thing to happen to it is an answer of the model's."""
        return self.open and self.count == 0


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed once more when the turn is completed."""

    response: msgspec.Raw
    recorded: msgspec.Raw
    """The list of the execution events of what the provider carried out."""
    usage: Usage | None = None
    """The tokens of this answer, where the model was run here and told them."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A turn for which the model is run, as it was submitted."""

    origin: TurnOrigin
    model: str
    input: msgspec.Raw
    options: msgspec.Raw
    max_tool_rounds: int


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


def asked_name(key: str) -> str:
    """The table key of what was asked of the model, and the key of the timer that asks it."""
    return f"asked/{key}"


def key_asked(timer: str) -> str | None:
    """The turn key in the key of a timer that asks the model; None for other timers."""
    return timer.removeprefix("asked/") if timer.startswith("asked/") else None


def response_name(key: str, round_: int = 0) -> str:
    """The table key of the response of one round."""
    return f"response/{key}/r{round_:06d}" if round_ else f"response/{key}"


def end_name(key: str, position: int, round_: int = 0) -> str:
    """The table key of one call's answer. Keys sort as text, so numbers have leading zeros."""
    return f"{ends_prefix(key)}r{round_:06d}/{position:08d}" if round_ else f"{ends_prefix(key)}{position:08d}"


def ends_prefix(key: str) -> str:
    """What the table keys of all answers of a turn begin with; they sort by round and position."""
    return f"end/{key}/"


def load(table: Table, name: str, kind: type[S]) -> S | None:
    """The entry under `name`, or None."""
    raw = table.get(name)
    return None if raw is None else msgspec.json.decode(raw, type=kind)


def dump(entry: msgspec.Struct) -> bytes:
    """An entry as the table keeps it."""
    return msgspec.json.encode(entry)


def ask_lane(key: str) -> str:
    """The lane in which the model is asked for a turn: nothing else of the session waits behind a slow model."""
    return f"model/{key}"


def lane_of(tenant: str, session: str) -> str:
    """The session's lane. Injective: two tenants with a session of one name never wait for each other."""
    return f"{len(tenant)}:{tenant}/{session}"


def callers_of(reading: Reading) -> dict[int, msgspec.Raw]:
    """What `TurnEntry.callers` holds of an answer's calls."""
    callers = [(position, call.caller) for position, call in enumerate(reading.calls)]
    return {position: msgspec.Raw(msgspec.json.encode(caller)) for position, caller in callers if caller is not None}


def content_of(origin: TurnOrigin, format_: str, response: bytes) -> str:
    """Fingerprint of what counts as the content of a turn: who asks, and the response, however it is spaced."""
    try:
        compact = msgspec.json.format(response, indent=-1).decode()
    except (msgspec.DecodeError, ValueError):
        compact = response.decode("utf-8", "backslashreplace")
    return ids.fingerprint(origin.agent, origin.requester or "", format_, compact)
