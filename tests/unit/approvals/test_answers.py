"""Edits, responses, delegations and settlements: what they come to, and what they can never bring about."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.support.approval_values import DIGEST, NOW, cast, proposed, question, vote

from callgate.approvals.ballots import CONTENT_MOST, Result, Tally
from callgate.approvals.tally import cast as counted
from callgate.approvals.tally import requested
from callgate.events.approvals import ApproverGroup, BallotCast

ALL = ("approve", "reject", "edit", "respond", "delegate", "abstain")
CHEAPER, CHEAPEST = "b" * 64, "c" * 64


def opened(**changes: Any) -> Tally:
    """An approval that takes every answer."""
    return requested(Tally(), question(**{"answers": ALL, **changes}))


def edit(digest: str = CHEAPER, who: str = "lee", place: int = 1, **changes: Any) -> BallotCast:
    """A checked edit that would make the call of this digest."""
    ref = msgspec.structs.replace(proposed().ref, revision=2, digest=digest)
    arguments = msgspec.Raw(b'{"amount":1,"pin":"1234"}')
    voted = vote("edit", who, f"e-{who}-{place}", arguments=arguments)
    revised = proposed(ref=ref, arguments=arguments, cause="edit")
    return cast(voted, origin=f"v/0/{place}", checked=True, revised=revised, **changes)


def says(answer: Any, who: str = "lee", place: int = 1, **changes: Any) -> BallotCast:
    """Any other answer."""
    return cast(vote(answer, who, f"{answer}-{who}-{place}", **changes), origin=f"v/0/{place}")


def after(tally: Tally, *ballots: BallotCast) -> Tally:
    """The tally after these ballots, each delivered twice."""
    for ballot in ballots:
        tally = counted(counted(tally, ballot), ballot)
    return tally


def result(tally: Tally) -> Result:
    """Its result, which it must have."""
    assert tally.result is not None
    return tally.result


def refusals(tally: Tally) -> list[str | None]:
    """Why each vote does not count."""
    return [ballot.refusal for ballot in tally.ballots]


def test_an_edit_is_the_revised_call_and_not_a_yes_to_the_first() -> None:
    """One edit of one person who is enough ends the approval with the call that it makes."""
    found = result(after(opened(), edit()))
    assert found.resolution == "edited"
    assert found.revised is not None
    assert (found.revised.ref.revision, found.revised.ref.digest) == (2, CHEAPER)


def test_an_edit_that_nobody_has_checked_changes_nothing() -> None:
    """Until it comes again, checked, an edit is neither counted nor evidence; so a recount needs no tool."""
    tally = opened()
    assert counted(tally, cast(vote("edit", arguments=msgspec.Raw(b"{}")))) is tally


def test_an_edit_that_does_not_fit_is_evidence() -> None:
    """A checked edit with a refusal counts as nothing, whoever cast it."""
    tally = after(opened(), cast(vote("edit"), checked=True, refusal="`amount` must be of type number"))
    assert (tally.result, refusals(tally)) == (None, ["`amount` must be of type number"])


def test_two_edits_that_differ_are_no_quorum() -> None:
    """People who change the call in different ways have not agreed; a third who repeats one of them decides."""
    tally = after(opened(quorum=2), edit(CHEAPER, "lee", 1), edit(CHEAPEST, "max", 2))
    assert tally.result is None
    tally = after(tally, edit(CHEAPEST, "sam", 3))
    assert result(tally).approvers == ("max", "sam")
    assert result(tally).revised is not None


def test_a_yes_to_the_first_call_is_none_to_an_edit() -> None:
    """An approval of what was asked must not count for arguments that the approver was never shown."""
    tally = after(opened(quorum=2), says("approve", "lee", 1), edit(CHEAPER, "max", 2))
    assert tally.result is None


def test_a_yes_to_an_edit_names_its_digest() -> None:
    """Whoever approves the digest of an edit that is there stands beside it; of one that is not, it is refused."""
    tally = after(opened(quorum=2), says("approve", "ann", 1, digest=CHEAPER))
    assert refusals(tally) == ["the vote is about other arguments"]
    tally = after(tally, edit(CHEAPER, "lee", 2), says("approve", "max", 3, digest=CHEAPER))
    assert (result(tally).resolution, result(tally).approvers) == ("edited", ("lee", "max"))


def test_an_edit_can_be_taken_back() -> None:
    """A withdrawn edit counts for nothing, and the person may still approve the call as it was asked."""
    tally = after(opened(quorum=2), edit(CHEAPER, "lee", 1), says("withdraw", "lee", 2), edit(CHEAPER, "max", 3))
    assert tally.result is None
    assert result(after(tally, says("approve", "lee", 4, digest=CHEAPER))).resolution == "edited"


def test_a_response_is_the_result_where_enough_people_say_the_same() -> None:
    """The model is told it as the tool's result, so it takes the quorum, and who says something else is not of it."""
    paid, due = msgspec.Raw(b'"was paid yesterday"'), msgspec.Raw(b'"is due"')
    tally = after(opened(quorum=2), says("respond", "lee", 1, response=paid), says("respond", "max", 2, response=due))
    assert tally.result is None
    found = result(after(tally, says("respond", "sam", 3, response=paid)))
    assert (found.resolution, found.response, found.approvers) == ("responded", paid, ("lee", "sam"))


