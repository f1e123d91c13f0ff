"""What the command line says of actions is what the log says, with the place of every step."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.approval_values import ACTION, APPROVAL, NOW, cast, proposed, question, review, vote
from tests.support.command import callgate
from tests.support.planted import on, plant, put

from callgate.cli.views import OPEN, Step, fold_actions, fold_questions
from callgate.events import ids
from callgate.events.actions import ActionDecided, ActionFinished, ActionInDoubt, Fault, Verdict
from callgate.events.approvals import ApprovalResolved
from callgate.events.event import Event
from callgate.events.turns import ActionReply
from callgate.log.port import Log, Record
from callgate.worker import deadletters
from callgate.worker.parking import PREFIX, Parked

SHORT = ids.short(ACTION)


def decided(verdict: Verdict = "allow", **changes: object) -> ActionDecided:
    """A decision on the payment."""
    return ActionDecided(action=proposed(), decision=review(verdict=verdict, **changes))


def finished(status: str = "executed") -> ActionFinished:
    """The payment's end."""
    end = ActionFinished(action=proposed(), decision=review(), status="executed", via="run", finished_at=NOW + 3)
    return msgspec.structs.replace(end, status=status)


def doubt() -> ActionInDoubt:
    """Doubt about it."""
    return ActionInDoubt(
        action=proposed(), decision=review(), token="tok_1", reason="?", claimed_at=NOW, horizon=None, doubted_at=NOW
    )


def later() -> Event:
    """The payment proposed anew by the gate."""
    return proposed(ref=msgspec.structs.replace(proposed().ref, attempt=1))


def steps(*events: Event) -> list[Step]:
    """The events as they were read."""
    return [Step("t", 0, offset, NOW, event) for offset, event in enumerate(events)]


@pytest.mark.parametrize(
    ("events", "standing"),
    [
        ([proposed()], "proposed"),
        ([proposed(), decided("review")], "approval_required"),
        ([proposed(), decided("review"), decided("allow")], "decided"),
        ([proposed(), decided(), later()], "proposed"),
        ([proposed(), decided(), doubt()], "in_doubt"),
        ([proposed(), decided(), doubt(), finished("unknown")], "unknown"),
        ([proposed(), decided(), finished()], "executed"),
        ([finished("blocked")], "blocked"),
    ],
)
def test_an_action_stands_where_its_last_step_left_it(events: list[Event], standing: str) -> None:
    """Each combination of steps stands for one word, also where the first steps are past their retention."""
    assert fold_actions(steps(*events))[ACTION].standing == standing


@given(
    st.permutations([proposed(), later(), decided("review"), decided("allow"), doubt(), finished()]), st.integers(0, 5)
)
def test_order_and_repeats_change_nothing(events: list[Event], repeated: int) -> None:
    """However topics are read one after another, and whatever is read twice, an action stands in one place."""
    life = fold_actions(steps(*events, events[repeated]))[ACTION]
    assert life.standing == "executed"
    assert life.decided is not None
    assert life.decided.decision.verdict == "allow"
    assert life.proposed.ref.attempt == 1


@given(st.permutations([question(), cast(), cast(vote(approver="eve"), origin="x/0/1")]))
def test_votes_find_their_question_in_any_order(events: list[Event]) -> None:
    """A vote that is read before its question belongs to it all the same."""
    found = fold_questions(steps(*events))
    assert [ballot.vote.approver for ballot in found[APPROVAL].ballots]
    assert len(found[APPROVAL].ballots) == 2


def test_only_what_has_not_ended_may_be_parked() -> None:
    """A parked record makes its action `parked`, unless the action has ended."""
    assert fold_actions(steps(proposed()), frozenset({ACTION}))[ACTION].standing == "parked"
    assert fold_actions(steps(proposed(), finished()), frozenset({ACTION}))[ACTION].standing == "executed"
    assert "parked" in OPEN


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log with the payment's whole life on it."""
    path = tmp_path / "log.db"
    ref = proposed().ref
    resolved = ApprovalResolved(
        approval_id=APPROVAL,
        action=ref,
        resolution="approved",
        approvers=("lee",),
        requested_at=NOW,
        resolved_at=NOW + 1,
    )
    reply = ActionReply(
        action_id=ACTION, turn_key=ref.turn_key, tenant="acme", session="s", turn="1", round=0, position=0,
        call_id="c1", tool="pay", digest=ref.digest, status="executed", replied_at=NOW + 4,
    )  # fmt: skip
    life = [proposed(), decided("review"), question(), vote(), cast(), resolved, decided(), finished(), reply]
    for number, event in enumerate(life):
        plant(path, event, at=NOW + number)
    return path


