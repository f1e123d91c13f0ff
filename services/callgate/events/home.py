"""Where a session, an approval or an effect lives: a partition number that only Callgate computes.

Nothing internal depends on a producer's partitioner, because clients differ (librdkafka's default is not Java's).
The number of partitions never changes for a log in use: ids carry their home.
"""

from __future__ import annotations

_MASK = 0xFFFFFFFF
_SEED = 0x9747B28C
_MIX = 0x5BD1E995
_WORD = 4
_BYTE2 = 2
_BYTE3 = 3


def home(tenant: str, session: str, partitions: int) -> int:
    """The partition of everything that belongs to one session of one tenant."""
    return spread((tenant, session), partitions)


def spread(parts: tuple[str, ...], partitions: int) -> int:
    """A stable partition for a tuple of strings; distinct tuples never collapse into one key by joining."""
    key = b"".join(len(raw).to_bytes(4, "big") + raw for raw in (part.encode() for part in parts))
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 of Kafka's Java client, unsigned."""
    length = len(data)
    value = (_SEED ^ length) & _MASK
    whole = length - length % _WORD
    for start in range(0, whole, _WORD):
        word = int.from_bytes(data[start : start + _WORD], "little")
        word = (word * _MIX) & _MASK
        word ^= word >> 24
        word = (word * _MIX) & _MASK
        value = (value * _MIX) & _MASK
        value ^= word
    rest = data[whole:]
    if len(rest) >= _BYTE3:
        value ^= rest[2] << 16
    if len(rest) >= _BYTE2:
        value ^= rest[1] << 8
    if rest:
        value ^= rest[0]
        value = (value * _MIX) & _MASK
    value ^= value >> 13
    value = (value * _MIX) & _MASK
    return value ^ (value >> 15)
