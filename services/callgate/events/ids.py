"""Deterministic ids: the same facts give the same id in every process, so a repeat is recognised as one.

Every id matches `ID_PATTERN`, because the BIGHUB SDK puts ids into paths unescaped. An id is a kind, the partition
that its owner lives on, and a hash: `act_003_5k2…`; so a reader of an id alone knows where to write.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""What every id in Callgate and every id that is sent to BIGHUB must match in full."""

_PARTS = 3
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _LETTERS for second in _LETTERS]
_KEPT = 8192


def fingerprint(*parts: str | int) -> str:
    """120 bits of SHA-256 over length-prefixed parts, as 24 lower-case letters and digits (base 32).

    Length prefixes make it injective: `("a", "bc")` and `("ab", "c")` differ.
    """
    hashed = bytearray()
    for part in parts:
        raw = str(part).encode("utf-8", "surrogatepass")
        hashed += len(raw).to_bytes(8, "big")
        hashed += raw
    bits = int.from_bytes(hashlib.sha256(hashed).digest()[:15], "big")
    # Ten bits at a time: the library's base 32 is Python too, and took as long as the rest of handling an id.
    return "".join([_PAIRS[bits >> shift & 1023] for shift in range(110, -1, -10)])


def located(kind: str, partition: int, *parts: str | int) -> str:
    """An id of `kind` whose owner lives on `partition`."""
    return f"{kind}_{partition:03d}_{fingerprint(*parts)}"


def partition_of(identifier: str) -> int | None:
    """The partition that an id carries, or None where the text is not an id of ours."""
    parts = identifier.split("_")
    if len(parts) != _PARTS or not is_id(identifier) or not (parts[1].isascii() and parts[1].isdigit()):
        return None
    return int(parts[1])


def short(identifier: str) -> str:
    """The first eight characters of the hash: what a person reads, types and pastes."""
    return identifier.rsplit("_", 1)[-1][:8]


def is_id(text: str) -> bool:
    """Whether `text` may be used as an id, also inside a URL path."""
    return ID_PATTERN.fullmatch(text) is not None


def turn_key(partition: int, tenant: str, session: str, turn: str) -> str:
    """The identity of a turn: what the agent named, under its tenant and session."""
    return located("trn", partition, tenant, session, turn)


def action_id(turn: str, round_: int, position: int, call_id: str) -> str:
    """The identity of a call: its turn key, round, position in the response, and the provider's call id.

    Neither the call id nor the arguments alone would do: providers reuse call ids within a run, and the same
    call with the same arguments recurs legitimately.
    """
    partition = partition_of(turn)
    if partition is None:
        message = f"not a turn key: {turn!r}"
        raise ValueError(message)
    return located("act", partition, turn, round_, position, call_id)


def approval_id(partition: int, action: str, revision: int, attempt: int, kind: str) -> str:
    """The identity of one question to people. `partition` is that of `approvals.ballots`."""
    return located("apr", partition, action, revision, attempt, kind)


@lru_cache(_KEPT)
def event_id(action: str, revision: int, stage: str, attempt: int = 0) -> str:
    """The identity of an event in an action's life: written twice, it is the same event.

    Remembered for a while, because one record asks for the same few ids again and again.
    """
    return f"evt_{fingerprint(action, revision, stage, attempt)}"
