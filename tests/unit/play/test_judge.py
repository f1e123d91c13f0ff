"""The checker reports what is planted, and nothing where nothing is wrong."""

from __future__ import annotations

from pathlib import Path

import msgspec
import orjson
import pytest

from callgate.cli.checker.facts import ActionFacts, Facts
from callgate.cli.checker.judge import Expected, judge
from callgate.cli.play import corpora, recorded
from callgate.cli.play.report import compile_report
from callgate.events.actions import ActionFinished, ActionInDoubt, ActionProposed, ActionRef, Decision, Status, Verdict
from callgate.events.turns import TurnCompleted

TURN = "trn_000_abcdefghijklmnopqrstuvwx"
ACTION = "act_000_abcdefghijklmnopqrstuvwx"
OUTPUT = b'"flown"'


def proposed() -> ActionProposed:
    """A plain unsafe call."""
    ref = ActionRef(
        id=ACTION,
        turn_key=TURN,
        tenant="t",
        session="s",
        turn="1",
        agent="a",
        position=0,
        call_id="call_0",
        tool="fly",
        digest="0" * 64,
    )
    return ActionProposed(ref=ref, arguments=msgspec.Raw(b"{}"), proposed_at=100.0)


def decided(verdict: Verdict = "allow", valid_until: float = 200.0) -> Decision:
    """A decision taken at 101."""
    return Decision(
        verdict=verdict,
        by="bighub",
        reason="r",
        told="t",
        decided_at=101.0,
        valid_until=valid_until,
        bighub_seconds=0.5,
    )


def finished(
    status: Status = "executed", output: bytes | None = OUTPUT, verdict: Verdict = "allow", started: float = 102.0
) -> ActionFinished:
    """An end of the call."""
    return ActionFinished(
        action=proposed(),
        decision=decided(verdict),
        status=status,
        via="run",
        output=None if output is None else msgspec.Raw(output),
        started_at=started,
        finished_at=103.0,
    )


def completed(text: str = "flown") -> TurnCompleted:
    """The completed turn of the call."""
    return TurnCompleted(
        turn_key=TURN,
        tenant="t",
        session="s",
        turn="1",
        agent="a",
        status="completed",
        llm_response=msgspec.Raw(b"{}"),
        execution=msgspec.Raw(b'{"events":[],"last":null}'),
        items=msgspec.Raw(orjson.dumps([{"role": "tool", "tool_call_id": "call_0", "content": text}])),
        completed_at=104.0,
    )


def facts() -> Facts:
    """A log and a witness on which all is well."""
    action = ActionFacts(proposed=[proposed()], decisions=[(1, decided())], ends=[(7, finished())], effects=[11])
    return Facts(actions={ACTION: action}, turns={TURN: [completed()]})


EXPECTED = {ACTION: Expected(TURN, 0, "call_0", OUTPUT)}


def promises(found: Facts, expected: dict[str, Expected] = EXPECTED) -> set[str]:
    """Which promises the judge finds broken."""
    return {violation.promise for violation in judge(found, expected)}


def test_a_clean_log_has_no_violation() -> None:
    """Where every call ended once and had one effect, nothing is reported."""
    assert judge(facts(), EXPECTED) == []


def test_a_loss_is_reported() -> None:
    """A turn that was completed without the end of one of its actions is a loss."""
    found = facts()
    found.actions[ACTION].ends.clear()
    assert "P1" in promises(found)


def test_what_has_not_begun_is_no_violation() -> None:
    """A call that was submitted and not taken yet is pending, not lost."""
    assert judge(Facts(), EXPECTED) == []


def test_a_turn_that_was_taken_and_left_nothing_is_a_loss() -> None:
    """What the proposer is done with has actions or a refusal on the log."""
    assert promises(Facts(taken_turns={TURN})) == {"P1"}


def test_a_proposal_that_was_taken_and_left_nothing_is_a_loss() -> None:
    """What the evaluator is done with has a decision of the same revision and attempt."""
    action = ActionFacts(proposed=[proposed()])
    taken = Facts(actions={ACTION: action}, taken_proposals={(ACTION, 1, 0)})
    assert promises(taken) == {"P1"}
    action.decisions.append((1, decided()))
    action.decided.append((1, 0))
    assert promises(taken) == set()


def test_a_decision_that_was_taken_and_left_nothing_is_a_loss() -> None:
    """What the executor is done with has an end or a doubt, or was sent back."""
    action = ActionFacts(proposed=[proposed()], decisions=[(1, decided())], decided=[(1, 0)])
    taken = Facts(actions={ACTION: action}, taken_decisions={ACTION})
    assert promises(taken) == {"P1"}
    ref = msgspec.structs.replace(proposed().ref, attempt=1)
    action.proposed.append(msgspec.structs.replace(proposed(), ref=ref))
    assert promises(taken) == set()


