"""What every event is: a frozen fact in the past tense, with a versioned type and a deterministic id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""A name that people or frameworks choose (tenant, session, agent, turn, tool): any characters, never none."""

# In Python a `$` also matches before a final line feed, which would then stand in a path: hence the look-ahead.
Identifier = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$(?!\n)")]
"""An id of ours, or one that is sent to BIGHUB: safe in a URL path."""

Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
"""A SHA-256 in hexadecimal."""

Seconds = float
"""A point in time (seconds since the epoch, UTC) or a duration; the field's name says which."""

if TYPE_CHECKING:
    OptionalRaw = msgspec.Raw | None
else:
    # msgspec decodes a union of Raw and None from null only. A plain Raw whose default is None takes every value, and
    # tells a JSON null (`Raw(b"null")`: the tool returned nothing) from an absent field (None: there is no output).
    OptionalRaw = msgspec.Raw
"""Undecoded JSON, or None where the field is absent."""


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The root of every event. Readers ignore unknown fields and refuse unknown types and versions."""

    TYPE: ClassVar[str] = ""

    def identity(self) -> str:
        """The event's id: the same fact written twice has the same one."""
        raise NotImplementedError


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A value inside an event that is not an event itself."""
