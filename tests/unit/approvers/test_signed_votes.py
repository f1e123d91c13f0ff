"""A signed vote counts as exactly what was signed, by whom, for where and when; anything else is refused, by name."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import jwt
import msgspec
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from tests.support.approval_values import NOW, vote
from tests.support.signing_values import LEE, SAM, known, signed_as, signed_vote, with_signature

from callgate.approvers.binding import claims_of
from callgate.approvers.signing import SIGNATURE_SECONDS, make_key
from callgate.approvers.token import BYTES_MOST, FUTURE_SECONDS, VOTE_TYPE, Refused, header_of
from callgate.approvers.verification import hold_signed
from callgate.events.approvals import ApprovalVoted
from callgate.failures import BadInput

FULL = vote(
    "edit", comment="less", arguments=msgspec.Raw(b'{"amount": 4}'), response=msgspec.Raw(b'"no"'), delegate_to="sam"
)


def hold(signed: ApprovalVoted, *, at: float = NOW + 1, audience: str = "callgate", **changes: Any) -> None:
    """Raise Refused unless the vote stands, where lee's and sam's keys are known."""
    header = header_of(signed.signature)
    hold_signed(signed, header, known(LEE, SAM, **changes)[header.kid], audience, at)


def segment(value: object) -> str:
    """A part of a token."""
    return urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()


def test_what_the_owner_signed_stands() -> None:
    """A vote signed by its voter's key is believed, with all that it carries."""
    hold(signed_vote())
    hold(LEE.signed(FULL, NOW))


@pytest.mark.parametrize("field", [name for name in ApprovalVoted.__struct_fields__ if name != "signature"])
def test_every_field_is_bound(field: str) -> None:
    """No field of a vote can be changed, added or taken away under its signature: also none of a later version."""
    signed = LEE.signed(FULL, NOW)
    old = getattr(FULL, field)
    new = {"digest": "b" * 64, "answer": "approve"}.get(field, f"{old}x")
    other: object = msgspec.Raw(bytes(old) + b" 1") if isinstance(old, msgspec.Raw) else new
    with pytest.raises(Refused):
        hold(msgspec.structs.replace(signed, **{field: other}))
    if field in {"comment", "arguments", "response", "delegate_to"}:
        with pytest.raises(Refused, match="differs"):
            hold(msgspec.structs.replace(signed, **{field: None}))
        bare = LEE.signed(vote(), NOW)
        with pytest.raises(Refused, match="differs"):
            hold(msgspec.structs.replace(bare, **{field: old}))


def test_json_is_bound_by_its_bytes() -> None:
    """Arguments with another blank or another order of names are other arguments; blanks around them are nothing."""
    signed = LEE.signed(FULL, NOW)
    hold(msgspec.structs.replace(signed, arguments=msgspec.Raw(b' {"amount": 4}\n')))
    with pytest.raises(Refused, match="arguments_sha256"):
        hold(msgspec.structs.replace(signed, arguments=msgspec.Raw(b'{"amount":4}')))
    assert claims_of(FULL)["arguments_sha256"] == hashlib.sha256(b'{"amount": 4}').hexdigest()


def test_a_key_cannot_vote_for_somebody_else() -> None:
    """Sam's key under lee's name proves nothing, and refuses to sign so in the first place."""
    with pytest.raises(Refused, match="not the voter's"):
        hold(signed_as(vote(approver="lee"), SAM))
    with pytest.raises(BadInput, match="lee"):
        SAM.signed(vote(approver="lee"), NOW)


def test_a_forger_cannot_use_a_kid() -> None:
    """A signature of another key under lee's kid is no signature of lee's."""
    forger = make_key(("lee",))
    with pytest.raises(Refused, match="not right"):
        hold(signed_as(vote(), forger, {"kid": LEE.kid}))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "other"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "staging"}, "another installation"),
        ({"aud": None}, "another installation"),
        ({"aud": ["staging", "prod"]}, "another installation"),
        ({"exp": None}, "no iat or no exp"),
        ({"iat": None}, "no iat or no exp"),
        ({"exp": "never"}, "no time"),
        ({"exp": True}, "no time"),
        ({"iat": NOW + FUTURE_SECONDS + 2}, "future"),
        ({"nbf": NOW + FUTURE_SECONDS + 2}, "future"),
        ({"exp": NOW}, "expired"),
        ({"sub": "sam"}, "sub differs"),
        ({"jti": "w"}, "jti differs"),
        ({"answer": "reject"}, "answer differs"),
        ({"digest": "b" * 64}, "digest differs"),
        ({"approval_id": "apr_000_other"}, "approval_id differs"),
        ({"comment": "and more"}, "comment differs"),
        ({"arguments_sha256": "0"}, "arguments_sha256 differs"),
        ({"vote_id_sha256": "0"}, "differs"),
    ],
    ids=str,
)
def test_what_is_signed_must_fit(claims: dict[str, Any], reason: str) -> None:
    """Issuer, audience, times and every claim about the vote: what is missing or differs is named."""
    with pytest.raises(Refused, match=reason):
        hold(signed_as(vote(), **claims))


def test_a_claim_that_nobody_knows_changes_nothing() -> None:
    """Signers may say more than the vote."""
    hold(signed_as(vote(), ticket="INC-1", aud=["callgate", "other"], nbf=NOW))


