"""A compact JWS from outside: looked at cheaply before anything is believed, then verified. Pure.

No algorithm is ever taken from the token: it must name one that its verifier expects, for a key of that kind.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt
import msgspec

BYTES_MOST = 16_384
"""Characters of a token. An id token of a large company with many groups has four thousand."""

HEADER_MOST = 1024
"""Characters of a token's first part."""

KID_MOST = 256
"""Characters of a key's name."""

VOTE_TYPE = "callgate-vote+jwt"
"""The `typ` of a signed vote: whatever else the same key has signed is no vote."""

FUTURE_SECONDS = 60.0
"""How far a signer's clock may be ahead of the log's. A token's end is taken as it is said, without any margin."""

_MOMENT_MOST = 1e12

_JWS = jwt.PyJWS()


class Refused(Exception):  # noqa: N818 - it is said of the vote
    """The token proves nothing. The message says why, without quoting it: it becomes part of the evidence."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a token says of itself, before anybody has looked whether it is true."""

    alg: str
    kid: str
    typ: str | None


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    # What else a header may offer (keys, addresses of keys) is never used, and what it calls critical is not known.
    alg: str
    kid: str
    typ: str | None = None
    crit: msgspec.Raw = msgspec.Raw(b"")


def header_of(token: str | None) -> Header:
    """The header of a token. Raises Refused. Costs no more than a few microseconds, whatever it is given."""
    if not token:
        raise Refused("the vote is not signed")
    if len(token) > BYTES_MOST:
        raise Refused("the signature is too long")
    first, dot, _ = token.partition(".")
    if not dot or len(first) > HEADER_MOST:
        raise Refused("the signature is no compact JWS")
    try:
        raw = b64decode(first + "=" * (-len(first) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(raw, type=_Header)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise Refused("the signature's header is not JSON with alg and kid") from error
    if not 0 < len(found.kid) <= KID_MOST or bytes(found.crit):
        raise Refused("the signature's header has no kid that could be a key's, or asks for what is not known")
    return Header(found.alg, found.kid, found.typ)


def verified(token: str, header: Header, key: Any, algorithms: Sequence[str]) -> dict[str, Any]:
    """The claims of a token that `key` has signed with one of `algorithms`. Raises Refused."""
    if header.alg not in algorithms:
        raise Refused(f"the signature's algorithm is none of {', '.join(algorithms)}")
    try:
        found = _JWS.decode_complete(token, key=key, algorithms=[header.alg])
        claims = msgspec.json.decode(found["payload"])
    except (jwt.PyJWTError, msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise Refused("the signature is not right") from error
    said = found["header"]
    if not isinstance(claims, dict) or (said.get("alg"), said.get("kid")) != (header.alg, header.kid):
        raise Refused("the signature holds no claims")
    return claims


def hold_times(claims: dict[str, Any], appended_at: float) -> None:
    """Raise Refused unless the log appended the vote while the token was good: `nbf`, `iat` <= then <= `exp`."""
    issued, ends, starts = (_moment(claims, name) for name in ("iat", "exp", "nbf"))
    if issued is None or ends is None:
        raise Refused("the signature has no iat or no exp")
    if max(issued, starts or issued) > appended_at + FUTURE_SECONDS:
        raise Refused("the signature is from the future")
    if appended_at > ends:
        raise Refused("the signature had expired when the vote came")


def names_audience(claims: dict[str, Any], audience: str) -> bool:
    """Whether `aud` is, or holds, this one."""
    said = claims.get("aud")
    return said == audience or (isinstance(said, list) and audience in said)


def _moment(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MOMENT_MOST:
        raise Refused(f"the signature's {name} is no time")
    return float(value)
