"""Times as BIGHUB writes them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(seconds: float) -> str:
    """ISO 8601 in UTC, from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
