"""Keys, signed votes and id tokens for tests of who may vote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import msgspec
import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support.approval_values import NOW, vote

from callgate.approvers.binding import claims_of, nonce_of
from callgate.approvers.keys import ApproverKey, parse_keys
from callgate.approvers.signing import SigningKey, make_key
from callgate.approvers.token import VOTE_TYPE
from callgate.approvers.verification import Identities
from callgate.events.approvals import ApprovalVoted
from callgate.log.port import Record

LEE = make_key(("lee",))
SAM = make_key(("sam",))
PROVIDER = ec.generate_private_key(ec.SECP256R1())
PROVIDER_KEY: dict[str, Any] = {
    **jwt.algorithms.ECAlgorithm.to_jwk(PROVIDER.public_key(), as_dict=True),
    "kid": "idp-1",
    "use": "sig",
    "alg": "ES256",
}
IDENTITIES = Identities(issuer="https://id.example.com", client="callgate-votes")


def document(*keys: SigningKey, **changes: Any) -> bytes:
    """A JWKS of these keys, each with the changes."""
    return orjson.dumps({"keys": [{**key.public_jwk(), **changes} for key in keys]})


def key_file(folder: Path, *keys: SigningKey, **changes: Any) -> Path:
    """The same in a file."""
    path = folder / "approvers.jwks"
    beside = path.with_suffix(".new")
    beside.write_bytes(document(*keys, **changes))
    return beside.replace(path)


def known(*keys: SigningKey, **changes: Any) -> Mapping[str, ApproverKey]:
    """The same as it is read."""
    return parse_keys(document(*keys, **changes), "test")


def signed_vote(key: SigningKey = LEE, *, at: float = NOW, **changes: Any) -> ApprovalVoted:
    """The key owner's vote, with a signature that stands."""
    fields: dict[str, Any] = {"approver": key.approvers[0], **changes}
    return key.signed(vote(**fields), at)


def signed_as(
    claimed: ApprovalVoted, key: SigningKey = LEE, headers: Mapping[str, Any] | None = None, **claims: Any
) -> ApprovalVoted:
    """A vote with a signature that says something else; a claim that is None is left out."""
    said = {**claims_of(claimed), "iss": key.issuer, "aud": key.audience, "iat": int(NOW), "exp": int(NOW) + 600}
    payload = {name: value for name, value in {**said, **claims}.items() if value is not None}
    head = {"typ": VOTE_TYPE, "kid": key.kid, **(headers or {})}
    token = jwt.encode(payload, key.private, algorithm="EdDSA", headers=head)
    return with_signature(claimed, token)


def with_signature(unsigned: ApprovalVoted, token: str | None) -> ApprovalVoted:
    """The vote with this for its signature."""
    return msgspec.structs.replace(unsigned, signature=token)


def id_vote(claimed: ApprovalVoted | None = None, *, private: Any = PROVIDER, **claims: Any) -> ApprovalVoted:
    """A vote with an id token for it; a claim that is None is left out."""
    mine = claimed or vote(approver="lee@example.com")
    said = {
        "iss": IDENTITIES.issuer,
        "aud": IDENTITIES.client,
        "sub": "u-17",
        "email": "lee@example.com",
        "email_verified": True,
        "nonce": nonce_of(mine, "callgate"),
        "iat": int(NOW),
        "exp": int(NOW) + 3600,
    }
    payload = {name: value for name, value in {**said, **claims}.items() if value is not None}
    token = jwt.encode(payload, private, algorithm="ES256", headers={"kid": "idp-1"})
    return with_signature(mine, token)


def at_entrance(offset: int = 0, *, at: float = NOW) -> Record:
    """The record of a vote."""
    return Record("approvals.votes", 0, offset, None, b"", (), at)
