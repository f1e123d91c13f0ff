"""Sensitive values are masked wherever arguments leave the process for eyes: BIGHUB, the command line, messages.

Names are compared without case and separators, so `apiKey`, `api_key` and `API-Key` are one name. Besides what a tool
declares, names that mean a secret nearly everywhere are always masked; a false alarm costs a star, a miss a password.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

MASK = "***"
"""What stands in place of a sensitive value, whatever its type."""

SCRUB_LEAST = 3
"""Characters of the shortest value that is looked for in a text: as many as the code on a card has."""

_DEPTH = 200
_REMEMBERED_LENGTH = 100
_SEPARATORS = re.compile(r"[^0-9a-z]+")
_EXACT = frozenset({"auth", "bearer", "cookie", "cookies", "credential", "credentials", "cvc", "cvv", "pin", "jwt"})
_INSIDE = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "authorization",
    "creditcardnumber",
    "cardnumber",
)
_AT_END = ("token", "credentials", "cookie", "signingkey", "encryptionkey")


def mask(value: Any, sensitive: Collection[str] = ()) -> Any:
    """A copy of decoded JSON in which the values under sensitive names are `MASK`, at any depth.

    What lies deeper than any sane nesting is masked whole: it can't be looked through.
    """
    return _masked(value, _declared(tuple(sensitive)), 0)


def is_sensitive(name: str, sensitive: Collection[str] = ()) -> bool:
    """Whether a value under `name` is masked."""
    return _sensitive(name, _declared(tuple(sensitive)))


def unmasked(value: Any, before: Any) -> Any:
    """What came back from where arguments were shown masked, with what was there before in the place of each mask.

    None where a mask stands for nothing that there was: nobody knows what is meant.
    """
    found = _restored(value, before)
    return None if _holds_mask(found) else found


def _restored(value: Any, before: Any) -> Any:
    if value == MASK:
        return MASK if before is None else before
    if isinstance(value, dict) and isinstance(before, dict):
        return {name: _restored(child, before.get(name)) for name, child in value.items()}
    if isinstance(value, list) and isinstance(before, list) and len(value) == len(before):
        return [_restored(*pair) for pair in zip(value, before, strict=True)]
    return value


def _holds_mask(value: Any, depth: int = 0) -> bool:
    """Also where it lies deeper than can be looked through."""
    if isinstance(value, dict | list):
        children = value.values() if isinstance(value, dict) else value
        return depth > _DEPTH or any(_holds_mask(child, depth + 1) for child in children)
    return bool(value == MASK)


def scrubbed(text: str, arguments: Any, sensitive: Collection[str] = ()) -> str:
    """The text without any value that `mask` would hide in these arguments, as it is or as Python and JSON write it.

    Values of less than `SCRUB_LEAST` characters stay: they stand in every text, and say nothing there.
    """
    found: set[str] = set()
    for value in _hidden(arguments, _declared(tuple(sensitive)), 0):
        said = value if isinstance(value, str) else json.dumps(value)
        found |= {said, repr(said)[1:-1], json.dumps(said)[1:-1], json.dumps(said, ensure_ascii=False)[1:-1]}
    for each in sorted(found, key=len, reverse=True):
        if len(each) >= SCRUB_LEAST:
            text = text.replace(each, MASK)
    return text


def _hidden(value: Any, declared: frozenset[str], depth: int, *, within: bool = False) -> Iterator[Any]:
    """The leaves under sensitive names."""
    if depth > _DEPTH:
        return
    if isinstance(value, dict):
        for name, child in value.items():
            yield from _hidden(child, declared, depth + 1, within=within or _sensitive(str(name), declared))
    elif isinstance(value, list):
        for child in value:
            yield from _hidden(child, declared, depth + 1, within=within)
    elif within and not isinstance(value, bool) and value is not None:
        yield value


def _masked(value: Any, declared: frozenset[str], depth: int) -> Any:
    """Rebuilt on the way down: what is masked is never copied."""
    if depth > _DEPTH:
        return MASK
    if isinstance(value, dict):
        return {
            name: MASK if _sensitive(str(name), declared) else _masked(child, declared, depth + 1)
            for name, child in value.items()
        }
    if isinstance(value, list):
        return [_masked(child, declared, depth + 1) for child in value]
    return value


def _sensitive(name: str, declared: frozenset[str]) -> bool:
    # Tools have few names, which come with every call; a long one is nobody's, and must not fill the memory.
    return _remembered(name, declared) if len(name) <= _REMEMBERED_LENGTH else _known(_plain(name), declared)


@lru_cache(4096)
def _remembered(name: str, declared: frozenset[str]) -> bool:
    return _known(_plain(name), declared)


@lru_cache(1024)
def _declared(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(_plain(name) for name in names)


def _known(plain: str, declared: frozenset[str]) -> bool:
    """Declared, or known: whole words that are short, endings, and fragments that mean nothing else."""
    return (
        plain in declared
        or plain in _EXACT
        or plain.endswith(_AT_END)
        or any(fragment in plain for fragment in _INSIDE)
    )


def _plain(name: str) -> str:
    # A name made only of other letters or signs stays as it is, or all such names would be one.
    return _SEPARATORS.sub("", name.casefold()) or name.casefold()