def test_a_double_end_is_reported() -> None:
    """Two ends of one action break P2, also when both say the same."""
    found = facts()
    found.actions[ACTION].ends.append((9, finished()))
    assert "P2" in promises(found)


def test_a_double_effect_is_reported() -> None:
    """Two witness lines of an unsafe tool break P3."""
    found = facts()
    found.actions[ACTION].effects.append(12)
    assert "P3" in promises(found)


def test_an_executed_action_without_effect_is_reported() -> None:
    """An end that claims an effect which the witness did not see is a lie."""
    found = facts()
    found.actions[ACTION].effects.clear()
    assert "P3" in promises(found)


def test_an_effect_behind_a_refusal_is_reported() -> None:
    """An action that ended blocked must have had no effect."""
    found = facts()
    found.actions[ACTION].ends[:] = [(7, finished("blocked", None, "block"))]
    assert "P3" in promises(found)


def test_an_effect_without_an_allow_is_reported() -> None:
    """An effect on a mere review breaks P5."""
    found = facts()
    found.actions[ACTION].decisions[:] = [(1, decided("review"))]
    assert "P5" in promises(found)


def test_a_start_on_an_expired_decision_is_reported() -> None:
    """A start long after the decision's validity breaks P4."""
    found = facts()
    found.actions[ACTION].ends[:] = [(7, finished(started=300.0))]
    assert "P4" in promises(found)


def test_a_doubt_after_the_end_is_reported() -> None:
    """What has ended can't come into doubt."""
    found = facts()
    doubt = ActionInDoubt(
        action=proposed(),
        decision=decided(),
        token="tok",
        reason="r",
        claimed_at=1.0,
        horizon=None,
        doubted_at=2.0,
    )
    found.actions[ACTION].doubts.append((8, doubt))
    assert "P2" in promises(found)


@pytest.mark.parametrize("text", ["flown ", "", '"flown"'])
def test_an_altered_output_is_reported(text: str) -> None:
    """The model must read the recorded output, byte for byte."""
    found = facts()
    found.turns[TURN] = [completed(text)]
    assert "P1" in promises(found)


def test_an_action_that_nobody_submitted_is_reported() -> None:
    """The gate invents no calls."""
    found = facts()
    found.actions["act_000_zzz"] = ActionFacts(proposed=[proposed()])
    assert "P1" in promises(found)


def test_an_approval_resolved_twice_is_reported() -> None:
    """An approval resolves once."""
    found = facts()
    found.resolved["apr_000_abc"] = 2
    assert "P6" in promises(found)


def test_the_report_sums_to_the_calls_submitted() -> None:
    """What has not ended counts as in doubt, parked or pending, so that statuses always sum to the actions."""
    expected = EXPECTED | {name: Expected(TURN, 1, "c", None) for name in ("act_1", "act_2")}
    report = compile_report(facts(), expected, frozenset({"act_2"}), [], {})
    assert report.by_status == {"executed": 1, "parked": 1, "pending": 1}
    assert sum(report.by_status.values()) == report.actions
    assert report.latency["p50"] == pytest.approx(1.5)


def test_session_ids_never_collide() -> None:
    """Corpus and run never run into each other in a session id."""
    first = corpora.RecordedTurn("a/b", "c", "0", (), {})
    second = corpora.RecordedTurn("a", "b/c", "0", (), {})
    assert first.session("p") != second.session("p")
    assert first.session("p") != first.session("q")


def test_recorded_outputs_are_found_by_action(tmp_path: Path) -> None:
    """An executor finds the recording through the manifest, also one that was written after it started."""
    line = {"run_id": "r", "messages": [
        {"role": "assistant", "tool_calls": [
            {"id": "same", "function": {"name": "t", "arguments": "{}"}},
            {"id": "same", "function": {"name": "u", "arguments": "{}"}},
        ]},
        {"role": "tool", "content": "one"},
        {"role": "tool", "content": '{"two": 2}'},
    ]}  # fmt: skip
    file = tmp_path / "x.runs.jsonl"
    file.write_bytes(orjson.dumps(line))
    recordings = recorded.Recordings(tmp_path / "log.db")
    recorded.write_manifest(tmp_path / "log.db", "p", [file], 4)
    (turn,) = corpora.read(file)
    key = recorded.key_of(turn, "p", 4)
    actions = [recorded.action_of(key, position, call) for position, call in enumerate(turn.calls)]
    assert [recordings.output(action) for action in actions] == [b'"one"', b'"{\\"two\\": 2}"']
    assert recordings.output("act_unknown") == corpora.NOTHING_RECORDED