@pytest.mark.parametrize(
    ("ballot", "reason"),
    [
        (says("respond"), "a response is missing"),
        (says("respond", response=msgspec.Raw(b'"' + b"x" * CONTENT_MOST + b'"')), "more than"),
        (says("delegate"), "to whom"),
        (says("delegate", delegate_to=" LEE "), "themselves"),
        (says("delegate", delegate_to="kim"), "may not be asked"),
        (says("delegate", delegate_to="BOT"), "may not be asked"),
        (says("edit", arguments=msgspec.Raw(b"{}")), None),
    ],
)
def test_an_answer_without_what_it_needs_counts_as_nothing(ballot: BallotCast, reason: str | None) -> None:
    """Content that is missing, too large or not allowed leaves the approval open, and says why."""
    tally = after(opened(), ballot)
    assert tally.result is None
    assert reason is None or reason in (refusals(tally)[0] or "")


def test_who_was_asked_to_stand_in_may_answer_and_the_other_no_longer_counts() -> None:
    """A delegate's vote counts once, in the delegator's stead."""
    tally = opened(eligible=("lee", "max"), quorum=2)
    tally = after(tally, says("delegate", "lee", 1, delegate_to="sam"), says("approve", "sam", 2))
    assert tally.result is None
    assert result(after(tally, says("approve", "max", 3))).approvers == ("sam", "max")


def test_nobody_answers_who_was_not_asked_to_yet() -> None:
    """A vote that comes before the delegation is evidence; it does not become a vote by it."""
    tally = opened(eligible=("lee",))
    tally = after(tally, says("approve", "sam", 1), says("delegate", "lee", 2, delegate_to="sam"))
    assert (tally.result, refusals(tally)[0]) == (None, "the voter is not entitled to answer")


def test_what_was_delegated_is_not_delegated_on() -> None:
    """One hop: the delegate can't pass the right to a third, who stays unentitled."""
    tally = opened(eligible=("lee",))
    tally = after(tally, says("delegate", "lee", 1, delegate_to="sam"), says("delegate", "sam", 2, delegate_to="tom"))
    tally = after(tally, says("approve", "tom", 3))
    assert tally.result is None
    assert refusals(tally)[1:] == ["what was delegated can't be delegated on", "the voter is not entitled to answer"]


def test_a_delegation_that_is_taken_back_takes_the_vote_with_it() -> None:
    """Who was no longer asked no longer counts, also with a vote that counted when it was cast."""
    tally = opened(eligible=("lee", "max"), quorum=2)
    tally = after(tally, says("delegate", "lee", 1, delegate_to="sam"), says("approve", "sam", 2))
    tally = after(tally, says("withdraw", "lee", 3), says("approve", "max", 4))
    assert tally.result is None
    assert result(after(tally, says("approve", "lee", 5))).approvers == ("max", "lee")


