"""What stands in `state.<group>`: a lease's table, its progress, and who owns it. Pure.

The topic is compacted, so that its latest record of each key is the state. Keys begin with one letter that says which
of the three a record is.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from callgate.log.port import Progress

_TABLE, _PROGRESS, _OWNER = b"t", b"p", b"o"
_OWNER_KEY = _OWNER
_PLAIN, _DEFLATED = b"\x00", b"\x01"

_DEFLATE_BYTES = 256
"""Runs beyond this size are compressed: below it the effort costs more than it saves."""


class UnreadableState(Exception):  # noqa: N818 - named for what it is
    """A record of the state can't be understood: written by a newer Callgate, or by somebody else."""


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """Who holds a lease, or held it last."""

    epoch: int
    member: str
    released: bool = False
    """Whether the holder has given it back: nothing of it is under way any more."""


class _At(msgspec.Struct, frozen=True, array_like=True):
    next_offset: int
    runs: bytes


@dataclass(slots=True)
class State:
    """A lease's state, as far as it has been read."""

    table: dict[str, bytes] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    owner: Owner | None = None

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take in one record of the state topic. Raises UnreadableState."""
        kind, name = (key or b"")[:1], (key or b"")[1:]
        try:
            if kind == _TABLE:
                if value is None:
                    self.table.pop(name.decode(), None)
                else:
                    self.table[name.decode()] = value
            elif kind == _PROGRESS and value is not None:
                self.progress[name.decode()] = decoded_progress(value)
            elif key == _OWNER_KEY and value is not None:
                self.owner = msgspec.msgpack.decode(value, type=Owner)
            else:
                raise UnreadableState(f"a record with the key {key!r} is no part of a state")
        except (UnicodeDecodeError, msgspec.MsgspecError, zlib.error) as error:
            raise UnreadableState(f"the record with the key {key!r} can't be read") from error


def records(puts: Mapping[str, bytes | None], progress: Mapping[str, Progress]) -> Iterable[tuple[bytes, bytes | None]]:
    """A unit's changes as keys and values."""
    for key, value in puts.items():
        yield _TABLE + key.encode(), value
    for topic, at in progress.items():
        yield _PROGRESS + topic.encode(), encoded_progress(at)


def ownership(owner: Owner) -> tuple[bytes, bytes]:
    """The record that says who holds the lease."""
    return _OWNER_KEY, msgspec.msgpack.encode(owner)


def encoded_progress(at: Progress) -> bytes:
    """Progress as bytes. Runs are written as their distances, which compress well."""
    distances: list[int] = []
    last = at.next_offset
    for start, end in at.done:
        distances += (start - last, end - start)
        last = end
    runs = msgspec.msgpack.encode(distances)
    runs = _DEFLATED + zlib.compress(runs, 1) if len(runs) > _DEFLATE_BYTES else _PLAIN + runs
    return msgspec.msgpack.encode(_At(at.next_offset, runs))


def decoded_progress(value: bytes) -> Progress:
    """The opposite. Raises MsgspecError and zlib.error."""
    at = msgspec.msgpack.decode(value, type=_At)
    kind, runs = at.runs[:1], at.runs[1:]
    distances = msgspec.msgpack.decode(zlib.decompress(runs) if kind == _DEFLATED else runs, type=list[int])
    done: list[tuple[int, int]] = []
    last = at.next_offset
    for gap, length in zip(distances[::2], distances[1::2], strict=True):
        done.append((last + gap, last + gap + length))
        last += gap + length
    return Progress(at.next_offset, tuple(done))
