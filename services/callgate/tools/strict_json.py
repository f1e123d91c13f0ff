"""JSON read so that no two readers can understand it differently.

RFC 8259 leaves duplicate keys, numbers beyond 64 bits and lone surrogates to the reader: what a policy was shown would
then not be what the tool gets. Such text is refused. NaN and Infinity, which Python reads by default, are no JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import orjson

MAX_DEPTH = 100
"""Levels of nesting. Deeper text serves nobody and exhausts the stacks of readers."""

_LEAST, _MOST = -(2**63), 2**64 - 1
_SHOWN = 40


class NotStrict(ValueError):  # noqa: N818 - it is said of the text
    """The text is not JSON that everybody reads alike. The message may be shown to a model; it quotes only keys."""


def loads(raw: str | bytes) -> object:
    """The value in `raw`. Raises `NotStrict`, whatever the text is."""
    try:
        text = raw if isinstance(raw, str) else raw.decode()
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_float,
        )
        _limit_depth(value)
        # The value itself is read by orjson, which every later reader uses: the digest is then the same for all.
        return orjson.loads(text)
    except NotStrict:
        raise
    except RecursionError:
        raise NotStrict(_too_deep()) from None
    except json.JSONDecodeError as error:
        message = f"{error.msg} at line {error.lineno} column {error.colno}"
        raise NotStrict(message) from None
    except (ValueError, TypeError):
        message = "it holds text that is not valid Unicode"
        raise NotStrict(message) from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The hook sees the pairs before Python lets the last one win."""
    value = dict(pairs)
    if len(value) != len(pairs):
        message = f"the key {_repeated(pairs)[:_SHOWN]!r} occurs twice in one object"
        raise NotStrict(message)
    return value


def _repeated(pairs: list[tuple[str, object]]) -> str:
    """The first key that has occurred before. In one pass: there may be thousands, and everybody waits meanwhile."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        seen.add(name)
    raise AssertionError


def _constant(name: str) -> object:
    """Python's reader knows NaN and the infinities; JSON and every other reader do not."""
    message = f"{name} is not JSON"
    raise NotStrict(message)


def _integer(text: str) -> int:
    # int() itself refuses texts of thousands of digits, with a ValueError that says nothing to a model.
    if len(text) > len(str(_MOST)) + 1 or not _LEAST <= int(text) <= _MOST:
        message = "a whole number is beyond 64 bits; send it as a string"
        raise NotStrict(message)
    return int(text)


def _float(text: str) -> float:
    """A float beyond the range of doubles becomes infinite, which could not be written again."""
    number = float(text)
    if not math.isfinite(number):
        message = "a number is too large"
        raise NotStrict(message)
    return number


def _limit_depth(value: object) -> None:
    """Level by level, without recursion: the text is not trusted yet."""
    level = _containers([value])
    for _ in range(MAX_DEPTH):
        if not level:
            return
        level = _containers(
            child for parent in level for child in (parent.values() if isinstance(parent, dict) else parent)
        )
    if level:
        raise NotStrict(_too_deep())


def _containers(values: Iterable[object]) -> list[dict[str, object] | list[object]]:
    return [value for value in values if isinstance(value, (dict, list))]


def _too_deep() -> str:
    return f"it is nested deeper than {MAX_DEPTH} levels"
