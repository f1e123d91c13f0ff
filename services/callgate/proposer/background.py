"""An answer that the provider makes in the background: what is kept of it, and when it is looked at again. Pure."""

from __future__ import annotations

import msgspec

from callgate.events import ids

_SLOWEST_SECONDS = 30.0
_PART = 10


class _Standing(msgspec.Struct):
    id: str = ""
    status: str | None = None


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
