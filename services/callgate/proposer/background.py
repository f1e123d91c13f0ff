"""An answer that the provider makes in the background: what is kept of it, and when it is looked at again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from callgate.events import ids

_SLOWEST_SECONDS = 30.0
_PART = 10
_ENDS = frozenset({"response.completed", "response.failed", "response.incomplete", "response.cancelled"})


_TURN = "callgate_turn"
_METADATA_MOST = 16


class _Standing(msgspec.Struct):
    id: str = ""
    status: str | None = None


class _Notice(msgspec.Struct):
    type: str
    data: _Standing


class _Labelled(msgspec.Struct):
    metadata: dict[str, Any] | None = None


def labelled(body: Mapping[str, Any], turn_key: str) -> dict[str, Any]:
    """A request whose answer says which turn it is for, since a notice says no more than the answer's id.

    Where the agent's own metadata leaves no room it says nothing, and the answer is polled for.
    """
    given = body.get("metadata") or {}
    if not isinstance(given, dict) or len({**given, _TURN: ""}) > _METADATA_MOST:
        return dict(body)
    return {**body, "metadata": {**given, _TURN: turn_key}}


def turn_of(response: bytes) -> str | None:
    """The turn that an answer says it is for; None where it names none."""
    try:
        named = (msgspec.json.decode(response, type=_Labelled).metadata or {}).get(_TURN)
    except msgspec.DecodeError:
        return None
    return named if isinstance(named, str) and ids.is_id(named) else None


def ended(notice: bytes) -> str | None:
    """The id of the answer that a notice says has ended; None for a notice of something else."""
    try:
        read = msgspec.json.decode(notice, type=_Notice)
    except msgspec.DecodeError:
        return None
    return read.data.id if read.type in _ENDS and ids.is_id(read.data.id) else None


def running(response: bytes) -> str | None:
    """The id of an answer that is still being made; None for any other.

    Raises `ValueError` where that is none that can be asked for: an id stands in a path.
    """
    try:
        standing = msgspec.json.decode(response, type=_Standing)
    except msgspec.DecodeError:
        return None
    if standing.status not in ("queued", "in_progress"):
        return None
    if not ids.is_id(standing.id):
        raise ValueError
    return standing.id


def poll_after(elapsed: float, first: float) -> float:
    """Seconds until the next look: a tenth of the time that it has taken so far, within `first` and half a minute."""
    return max(first, min(_SLOWEST_SECONDS, elapsed / _PART))
