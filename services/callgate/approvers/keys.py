"""The approvers' public keys: a JWKS document whose keys say for whom they may sign. Pure.

Beside the members of RFC 7517 a key has `approvers` (the only names it may vote under), `issuer` (who signs with it)
and, once it is revoked, `revoked_at`. A person may have several keys at once: that is how one is replaced by another.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from callgate.failures import BadInput

BYTES_MOST = 1_000_000
"""A larger document is no set of keys."""

ISSUER = "callgate"
"""The issuer of keys that name none."""

_WAY_OUT = "See docs/approvals.md; `callgate approvers keygen` writes such keys"
_LENGTH = 32

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


@dataclass(frozen=True, slots=True)
class ApproverKey:
    """One public key, and what it may be used for."""

    kid: str
    public: Ed25519PublicKey
    approvers: tuple[str, ...]
    issuer: str
    revoked_at: float | None
    """Votes that the log appended at this moment or later are refused; None while it is good."""


class _Key(msgspec.Struct, frozen=True, kw_only=True):
    kid: Text
    crv: str
    x: str
    approvers: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=10_000)]
    issuer: Text = ISSUER
    revoked_at: str | None = None
    alg: str = "EdDSA"
    use: str = "sig"


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    keys: Annotated[tuple[msgspec.Raw, ...], msgspec.Meta(max_length=10_000)]


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    kty: str
    d: msgspec.Raw = msgspec.Raw(b"")


def parse_keys(content: bytes, source: str) -> Mapping[str, ApproverKey]:
    """The keys of a document by their kid. Raises BadInput that names `source` and the field in it.

    Keys of other kinds than Ed25519's (`kty` OKP) are passed over, as RFC 7517 asks: nobody can vote with them.
    """
    found: dict[str, ApproverKey] = {}
    try:
        document = msgspec.json.decode(content, type=_Document)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadInput(source, f"is no JWKS document ({error})", _WAY_OUT) from error
    for place, raw in enumerate(document.keys):
        where = f"{source}: keys[{place}]"
        try:
            kind = msgspec.json.decode(raw, type=_Kind)
            if bytes(kind.d):
                raise BadInput(f"{where}.d", "is a private key", "Take it out, and replace that key: others saw it")
            if kind.kty != "OKP":
                continue
            key = _key(msgspec.json.decode(raw, type=_Key), where)
        except msgspec.MsgspecError as error:
            raise BadInput(where, str(error), _WAY_OUT) from error
        if key.kid in found:
            raise BadInput(f"{where}.kid", "is the name of an earlier key too", "Give each key its own")
        found[key.kid] = key
    return found


def added(content: bytes | None, key: Mapping[str, Any], source: str) -> bytes:
    """The document with one public key more; None is no document yet. What else stands in it stays. Raises BadInput."""
    document = _plain(content, source) if content is not None else {"keys": []}
    document["keys"].append(dict(key))
    return _written(document, source)


def revoked(content: bytes, kid: str, at: float, source: str) -> bytes:
    """The document with a key revoked from a moment on, or from an earlier one if it says so. Raises BadInput."""
    document = _plain(content, source)
    for key in document["keys"]:
        if key.get("kid") == kid:
            before = _moment(key["revoked_at"], source) if "revoked_at" in key else at
            key["revoked_at"] = datetime.fromtimestamp(min(before, at), UTC).isoformat()
            return _written(document, source)
    raise BadInput("KID", f"{source} has no key {kid}", "`callgate approvers list` shows them")


def thumbprint(x: str) -> str:
    """The name of an Ed25519 key that follows from it alone (RFC 7638)."""
    content = orjson.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, option=orjson.OPT_SORT_KEYS)
    return urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def unpacked(text: str, where: str) -> bytes:
    """The 32 bytes of half an Ed25519 key. Raises BadInput, without showing them."""
    try:
        raw = b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(where, "is not base64url", _WAY_OUT) from error
    if len(raw) != _LENGTH:
        raise BadInput(where, f"is not {_LENGTH} bytes", _WAY_OUT)
    return raw


def _key(given: _Key, where: str) -> ApproverKey:
    if (given.crv, given.alg, given.use) != ("Ed25519", "EdDSA", "sig"):
        raise BadInput(where, "is no Ed25519 key for signatures", "Votes are signed with crv Ed25519 and alg EdDSA")
    revoked_at = None if given.revoked_at is None else _moment(given.revoked_at, f"{where}.revoked_at")
    public = Ed25519PublicKey.from_public_bytes(unpacked(given.x, f"{where}.x"))
    return ApproverKey(given.kid, public, given.approvers, given.issuer, revoked_at)


def _moment(text: object, where: str) -> float:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise BadInput(where, "is no moment", "Write it like 2026-11-21T12:00:00+00:00") from error
    if moment.tzinfo is None:
        raise BadInput(where, "names no time zone", "Write it like 2026-11-21T12:00:00+00:00")
    return moment.timestamp()


def _plain(content: bytes, source: str) -> dict[str, Any]:
    parse_keys(content, source)
    plain: dict[str, Any] = orjson.loads(content)
    return plain


def _written(document: Mapping[str, Any], source: str) -> bytes:
    content = orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"
    parse_keys(content, source)
    return content
