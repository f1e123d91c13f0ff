"""The tally as a machine: every reader of the ballots gets the same result, whatever is in them and however often."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.support.approval_values import APPROVAL, DEADLINE, DIGEST, NOW, proposed, question, vote
from tests.support.handler_bench import DictTable

from callgate.approvals import schedule
from callgate.approvals import tally as counting
from callgate.approvals.ballots import Tally
from callgate.approvals.state import changes, load
from callgate.events.approvals import ApprovalDue, ApprovalRequested, ApprovalVoted, BallotCast, EscalationLevel
from callgate.worker.effects import Effects

Step = ApprovalRequested | BallotCast | ApprovalDue

_times = st.sampled_from([NOW, NOW + 1, NOW + 10, DEADLINE - 1, DEADLINE])
_PLAIN = ("approve", "reject", "abstain")
_ALL = (*_PLAIN, "edit", "respond", "delegate")
_questions = st.builds(
    lambda quorum, eligible, reminders, levels, answers, kind: question(
        quorum=quorum,
        eligible=eligible,
        answers=answers,
        kind=kind,
        reminders=tuple(reminders),
        escalation=tuple(EscalationLevel(at=at, approvers=("eve",)) for at in levels),
    ),
    st.integers(0, 3),
    st.sampled_from([(), ("lee", "sam", "ann")]),
    st.lists(_times, max_size=3),
    st.lists(_times, max_size=2),
    st.sampled_from([_PLAIN, _ALL, _ALL]),
    st.sampled_from(["action", "action", "settle"]),
)
_REVISED = {
    digest: proposed(
        ref=msgspec.structs.replace(proposed().ref, revision=2, digest=digest),
        arguments=msgspec.Raw(b'{"amount":1}'),
    )
    for digest in ("b" * 64, "c" * 64)
}
_votes = st.builds(
    lambda answer, approver, vote_id, digest, to, said: vote(
        answer, approver, vote_id, digest=digest, delegate_to=to, response=msgspec.Raw(said)
    ),
    st.sampled_from(["approve", "approve", "approve", "reject", "withdraw", "abstain", "edit", "respond", "delegate"]),
    st.sampled_from(["lee", "LEE", "sam", "ann", "kim", "bot", "eve"]),
    st.sampled_from(["1", "2", "3"]),
    st.sampled_from([DIGEST, DIGEST, DIGEST, "b" * 64]),
    st.sampled_from(["sam", "zoe", "kim", "lee", None]),
    st.sampled_from([b"1", b"1", b"2"]),
)


def _ballot(place: int, drawn: tuple[ApprovalVoted, str, float, str | None]) -> BallotCast:
    """An edit is checked where a digest was drawn: as fit where that is one of a revised call, else as unfit."""
    cast_vote, verification, at, digest = drawn
    checked = cast_vote.answer == "edit" and digest is not None
    return BallotCast(
        checked=checked,
        revised=_REVISED.get(digest or "") if checked else None,
        refusal="it does not fit" if checked and digest not in _REVISED else None,
        approval_id=APPROVAL,
        vote=cast_vote,
        verification=verification,  # type: ignore[arg-type]
        appended_at=at,
        origin=f"approvals.votes/0/{place}",
    )


_ballots = st.lists(
    st.tuples(
        _votes,
        st.sampled_from(["trusted", "signed", "refused"]),
        st.sampled_from([NOW - 1, NOW + 1, DEADLINE, DEADLINE + 1]),
        st.sampled_from(["b" * 64, "b" * 64, "c" * 64, "unfit", None]),
    ),
    max_size=12,
).map(lambda drawn: [_ballot(place, each) for place, each in enumerate(drawn)])
_moments = st.builds(
    lambda kind, at: ApprovalDue(approval_id=APPROVAL, kind=kind, due_at=at),
    st.sampled_from(["deadline", "deadline", "reminder", "escalation"]),
    st.sampled_from([DEADLINE, DEADLINE - 1, NOW + 10, NOW + 1]),
)


@st.composite
def _lives(draw: st.DrawFn) -> list[Step]:
    """Ballots in their order, the question anywhere among them, and perhaps moments, which are set by the question."""
    steps: list[Step] = list(draw(_ballots))
    asked = draw(st.integers(0, len(steps)))
    steps.insert(asked, draw(_questions))
    for moment in draw(st.lists(_moments, max_size=2)):
        steps.insert(draw(st.integers(asked + 1, len(steps))), moment)
    return steps


def _escalated(asked: ApprovalRequested, ballot: BallotCast) -> bool:
    """Whether the voter is of a level whose moment had come when the log appended the vote."""
    return any(level.at <= ballot.appended_at and ballot.vote.approver in level.approvers for level in asked.escalation)


def _apply(tally: Tally, step: Step) -> Tally:
    match step:
        case ApprovalRequested():
            return counting.requested(tally, step)
        case BallotCast():
            return counting.cast(tally, step)
        case ApprovalDue():
            return counting.due(tally, step)


def _fold(steps: Sequence[Step]) -> Tally:
    return reduce(_apply, steps, Tally())


@given(_lives())
def test_a_result_is_final(steps: list[Step]) -> None:
    """Whatever comes after a result leaves it as it is."""
    tally = Tally()
    for step in steps:
        before, tally = tally, _apply(tally, step)
        assert before.result is None or tally.result == before.result


@given(_lives(), st.data())
def test_repeats_change_nothing(steps: list[Step], data: st.DataObject) -> None:
    """Every record may come again at any later place, any number of times: the tally is the same."""
    twice = list(steps)
    for place in range(len(steps), 0, -1):
        again = data.draw(st.integers(0, 2))
        for _ in range(again):
            twice.insert(data.draw(st.integers(place, len(twice))), steps[place - 1])
    assert _fold(twice) == _fold(steps)


@given(_lives())
def test_a_replica_that_restarts_at_every_step_agrees(steps: list[Step]) -> None:
    """The table holds all that matters: stopping after each ballot and going on elsewhere gives the same tally."""
    table = DictTable()
    for step in steps:
        before = load(table, APPROVAL)
        after = _apply(before, step)
        if after is not before:
            table.apply(Effects(put=changes(APPROVAL, before, after)))
    assert load(table, APPROVAL) == _fold(steps)


@given(_questions, _ballots, st.data())
def test_when_the_question_arrives_does_not_matter(
    asked: ApprovalRequested, ballots: list[BallotCast], data: st.DataObject
) -> None:
    """Votes that overtake their question are counted as if they had waited their turn."""
    place = data.draw(st.integers(0, len(ballots)))
    assert _fold([*ballots[:place], asked, *ballots[place:]]) == _fold([asked, *ballots])


@given(_lives())
def test_what_the_intake_refused_has_no_influence(steps: list[Step]) -> None:
    """Leaving out all refused ballots gives the same result."""
    believed = [step for step in steps if not (isinstance(step, BallotCast) and step.verification == "refused")]
    assert _fold(steps).result == _fold(believed).result


@given(_lives())
def test_an_approval_rests_on_enough_entitled_people(steps: list[Step]) -> None:
    """Approved means: as many different entitled people as the quorum asks, about these arguments, in time."""
    tally = _fold(steps)
    if tally.result is None or tally.request is None:
        return
    asked = tally.request
    if "delegate" in asked.answers or asked.kind == "settle":
        return  # see below
    sound = [
        step.vote
        for step in steps
        if isinstance(step, BallotCast)
        and step.verification != "refused"
        and step.appended_at <= DEADLINE
        and step.vote.digest == DIGEST
        and step.vote.approver not in {"kim", "bot"}
        and (not asked.eligible or step.vote.approver in asked.eligible or _escalated(asked, step))
    ]
    match tally.result.resolution:
        case "approved":
            assert len({name.casefold() for name in tally.result.approvers}) >= max(1, asked.quorum)
            assert set(tally.result.approvers) <= {each.approver for each in sound if each.answer == "approve"}
        case "rejected":
            assert set(tally.result.approvers) <= {each.approver for each in sound if each.answer == "reject"}
        case other:
            assert other == "expired"
            assert any(isinstance(step, ApprovalDue) and step.kind == "deadline" for step in steps)


@given(_questions, st.lists(_moments, max_size=8), st.data())
def test_moments_are_announced_once_and_in_order(
    asked: ApprovalRequested, moments: list[ApprovalDue], data: st.DataObject
) -> None:
    """In whatever order, and however often, moments are read: each comes up once, by time, and none before its time."""
    read = [each for each in moments for _ in range(data.draw(st.integers(1, 2)))]
    tally = counting.requested(Tally(), asked)
    announced: list[schedule.Moment] = []
    for moment in data.draw(st.permutations(read)):
        before, tally = tally, counting.due(tally, moment)
        new = schedule.moments(asked)[before.announced : tally.announced]
        assert all(each.at <= moment.due_at for each in new)
        announced += new
    assert [each.at for each in announced] == sorted(each.at for each in announced)
    assert len({(each.kind, each.ordinal) for each in announced}) == len(announced)
    if tally.result is not None:
        assert announced == list(schedule.moments(asked))


@given(_lives())
def test_when_moments_are_read_changes_no_votes_worth(steps: list[Step]) -> None:
    """Reminders and levels that are read late, as after a downtime, leave the result as it is."""
    plain = [step for step in steps if not (isinstance(step, ApprovalDue) and step.kind != "deadline")]
    assert _fold(steps).result == _fold(plain).result


@given(_lives())
def test_every_other_result_rests_on_enough_people_who_said_the_same(steps: list[Step]) -> None:
    """Edited, responded and settled: by as many different people as the quorum asks, none of them barred."""
    tally = _fold(steps)
    if tally.result is None or tally.request is None or tally.result.resolution in {"rejected", "expired"}:
        return
    found, asked = tally.result, tally.request
    people = {name.casefold() for name in found.approvers}
    assert len(people) == len(found.approvers) >= max(1, asked.quorum)
    assert not people & {"kim", "bot"}
    assert (found.resolution == "edited") == (found.revised is not None)
    assert (found.resolution == "settled") == (asked.kind == "settle") == (found.settled is not None)
    said = {
        (
            step.vote.approver,
            step.vote.answer,
            bytes(step.vote.response or b""),
            step.revised and step.revised.ref.digest,
        )
        for step in steps
        if isinstance(step, BallotCast) and step.verification != "refused" and step.refusal is None
    }
    if found.resolution == "responded":
        assert all((name, "respond", bytes(found.response or b""), None) in said for name in found.approvers)
    if found.revised is not None:
        digest = found.revised.ref.digest
        edits = {name for name, answer, _, of in said if answer == "edit" and of == digest}
        yeses = {name for name, answer, _, _ in said if answer == "approve"}
        assert edits
        assert set(found.approvers) <= edits | yeses
