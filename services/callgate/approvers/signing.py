"""An approver's private key: made, kept in a file, and used to sign a vote. It is never shown."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from callgate.approvers.binding import claims_of
from callgate.approvers.keys import BYTES_MOST, ISSUER, Text, thumbprint, unpacked
from callgate.approvers.token import VOTE_TYPE
from callgate.events.approvals import ApprovalVoted
from callgate.failures import BadInput

SIGNATURE_SECONDS = 3600.0
"""How long after it was signed a vote may reach the log."""

AUDIENCE = "callgate"
"""The installation that a key's votes are for, where nobody has given it a name of its own."""

_WAY_OUT = "Name a file that `callgate approvers keygen` has written"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, and what is signed with it: for whom, as which issuer, to which installation."""

    kid: str
    approvers: tuple[str, ...]
    issuer: str
    audience: str
    private: Ed25519PrivateKey = field(repr=False)

    def public_jwk(self) -> dict[str, Any]:
        """What others need to verify its signatures, as it stands in the JWKS document."""
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": _packed(self.private.public_key().public_bytes_raw()),
            "kid": self.kid,
            "use": "sig",
            "alg": "EdDSA",
            "issuer": self.issuer,
            "approvers": list(self.approvers),
        }

    def private_jwk(self) -> dict[str, Any]:
        """All of it: for the file of whoever votes, and for nothing else."""
        return {**self.public_jwk(), "audience": self.audience, "d": _packed(self.private.private_bytes_raw())}

    def signed(self, vote: ApprovalVoted, now: float) -> ApprovalVoted:
        """The vote with its signature. Raises BadInput where the key is not the voter's.

        Sign last: a field that is changed afterwards makes another vote, for which the signature does not stand.
        """
        if vote.approver not in self.approvers:
            names = ", ".join(self.approvers)
            raise BadInput("approver", f"the key can't sign for {vote.approver}", f"It signs for {names}")
        claims = {
            **claims_of(vote),
            "iss": self.issuer,
            "aud": self.audience,
            "iat": int(now),
            "exp": int(now + SIGNATURE_SECONDS),
        }
        token = jwt.encode(claims, self.private, algorithm="EdDSA", headers={"typ": VOTE_TYPE, "kid": self.kid})
        return msgspec.structs.replace(vote, signature=token)


class _File(msgspec.Struct, frozen=True, kw_only=True):
    kty: str
    crv: str
    d: str
    approvers: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    kid: str | None = None
    issuer: Text = ISSUER
    audience: Text = AUDIENCE


def make_key(approvers: tuple[str, ...], *, issuer: str = ISSUER, audience: str = AUDIENCE) -> SigningKey:
    """A new key, named by its thumbprint; one whose name a command line would take for an option is not used."""
    while True:
        private = Ed25519PrivateKey.generate()
        kid = thumbprint(_packed(private.public_key().public_bytes_raw()))
        if not kid.startswith("-"):
            return SigningKey(kid, approvers, issuer, audience, private)


def read_key(path: Path) -> SigningKey:
    """The private key in a file. Raises BadInput, which shows nothing of it."""
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MOST)
        found = msgspec.json.decode(content, type=_File)
    except OSError as error:
        raise BadInput(str(path), f"can't be read ({type(error).__name__})", _WAY_OUT) from error
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadInput(str(path), "holds no private key with approvers", _WAY_OUT) from None
    if (found.kty, found.crv) != ("OKP", "Ed25519"):
        raise BadInput(str(path), "is no Ed25519 key", _WAY_OUT)
    private = Ed25519PrivateKey.from_private_bytes(unpacked(found.d, f"{path}: d"))
    kid = found.kid or thumbprint(_packed(private.public_key().public_bytes_raw()))
    return SigningKey(kid, found.approvers, found.issuer, found.audience, private)


def _packed(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
