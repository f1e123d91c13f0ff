"""An id token stands for a vote only if the person signed in for exactly that vote, here, with a verified name."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.support.approval_values import APPROVAL, DIGEST, NOW, vote
from tests.support.signing_values import IDENTITIES, PROVIDER_KEY, id_vote, with_signature

from callgate.approvers.binding import nonce_of
from callgate.approvers.token import Refused, header_of
from callgate.approvers.verification import Identities, hold_id_token
from callgate.events.approvals import ApprovalVoted


def hold(
    voted: ApprovalVoted, *, key: dict[str, Any] = PROVIDER_KEY, claim: str = "email", audience: str = "callgate"
) -> None:
    """Raise Refused unless the token stands for the vote."""
    identities = Identities(issuer=IDENTITIES.issuer, client=IDENTITIES.client, claim=claim)
    hold_id_token(voted, header_of(voted.signature), key, identities, audience=audience, appended_at=NOW + 1)


def test_who_signed_in_for_this_vote_is_believed() -> None:
    """Issuer, client, nonce, verified address and time are right."""
    hold(id_vote())
    hold(id_vote(aud=["callgate-votes", "more"], azp="callgate-votes"))


def test_a_person_may_be_known_by_another_claim() -> None:
    """With `sub` the vote names the subject, and no address is needed."""
    hold(id_vote(vote(approver="u-17"), email=None, email_verified=None), claim="sub")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://id.example.com/"}, "another issuer"),
        ({"aud": "other"}, "another client"),
        ({"aud": None}, "another client"),
        ({"aud": ["callgate-votes", "more"]}, "several clients"),
        ({"azp": "other"}, "another client"),
        ({"nonce": None}, "nonce"),
        ({"nonce": "x"}, "nonce"),
        ({"email": "sam@example.com"}, "not the voter"),
        ({"email": None}, "not the voter"),
        ({"email_verified": False}, "not verified"),
        ({"email_verified": "true"}, "not verified"),
        ({"email_verified": None}, "not verified"),
        ({"exp": NOW}, "expired"),
        ({"iat": NOW + 100}, "future"),
    ],
    ids=str,
)
def test_what_the_provider_says_must_fit(claims: dict[str, Any], reason: str) -> None:
    """A token of another issuer, client, vote, person or time proves nothing, and the reason is named."""
    with pytest.raises(Refused, match=reason):
        hold(id_vote(**claims))


@pytest.mark.parametrize(
    "changes",
    [{"answer": "reject"}, {"digest": "b" * 64}, {"comment": "x"}, {"vote_id": "w"}, {"approval_id": "apr_000_b"}],
    ids=str,
)
def test_a_token_is_for_one_vote(changes: dict[str, Any]) -> None:
    """Under the same token nothing of the vote can be changed: the nonce names all of it."""
    with pytest.raises(Refused, match="nonce"):
        hold(msgspec.structs.replace(id_vote(), **changes))
    with pytest.raises(Refused, match="nonce"):
        hold(id_vote(), audience="staging")


def test_the_nonce_is_as_documented() -> None:
    """The nonce follows from the claims by means that every language has."""
    example = vote("edit", "lee@example.com", comment="größer\n", arguments=msgspec.Raw(b'{"amount": 4}'))
    said = {
        "answer": "edit",
        "approval_id": APPROVAL,
        "arguments_sha256": hashlib.sha256(b'{"amount": 4}').hexdigest(),
        "aud": "callgate",
        "comment": "größer\n",
        "digest": DIGEST,
        "jti": "v",
        "sub": "lee@example.com",
    }
    content = json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()
    assert nonce_of(example, "callgate") == urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def test_another_key_under_the_same_name_is_refused() -> None:
    """Whoever signs with a key of their own is not the provider."""
    with pytest.raises(Refused, match="not right"):
        hold(id_vote(private=ec.generate_private_key(ec.SECP256R1())))


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "idp-1"},
        {**PROVIDER_KEY, "use": "enc"},
        {**PROVIDER_KEY, "alg": "ES384"},
        {"kty": "RSA", "kid": "idp-1"},
        {},
    ],
    ids=str,
)
def test_a_key_of_another_kind_is_not_used(key: dict[str, Any]) -> None:
    """A secret, a key for something else, or one that can't be read verifies nothing."""
    with pytest.raises(Refused):
        hold(id_vote(), key=key)


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_only_asymmetric_algorithms(algorithm: str) -> None:
    """An unsigned token, or one signed with a shared secret, is refused whatever the key is."""
    token = jwt.encode({"nonce": "x"}, "s" * 64 if algorithm == "HS256" else "", algorithm, {"kid": "idp-1"})
    with pytest.raises(Refused, match="algorithm"):
        hold(with_signature(vote(), token), key={"kty": "oct", "k": "cw", "kid": "idp-1"})


def test_a_short_key_is_not_believed() -> None:
    """An RSA key that can be factored proves nothing."""
    private = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is what must be refused
    jwk = {**jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True), "kid": "idp-1"}
    head = urlsafe_b64encode(b'{"alg":"RS256","kid":"idp-1"}').decode()
    with pytest.raises(Refused, match="too short"):
        hold(with_signature(vote(), f"{head}.e30.AAAA"), key=jwk)