def test_a_delegate_stands_for_the_group_of_who_asked_and_for_one_only() -> None:
    """Where one of each group is needed, the delegate fills the delegator's place and nobody else's."""
    groups = (ApproverGroup(name="finance", members=("lee",)), ApproverGroup(name="security", members=("max",)))
    tally = opened(eligible=("lee", "max"), one_from_each=groups, quorum=2)
    tally = after(tally, says("delegate", "lee", 1, delegate_to="max"), says("approve", "max", 2))
    assert tally.result is None
    tally = after(tally, says("withdraw", "lee", 3), says("delegate", "lee", 4, delegate_to="sam"))
    assert result(after(tally, says("approve", "sam", 5))).resolution == "approved"


@pytest.mark.parametrize(("answer", "settled"), [("approve", "executed"), ("reject", "not_executed")])
def test_what_is_in_doubt_is_settled_by_the_quorum_either_way(answer: Any, settled: str) -> None:
    """Both answers have consequences, so one person can't give either where two are needed."""
    tally = after(opened(kind="settle", quorum=2), says(answer, "lee", 1))
    assert tally.result is None
    found = result(after(tally, says(answer, "max", 2)))
    assert (found.resolution, found.settled, found.approvers) == ("settled", settled, ("lee", "max"))


def test_a_response_to_what_is_in_doubt_says_that_it_happened() -> None:
    """The result that a person found counts beside a plain yes, and is kept."""
    tally = opened(kind="settle", quorum=2)
    tally = after(tally, says("respond", "lee", 1, response=msgspec.Raw(b'{"ref":7}')), says("approve", "max", 2))
    assert (result(tally).settled, result(tally).response) == ("executed", msgspec.Raw(b'{"ref":7}'))


@pytest.mark.parametrize("raw", [b'"\xff\xfe"', b"1e999", b'{"a":1,"a":2}', b"[" * 200 + b"]" * 200], ids=range(4))
@pytest.mark.parametrize("kind", ["action", "settle"])
def test_a_response_that_not_everybody_can_read_does_not_count(raw: bytes, kind: str) -> None:
    """It would become the tool's result, which the proposer and the agent have to read: what is no JSON is refused."""
    tally = after(opened(kind=kind), says("respond", response=msgspec.Raw(raw)))
    assert tally.result is None
    assert "not JSON" in (refusals(tally)[0] or "")


def test_contradicting_results_of_what_is_in_doubt_are_none() -> None:
    """That it happened is agreed on; the model is not told one person's result against another's."""
    tally = opened(kind="settle", quorum=2)
    for place, who in enumerate(("lee", "max"), 1):
        tally = after(tally, says("respond", who, place, response=msgspec.Raw(b'"by %s"' % who.encode())))
    assert (result(tally).settled, result(tally).response) == ("executed", None)


def test_what_is_in_doubt_cannot_be_edited() -> None:
    """There is nothing to run any more: an edit of it is refused."""
    tally = after(opened(kind="settle"), edit())
    assert (tally.result, refusals(tally)) == (None, ["what is in doubt can't be edited"])


def test_a_closed_approval_keeps_no_content() -> None:
    """What only an open one needs is dropped with the result: it stands on the log."""
    responded = after(opened(), says("respond", response=msgspec.Raw(b'"x"')))
    edited = after(opened(quorum=2), edit(CHEAPER, "lee", 1), edit(CHEAPER, "max", 2))
    assert [ballot.response for ballot in responded.ballots] == [None]
    assert edited.revisions == ()


def test_of_two_answers_at_once_the_order_decides() -> None:
    """In either order exactly one of a yes and a response ends it, and the other is evidence."""
    yes, text = says("approve", "lee", 1), says("respond", "max", 2, response=msgspec.Raw(b'"no need"'))
    first, second = after(opened(), yes, text), after(opened(), text, yes)
    assert (result(first).resolution, result(second).resolution) == ("approved", "responded")
    assert refusals(first) == [None, "the approval was already approved"]
    assert refusals(second) == [None, "the approval was already responded"]


def test_the_first_call_is_what_it_was() -> None:
    """The digest that the values of these tests stand on is the question's own."""
    assert question().action.ref.digest == DIGEST
    assert question().requested_at == NOW