def test_time_is_the_logs() -> None:
    """Only when the log appended the vote matters: from its signing, a clock's error before, to its very end."""
    signed, end = signed_vote(), int(NOW) + SIGNATURE_SECONDS
    hold(signed, at=int(NOW) - FUTURE_SECONDS)
    hold(signed, at=end)
    for at in (int(NOW) - FUTURE_SECONDS - 1, end + 0.001):
        with pytest.raises(Refused):
            hold(signed, at=at)


def test_a_revoked_key_counts_until_it_was_revoked() -> None:
    """What came before the revocation stands, also where it is looked at afterwards; what came later does not."""
    revoked_at = "2023-11-14T22:13:25+00:00"  # NOW + 5
    hold(signed_vote(), at=NOW + 4.9, revoked_at=revoked_at)
    for at in (NOW + 5, NOW + 500):
        with pytest.raises(Refused, match="revoked"):
            hold(signed_vote(), at=at, revoked_at=revoked_at)


def test_two_keys_of_a_person_stand_side_by_side() -> None:
    """A key is replaced without a moment in which its owner can't vote."""
    newer = make_key(("lee",))
    keys = known(LEE, newer)
    for each in (LEE, newer):
        signed = signed_vote(each)
        hold_signed(signed, header_of(signed.signature), keys[each.kid], "callgate", NOW)


def _hmac(head: dict[str, Any]) -> str:
    """A token signed with the public key as if it were a secret."""
    said = {**claims_of(vote()), "iss": "callgate", "aud": "callgate", "iat": NOW, "exp": NOW + 9}
    signing = f"{segment(head)}.{segment(said)}"
    public = LEE.private.public_key().public_bytes_raw()
    tag = urlsafe_b64encode(hmac.digest(public, signing.encode(), "sha256")).rstrip(b"=").decode()
    return f"{signing}.{tag}"


def _of_another_kind(algorithm: str, private: Callable[[], Any]) -> str:
    said = {**claims_of(vote()), "iss": "callgate", "aud": "callgate", "iat": NOW, "exp": NOW + 9}
    return jwt.encode(said, private(), algorithm=algorithm, headers={"typ": VOTE_TYPE, "kid": LEE.kid})


@pytest.mark.parametrize(
    "token",
    [
        _hmac({"alg": "HS256", "kid": LEE.kid, "typ": VOTE_TYPE}),
        _hmac({"alg": "none", "kid": LEE.kid, "typ": VOTE_TYPE}),
        _hmac({"alg": "none", "kid": LEE.kid, "typ": VOTE_TYPE}).rpartition(".")[0] + ".",
        _hmac({"alg": "EdDSA", "kid": LEE.kid, "typ": VOTE_TYPE}),
        _of_another_kind("RS256", lambda: rsa.generate_private_key(65537, 2048)),
        _of_another_kind("EdDSA", Ed448PrivateKey.generate),
    ],
    ids=["HS256", "none", "none without a signature", "EdDSA in name", "RS256", "Ed448"],
)
def test_the_algorithm_is_ours_to_choose(token: str) -> None:
    """Only EdDSA with that very key: not what the token names, nor a public key as a secret, nor another curve."""
    with pytest.raises(Refused):
        hold(with_signature(vote(), token))


@pytest.mark.parametrize(
    "token",
    [
        None,
        "",
        "x",
        "...",
        "a.b.c",
        "é.b.c",
        "x" * (BYTES_MOST + 1),
        segment({"alg": "EdDSA"}) + ".e30.x",
        segment({"alg": "EdDSA", "kid": ""}) + ".e30.x",
        segment({"alg": "EdDSA", "kid": 1}) + ".e30.x",
        segment({"alg": "EdDSA", "kid": "k" * 257}) + ".e30.x",
        segment({"alg": "EdDSA", "kid": "k" * 2000}) + ".e30.x",
        segment({"alg": "EdDSA", "kid": "k", "crit": ["b64"], "b64": False}) + ".e30.x",
        segment([1]) + ".e30.x",
    ],
    ids=lambda token: repr(token)[:30],
)
def test_junk_has_no_header(token: str | None) -> None:
    """What is no token is refused before anything is verified or asked for."""
    with pytest.raises(Refused):
        header_of(token)


def test_what_is_signed_but_holds_no_claims_is_refused() -> None:
    """A list, a text or no JSON at all under a good signature is no vote."""
    jws = jwt.PyJWS()
    for payload in (b"[]", b'"x"', b"{", b"\xff", b"[" * 100_000):
        token = jws.encode(payload, LEE.private, algorithm="EdDSA", headers={"typ": VOTE_TYPE, "kid": LEE.kid})
        with pytest.raises(Refused):
            hold(with_signature(vote(), token))


def test_a_private_key_does_not_show() -> None:
    """Neither printing a key nor failing to sign with it shows the secret half."""
    secret = LEE.private_jwk()["d"]
    assert secret not in repr(LEE)
    with pytest.raises(BadInput) as failure:
        LEE.signed(vote(approver="sam"), NOW)
    assert secret not in str(failure.value)
    assert "d" not in LEE.public_jwk()
