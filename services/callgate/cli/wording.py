"""How things are said to people: times, durations and texts that come from strangers."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Any

import orjson

_MINUTE = 60.0
_HOUR = 3600.0
_DAY = 86_400.0
_FOUR_DIGITS = 0xFFFF
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of characters that steer a terminal or hide text: control, format (which turns the writing around), …"""


def visible(text: str) -> str:
    """The text with whatever would steer the reader's terminal, or hide from the reader, written out as an escape.

    Arguments come from a model that may be under attack, and a person decides by what is seen.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if unicodedata.category(each) not in _HIDDEN else _escape(each) for each in text)


def compact(value: Any, most: int = 400) -> str:
    """JSON on one line; cut, and saying so, where it is longer than `most` characters."""
    text = visible(orjson.dumps(value, default=str).decode())
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def moment(seconds: float | None) -> str:
    """A point in time in UTC, to the millisecond; a dash where there is none."""
    if seconds is None:
        return "-"
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
    except (ValueError, OverflowError, OSError):
        return "-"


def duration(seconds: float) -> str:
    """A length of time in the two units that matter."""
    size = abs(seconds)
    sign = "-" if seconds < 0 else ""
    if size < 1:
        return f"{sign}{size * 1000:.0f} ms"
    if size < _MINUTE:
        return f"{sign}{size:.0f} s"
    if size < _HOUR:
        return f"{sign}{int(size // _MINUTE)} min {int(size % _MINUTE)} s"
    if size < _DAY:
        return f"{sign}{int(size // _HOUR)} h {int(size % _HOUR // _MINUTE)} min"
    return f"{sign}{int(size // _DAY)} d {int(size % _DAY // _HOUR)} h"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= _FOUR_DIGITS else f"\\U{code:08x}"
