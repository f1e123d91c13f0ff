"""The terms that a policy put into the question: groups, the requester, abstaining."""

from __future__ import annotations

from typing import Any

from tests.support.approval_values import cast, question, vote

from callgate.approvals.ballots import Tally
from callgate.approvals.tally import cast as counted
from callgate.approvals.tally import requested
from callgate.events.approvals import ApproverGroup

GROUPS = (
    ApproverGroup(name="finance", members=("ann", "lee")),
    ApproverGroup(name="oncall", members=("lee", "sam")),
)


def _voted(*votes: tuple[Any, str], **terms: Any) -> Tally:
    tally = requested(Tally(), question(**terms))
    for place, (answer, who) in enumerate(votes):
        tally = counted(tally, cast(vote(answer, who, str(place)), origin=f"x/0/{place}"))
    return tally


def _resolution(tally: Tally) -> str | None:
    return None if tally.result is None else tally.result.resolution


def test_one_of_each_group_is_not_two_of_one() -> None:
    """The count alone is not enough: each group must have given one."""
    everybody = ("ann", "bob", "lee", "sam")
    terms = {"quorum": 2, "one_from_each": GROUPS, "eligible": everybody}
    assert _resolution(_voted(("approve", "ann"), ("approve", "bob"), **terms)) is None
    assert _resolution(_voted(("approve", "ann"), ("approve", "bob"), ("approve", "sam"), **terms)) == "approved"


def test_nobody_stands_for_two_groups() -> None:
    """Who is in both groups gives one approval; with a second person they are told apart as fits best."""
    terms = {"quorum": 1, "one_from_each": GROUPS}
    assert _resolution(_voted(("approve", "lee"), **terms)) is None
    assert _resolution(_voted(("approve", "lee"), ("approve", "sam"), **terms)) == "approved"
    assert _resolution(_voted(("approve", "lee"), ("approve", "ann"), **terms)) == "approved"


def test_what_is_withdrawn_no_longer_stands_for_its_group() -> None:
    """A group whose only approval was withdrawn has given none."""
    terms = {"quorum": 2, "one_from_each": GROUPS}
    tally = _voted(("approve", "ann"), ("withdraw", "ann"), ("approve", "lee"), **terms)
    assert _resolution(tally) is None


def test_one_rejection_ends_it_also_with_groups() -> None:
    """No group outvotes another's no."""
    assert _resolution(_voted(("approve", "ann"), ("reject", "sam"), quorum=2, one_from_each=GROUPS)) == "rejected"


def test_the_requester_answers_only_where_the_policy_lets_them() -> None:
    """Letting the requester answer is said in the question, and never lets the agent."""
    assert _resolution(_voted(("approve", "kim"))) is None
    assert _resolution(_voted(("approve", "kim"), requester_may_answer=True)) == "approved"
    assert _resolution(_voted(("approve", "bot"), requester_may_answer=True)) is None


def test_an_abstention_is_counted_for_neither_side() -> None:
    """Who abstains takes back what they said before, and holds nobody up."""
    terms = {"quorum": 2, "answers": ("approve", "reject", "abstain")}
    tally = _voted(("approve", "ann"), ("abstain", "ann"), ("approve", "lee"), **terms)
    assert _resolution(tally) is None
    assert _resolution(_voted(("abstain", "ann"), ("approve", "lee"), ("approve", "sam"), **terms)) == "approved"
