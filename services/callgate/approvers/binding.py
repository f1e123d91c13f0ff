"""What a signature must say so that it stands for exactly one vote. Pure.

Every field of a vote is bound, also those that a later version adds: one that a signature did not cover could be
changed on the way. JSON inside a vote is bound by its bytes as they stand in the record, so that nobody needs a
canonical form of it and no two parsers can differ about it.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode

import msgspec

from callgate.events.approvals import ApprovalVoted
from callgate.events.digest import canonical

_RENAMED = {"approver": "sub", "vote_id": "jti"}
_HASHED = "_sha256"
_BLANK = b" \t\r\n"


def claims_of(vote: ApprovalVoted) -> dict[str, object]:
    """The claims that speak of the vote, without those of whoever signs it. What the vote leaves out is left out."""
    claims: dict[str, object] = {}
    for name in ApprovalVoted.__struct_fields__:
        value = getattr(vote, name)
        if name == "signature" or value is None:
            continue
        if isinstance(value, msgspec.Raw):
            claims[f"{name}{_HASHED}"] = hashlib.sha256(bytes(value).strip(_BLANK)).hexdigest()
        else:
            claims[_RENAMED.get(name, name)] = value
    return claims


def difference(vote: ApprovalVoted, claims: dict[str, object]) -> str | None:
    """The first claim, by name, in which a signature speaks of another vote than this; None where it is this one."""
    wanted = claims_of(vote)
    for name in _NAMES:
        if claims.get(name) != wanted.get(name):
            return name
    return None


def nonce_of(vote: ApprovalVoted, audience: str) -> str:
    """The nonce with which a voter must have signed in for an id token to stand for this vote.

    Base64url, without padding, of the SHA-256 of the claims and `aud`, as JSON with sorted keys and no blanks.
    """
    content = canonical({**claims_of(vote), "aud": audience})
    return urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _names() -> tuple[str, ...]:
    """Every claim that could speak of a vote: also one that says more than the vote does is a difference."""
    names: list[str] = []
    for name in ApprovalVoted.__struct_fields__:
        if name != "signature":
            names += [_RENAMED.get(name, name), f"{name}{_HASHED}"]
    return tuple(names)


_NAMES = _names()
