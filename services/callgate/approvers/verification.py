"""What a signed vote or an id token proves of a vote. Pure: time is when the log appended the vote, keys are given.

So whoever looks at the same vote with the same keys comes to the same verdict, at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from callgate.approvers.binding import difference, nonce_of
from callgate.approvers.keys import ApproverKey
from callgate.approvers.token import VOTE_TYPE, Header, Refused, hold_times, names_audience, verified
from callgate.events.approvals import ApprovalVoted

ID_TOKEN_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""For id tokens. All of them asymmetric: a key that everybody may read must not be one that anybody can sign with."""

_RSA_LEAST = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """The identity provider whose id tokens stand for votes."""

    issuer: str
    client: str
    """The client id that the tokens must be for."""
    claim: str = "email"
    """The claim that names the approver; `email` counts only with `email_verified`."""


def hold_signed(vote: ApprovalVoted, header: Header, key: ApproverKey, audience: str, appended_at: float) -> None:
    """Raise Refused unless `key` has signed exactly this vote, for this installation, and was good at its append."""
    if key.revoked_at is not None and appended_at >= key.revoked_at:
        raise Refused("the key was revoked before the vote came")
    claims = verified(vote.signature or "", header, key.public, ("EdDSA",))
    if claims.get("iss") != key.issuer:
        raise Refused("the signature's issuer is not the key's")
    if not names_audience(claims, audience):
        raise Refused("the signature is for another installation")
    hold_times(claims, appended_at)
    if vote.approver not in key.approvers:
        raise Refused("the key is not the voter's")
    if (name := difference(vote, claims)) is not None:
        raise Refused(f"the signature is about another vote: {name} differs")


def hold_id_token(
    vote: ApprovalVoted,
    header: Header,
    key: Mapping[str, Any],
    identities: Identities,
    *,
    audience: str,
    appended_at: float,
) -> None:
    """Raise Refused unless the provider says that this person signed in for exactly this vote.

    An id token says nothing of a vote; its nonce does, which the voter's client has chosen before the person signed in.
    """
    claims = verified(vote.signature or "", header, _public(key, header), ID_TOKEN_ALGORITHMS)
    if claims.get("iss") != identities.issuer:
        raise Refused("the id token is of another issuer")
    if not names_audience(claims, identities.client) or claims.get("azp", identities.client) != identities.client:
        raise Refused("the id token is for another client")
    if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and "azp" not in claims:
        raise Refused("the id token is for several clients, and names none as its own")
    hold_times(claims, appended_at)
    if claims.get("nonce") != nonce_of(vote, audience):
        raise Refused("the id token's nonce is not that of this vote")
    if claims.get(identities.claim) != vote.approver:
        raise Refused(f"the id token's {identities.claim} is not the voter")
    if identities.claim == "email" and claims.get("email_verified") is not True:
        raise Refused("the id token's email is not verified")


def _public(key: Mapping[str, Any], header: Header) -> Any:
    """The provider's key, if it is of the kind that the algorithm needs and meant for it."""
    if header.alg not in ID_TOKEN_ALGORITHMS:
        raise Refused(f"the id token's algorithm is none of {', '.join(ID_TOKEN_ALGORITHMS)}")
    if key.get("kty") == "oct" or key.get("alg", header.alg) != header.alg or key.get("use", "sig") != "sig":
        raise Refused("the id token's key is not for that algorithm")
    try:
        public = jwt.PyJWK(dict(key), algorithm=header.alg).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
        raise Refused("the id token's key is not for that algorithm") from error
    if getattr(public, "key_size", _RSA_LEAST) < _RSA_LEAST and header.alg.startswith(("RS", "PS")):
        raise Refused("the identity provider's key is too short")
    return public


def typed(header: Header) -> str:
    """`vote` or `id_token`, by the header's `typ`. Raises Refused for what is neither."""
    if header.typ == VOTE_TYPE:
        return "vote"
    if header.typ is None or header.typ.upper() == "JWT":
        return "id_token"
    raise Refused("the signature's typ is neither that of a vote nor of an id token")