def test_show_has_every_step_with_its_place(path: Path) -> None:
    """The life of an action names topic, partition and offset of each step, in the order in which they happened."""
    shown = callgate("actions", "show", SHORT[:4], "--json", CALLGATE_LOG=f"sqlite:///{path}").json()
    assert shown["status"] == "executed"
    assert [(step["topic"], step["what"]) for step in shown["steps"]] == [
        ("actions.proposed", "proposed"),
        ("actions.decided", "decided: review"),
        ("approvals.ballots", "people asked"),
        ("approvals.ballots", "vote checked"),
        ("approvals.resolved", "answered: approved"),
        ("actions.decided", "decided: allow"),
        ("actions.finished", "finished: executed"),
        ("replies", "agent told: executed"),
        ("approvals.votes", "voted: approve"),  # an entrance is stamped by the log, and that is now
    ]
    assert all({"partition", "offset", "at", "id"} <= step.keys() for step in shown["steps"])
    ran = callgate("actions", "show", ACTION, CALLGATE_LOG=f"sqlite:///{path}")
    assert "actions.finished/0/0" in ran.out
    assert "1234" not in ran.out
    assert "***" in ran.out


def test_the_list_is_filtered_and_counted(path: Path) -> None:
    """Tenant, session, tool and status choose; the counts are of what was chosen."""
    log = f"sqlite:///{path}"
    for chosen in (["--tenant", "acme"], ["--session", "s"], ["--tool", "pay"], ["--status", "executed"], []):
        shown = callgate("actions", "list", *chosen, "--json", CALLGATE_LOG=log).json()
        assert shown["by_status"] == {"executed": 1}, chosen
    for other in (
        ["--tenant", "x"],
        ["--session", "x"],
        ["--tool", "x"],
        ["--status", "open"],
        ["--status", "blocked"],
    ):
        shown = callgate("actions", "list", *other, "--json", CALLGATE_LOG=log).json()
        assert shown == {"actions": [], "by_status": {}, "total": 0}, other
    assert SHORT in callgate("actions", "list", CALLGATE_LOG=log).out


def test_what_lies_aside_is_told(tmp_path: Path) -> None:
    """An action that a service has parked, or given up, says so, with the places of both."""
    path = tmp_path / "log.db"
    plant(path, proposed())
    value = msgspec.json.encode(proposed())
    parked = Parked(
        lane=ACTION, ticket=1, topic="actions.proposed", partition=0, offset=0, key=None, value=value, headers=(),
        timestamp=NOW, attempt=4, not_before=NOW + 30, parked_at=NOW,
    )  # fmt: skip
    put(path, "evaluator", ("actions.proposed",), {f"{PREFIX}{ACTION}/x": msgspec.msgpack.encode(parked)})
    record = Record("actions.decided", 0, 7, None, value, (), NOW)
    grave = deadletters.letter(record, reason="odd", attempts=1, service="executor", subject=ACTION, died_at=NOW)

    async def bury(log: Log) -> None:
        await log.publish([grave])

    on(path, bury)
    shown = callgate("actions", "show", SHORT, "--json", CALLGATE_LOG=f"sqlite:///{path}").json()
    listed = callgate("actions", "list", "--json", CALLGATE_LOG=f"sqlite:///{path}").json()
    assert listed["by_status"] == {"parked": 1}
    assert any("evaluator" in aside and "tried 4 times" in aside for aside in shown["asides"])
    assert any("dead letter 0/0" in aside and "odd" in aside for aside in shown["asides"])


def test_arguments_that_can_not_be_read_are_masked_whole(tmp_path: Path) -> None:
    """A call with a fault may hold a secret in a text that is no object: none of it is shown."""
    path = tmp_path / "log.db"
    fault = Fault(code="malformed_arguments", message="no")
    plant(path, proposed(arguments=msgspec.Raw(b'"{\\"pin\\": 1234"'), fault=fault))
    ran = callgate("actions", "show", SHORT, CALLGATE_LOG=f"sqlite:///{path}")
    assert ran.code == 0
    assert "1234" not in ran.out
    assert "malformed_arguments" in ran.out


def test_what_can_not_be_read_hides_nothing_else(path: Path) -> None:
    """Records that are no events, in any topic, are passed over."""
    from callgate.log.port import Outgoing  # noqa: PLC0415 - only this test plants what is no event

    async def spoil(log: Log) -> None:
        for topic in ("actions.proposed", "actions.finished", "approvals.ballots", "control", "fleet", "deadletters"):
            await log.publish([Outgoing(topic, 0, b"x", b"{", (("ce_type", b"callgate.action.proposed.v1"),))])
            await log.publish([Outgoing(topic, 0, None, None, ())])

    on(path, spoil)
    log = f"sqlite:///{path}"
    assert callgate("actions", "list", "--json", CALLGATE_LOG=log).json()["total"] == 1
    assert len(callgate("approvals", "list", "--all", "--json", CALLGATE_LOG=log).json()) == 1
    for command in (["control", "show"], ["topics", "list"], ["deadletters", "list"]):
        assert callgate(*command, CALLGATE_LOG=log).code == 0
