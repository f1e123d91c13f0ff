"""An action's life in BIGHUB's words: told whole, masked, the same each time, and never better than it was."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import orjson
import pytest
from tests.support.approval_values import ACTION, NOW, proposed, review

from callgate.events.actions import ActionFinished, ActionInDoubt, Fault, Status
from callgate.events.outcomes import OutcomeObserved, OutcomeStatus
from callgate.failures import PermanentFailure
from callgate.reporter import life


def _end(status: Status = "executed", **changes: Any) -> ActionFinished:
    decision = changes.pop("decision", review(verdict="allow", recommendation="proceed"))
    fields: dict[str, Any] = {"action": proposed(), "decision": decision, "status": status, "via": "run"}
    return ActionFinished(**{**fields, "started_at": NOW + 1, "finished_at": NOW + 3, **changes})


def _observed(**changes: Any) -> OutcomeObserved:
    fields: dict[str, Any] = {"outcome_id": "o", "tenant": "acme", "action_id": ACTION, "status": "FRAUD"}
    return OutcomeObserved(**{**fields, "observed_at": NOW, **changes})


def _kinds(event: ActionFinished) -> list[str]:
    return [str(entry["event_type"]) for entry in life.finished_events(event)]


@pytest.mark.parametrize("status", get_args(Status))
def test_every_end_can_be_told(status: Status) -> None:
    """Whatever the end, the events are JSON, the first is the proposal, and the last says how it ended."""
    entries = life.finished_events(_end(status))
    assert entries[0]["event_type"] == "ACTION_PROPOSED"
    assert entries[-1]["execution"]["status"] == status
    assert orjson.loads(orjson.dumps(entries)) == entries


def test_only_what_ran_is_told_as_executed() -> None:
    """A tool that raised has run; what the gate or a person stopped has not; what is unknown is neither."""
    ends: dict[str, set[str]] = {}
    for status in get_args(Status):
        ends.setdefault(_kinds(_end(status))[-1], set()).add(status)
    assert ends["ACTION_EXECUTED"] == {"executed", "tool_error"}
    assert ends["ESCALATION_TRIGGERED"] == {"unknown"}
    assert "executed" not in life.finished_events(_end("unknown"))[-1]["execution"]


@pytest.mark.parametrize(
    ("verdict", "kind"), [("allow", "HUMAN_APPROVAL"), ("reject", "HUMAN_REJECTION"), ("respond", "HUMAN_OVERRIDE")]
)
def test_what_people_said_is_told(verdict: Any, kind: str) -> None:
    """A decision by people is an event of its own, with their names; BIGHUB's own decision is not."""
    decision = review(verdict=verdict, by="approval", approvers=("lee",))
    entries = life.finished_events(_end(decision=decision))
    assert [entry["event_type"] for entry in entries][1] == kind
    assert entries[1]["human_feedback"]["approvers"] == ["lee"]
    assert len(life.finished_events(_end())) == 2


def test_silence_is_no_rejection() -> None:
    """An approval that expired is told as blocked, and not as somebody's no."""
    assert _kinds(_end("expired", decision=review(verdict="expire", by="approval"))) == [
        "ACTION_PROPOSED",
        "ACTION_BLOCKED",
    ]


def test_sensitive_arguments_stay_here() -> None:
    """Declared and obvious secrets are masked in every event, and faulty arguments are not sent at all."""
    action = proposed(arguments=msgspec.Raw(b'{"amount":5,"note":"n","password":"p"}'), sensitive=("note",))
    for entry in life.finished_events(_end(action=action)):
        assert entry["action"]["arguments"] == {"amount": 5, "note": "***", "password": "***"}
    faulty = proposed(
        arguments=msgspec.Raw(b'"password=p"'), fault=Fault(code="malformed_arguments", message="no object")
    )
    entries = life.finished_events(_end("refused", action=faulty))
    assert all(entry["action"]["arguments"] == {} for entry in entries)
    assert entries[0]["context"]["fault"] == "malformed_arguments"


