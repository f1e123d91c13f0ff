"""No signature stands for another vote than the one that was signed, whatever the votes are."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.support.approval_values import APPROVAL, DIGEST, NOW
from tests.support.signing_values import LEE, known

from callgate.approvers.binding import nonce_of
from callgate.approvers.token import Refused, header_of
from callgate.approvers.verification import hold_signed
from callgate.events.approvals import ApprovalVoted
from callgate.events.codec import decode, encode

KEYS = known(LEE)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
raws = st.sampled_from([b"null", b"{}", b'{"a":1}', b'{"a": 1}', b'{"a":1.0}', b'"x"']).map(msgspec.Raw)
votes = st.builds(
    ApprovalVoted,
    vote_id=st.sampled_from(["v", "w"]),
    approval_id=st.sampled_from([APPROVAL, "apr_001_x"]),
    digest=st.sampled_from([DIGEST, "b" * 64]),
    answer=st.sampled_from(["approve", "edit", "respond", "delegate", "reject"]),
    approver=st.just("lee"),
    comment=st.none() | texts,
    arguments=st.none() | raws,
    response=st.none() | raws,
    delegate_to=st.none() | texts,
)


def stands(vote: ApprovalVoted) -> bool:
    """Whether the vote is believed."""
    try:
        header = header_of(vote.signature)
        hold_signed(vote, header, KEYS[header.kid], "callgate", NOW)
    except (Refused, KeyError):
        return False
    return True


@given(votes, votes)
def test_a_signature_is_for_one_vote(signed: ApprovalVoted, shown: ApprovalVoted) -> None:
    """A signature that is moved to another vote stands exactly if that is the same vote in all that it says."""
    token = LEE.signed(signed, NOW).signature
    assert stands(msgspec.structs.replace(shown, signature=token)) == (
        msgspec.json.encode(signed) == msgspec.json.encode(shown)
    )
    assert (nonce_of(signed, "a") == nonce_of(shown, "a")) == (
        msgspec.json.encode(signed) == msgspec.json.encode(shown)
    )


@given(votes)
def test_a_signature_outlives_the_log(vote: ApprovalVoted) -> None:
    """What was signed before it was written stands after it was read."""
    value, headers = encode(LEE.signed(vote, NOW), source="test", time=NOW)
    event = decode(value, headers).event
    assert isinstance(event, ApprovalVoted)
    assert stands(event)


@given(votes, st.data())
def test_a_changed_token_does_not_stand(vote: ApprovalVoted, data: st.DataObject) -> None:
    """No change of a token's characters goes unseen, but for bits that base64url does not use."""
    token = LEE.signed(vote, NOW).signature or ""
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(min_codepoint=0, max_codepoint=300))
    changed = token[:place] + other + token[place + 1 :]
    last = {token.find(".") - 1, token.rfind(".") - 1, len(token) - 1}
    if changed != token and place not in last:
        assert not stands(msgspec.structs.replace(vote, signature=changed))


@given(st.none() | texts | st.text(st.sampled_from("aZ0-_.=eyJ"), max_size=60))
def test_junk_is_refused_and_nothing_else_happens(token: str | None) -> None:
    """Whatever stands for a signature, the answer is a refusal and never an error."""
    vote = ApprovalVoted(vote_id="v", approval_id=APPROVAL, digest=DIGEST, answer="approve", approver="lee")
    assert not stands(msgspec.structs.replace(vote, signature=token))