def test_events_of_an_action_share_its_reference_and_have_ids_of_their_own() -> None:
    """BIGHUB finds the lifecycle by one reference; repeats are the same bytes, and no two facts share an id."""
    doubt = ActionInDoubt(
        action=proposed(),
        decision=review(),
        token="t",
        reason="late",
        claimed_at=NOW,
        horizon=None,
        doubted_at=NOW,
    )
    end = _end("unknown", decision=review(verdict="allow", by="approval"))
    entries = [*life.finished_events(end), *life.doubt_events(doubt)]
    assert {entry["external_ref"] for entry in entries} == {ACTION}
    assert len({entry["context"]["event_id"] for entry in entries}) == len(entries)
    assert orjson.dumps(life.finished_events(end)) == orjson.dumps(life.finished_events(end))


def test_a_success_is_reported_under_the_decision() -> None:
    """The outcome names BIGHUB's request, what ran, for how long, and that the recommendation was followed."""
    report = life.outcome_of(_end())
    assert report is not None
    assert (report.request_id, report.status, report.production_action) == ("req_1", "SUCCESS", "pay")
    assert report.recommendation_followed is True
    assert report.details["seconds"] == 2.0


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("executed", "SUCCESS"),
        ("tool_error", "FAILURE"),
        ("blocked", "BLOCKED"),
        ("rejected", "BLOCKED"),
        ("killed", "BLOCKED"),
        ("not_executed", "NO_EFFECT"),
        ("expired", "NO_EFFECT"),
        ("responded", "NO_EFFECT"),
        ("needs_context", "NO_EFFECT"),
        ("refused", None),
        ("unknown", None),
    ],
)
def test_the_outcome_of_each_end(status: Status, outcome: str | None) -> None:
    """What nobody saw is not reported as anything."""
    report = life.outcome_of(_end(status))
    assert (None if report is None else report.status) == outcome


@pytest.mark.parametrize("request_id", [None, ""])
def test_without_bighubs_decision_there_is_no_outcome(request_id: str | None) -> None:
    """What BIGHUB never decided has no outcome to report to it."""
    assert life.outcome_of(_end("blocked", decision=review(request_id=request_id))) is None


@pytest.mark.parametrize(
    ("recommendation", "status", "followed"),
    [
        ("proceed", "executed", True),
        ("proceed_with_caution", "blocked", False),
        ("do_not_proceed", "blocked", True),
        ("do_not_proceed", "executed", False),
        ("review_recommended", "executed", False),
        ("something new", "executed", None),
        (None, "executed", None),
    ],
)
def test_whether_the_recommendation_was_followed(
    recommendation: str | None, status: Status, *, followed: bool | None
) -> None:
    """BIGHUB learns whether its word was followed, and nothing where it gave none that we know."""
    report = life.outcome_of(_end(status, decision=review(recommendation=recommendation)))
    assert report is not None
    assert report.recommendation_followed is followed


def test_a_long_error_is_cut() -> None:
    """A tool's error text does not grow a report without bound."""
    end = _end("tool_error", error="x" * 10_000)
    report = life.outcome_of(end)
    assert report is not None
    assert len(str(report.details["error"])) == life.ERROR_MOST
    assert len(life.finished_events(end)[-1]["execution"]["error"]) == life.ERROR_MOST


@pytest.mark.parametrize("status", get_args(OutcomeStatus))
def test_observed_outcomes_keep_what_was_seen(status: OutcomeStatus) -> None:
    """The observer's status, words and numbers arrive, marked as observed."""
    event = _observed(status=status, revenue_impact=-5.0, correction=True, details=msgspec.Raw(b'{"case":1}'))
    report = life.observed_report(event, "req_9")
    assert (report.request_id, report.status, report.label_quality) == ("req_9", status, "observed")
    assert (report.revenue_impact, report.correction_needed, report.details) == (-5.0, True, {"case": 1})
    assert life.observed_outcome(event)["status"] == status


@pytest.mark.parametrize("at", [float("1e300"), -1e300, 1e15])
def test_a_time_that_is_none_is_a_permanent_failure(at: float) -> None:
    """An observer's nonsense becomes a dead letter with a reason, not a defect."""
    with pytest.raises(PermanentFailure, match="observed_at"):
        life.observed_report(_observed(observed_at=at), "req_9")


def test_details_that_cannot_be_read_are_a_permanent_failure() -> None:
    """Raw JSON from outside is parsed late, and its failure has a name."""
    with pytest.raises(PermanentFailure, match="details"):
        life.observed_outcome(_observed(details=msgspec.Raw(b'"\xff"')))
    assert life.details_of(_observed(details=msgspec.Raw(b"[1]"))) == {"details": [1]}
