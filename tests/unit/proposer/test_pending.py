"""Calls that a turn does not wait for: the model is told that they are pending, and one follow-up tells the results."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.support.proposer_values import NOW, decision, finished, function_call
from tests.unit.proposer.test_conversing import TEXT, Loop, loop, only, turn

from callgate.events.actions import ActionDecided, ActionInDoubt, ActionProposed
from callgate.events.topics import DAY, IDENTITY_WINDOW
from callgate.events.turns import ActionReply, TurnCompleted, TurnSubmitted
from callgate.proposer.pending import next_turn

TWO = [function_call(call_id="c1"), function_call(call_id="c2")]


def review(action: ActionProposed) -> ActionDecided:
    """A person is asked about an action."""
    return ActionDecided(action=action, decision=decision("review", approval_id="apr_000_a"))


async def told(*answers: Any) -> tuple[Loop, list[ActionProposed]]:
    """A turn that tells, whose first answer has called."""
    run = loop(*answers)
    await run.work.deliver(turn(pending="tell"))
    return run, only(await run.ask(), ActionProposed)


async def test_the_model_is_told_and_a_follow_up_tells_the_result() -> None:
    """The turn ends without waiting and names its follow-up, which begins with the history and the result, once."""
    run, (action,) = await told([function_call()], [TEXT], [TEXT])
    (reply,) = await run.work.deliver(review(action))
    assert isinstance(reply, ActionReply)
    assert reply.status == "approval_required"
    assert await run.work.deliver(review(action)) == []
    (done,) = only(await run.ask(), TurnCompleted)
    answer = run.model.asked[1]["input"][-1]
    assert orjson.loads(answer["output"])["status"] == "pending_approval"
    assert orjson.loads(answer["output"])["approval_id"] == "apr_000_a"
    assert orjson.loads(bytes(done.execution))["last"]["status"] == "pending_approval"
    late, follow = await run.work.deliver(finished(action, output="paid"))
    assert isinstance(late, ActionReply)
    assert isinstance(follow, TurnSubmitted)
    assert late.status == "executed"
    assert (follow.origin.turn, follow.max_tool_rounds) == ("1~follow-up-1", 7)
    assert await run.work.deliver(finished(action, output="paid")) == []
    assert await run.work.deliver(follow) == []
    (last,) = only(await run.ask(), TurnCompleted)
    assert (done.follow_up, last.follow_up) == (last.turn_key, None)
    given = run.model.asked[2]["input"]
    assert given[:-1] == [*run.model.asked[1]["input"], TEXT]
    assert given[-1]["content"].endswith("paid")
    assert not [name for name in run.work.table.entries if name.startswith(("pending/", "follow/"))]


async def test_one_follow_up_waits_for_the_last_of_them() -> None:
    """Two pending calls are told together, in their order, whichever ended first."""
    run, (one, two) = await told(TWO, [TEXT])
    for action in (one, two):
        await run.work.deliver(review(action))
    await run.ask()
    assert len(await run.work.deliver(finished(two, output="second"))) == 1
    _, follow = await run.work.deliver(finished(one, "rejected", verdict="review"))
    assert isinstance(follow, TurnSubmitted)
    assert [item["content"].split("\n")[-1] for item in orjson.loads(bytes(follow.input))[-2:]] == [
        '{"status":"rejected","reason":"A person refused it."}',
        "second",
    ]


async def test_an_end_that_comes_before_the_model_is_asked_is_its_answer() -> None:
    """While another call of the round is open, the real result takes the place of the pending one: nothing follows."""
    run, (one, two) = await told(TWO, [TEXT])
    await run.work.deliver(review(one))
    await run.work.deliver(finished(one, output="paid"))
    await run.work.deliver(finished(two, output="other"))
    (done,) = only(await run.ask(), TurnCompleted)
    assert [item["output"] for item in run.model.asked[1]["input"][-2:]] == ["paid", "other"]
    assert done.follow_up is None


async def test_an_end_while_the_model_answers_is_told_by_the_follow_up() -> None:
    """A result that comes when the model was told already is kept, and the follow-up begins with the turn's end."""
    run, (action,) = await told([function_call()], [TEXT])
    await run.work.deliver(review(action))
    assert [type(event) for event in await run.work.deliver(finished(action, output="paid"))] == [ActionReply]
    done, follow = await run.ask()
    assert isinstance(done, TurnCompleted)
    assert isinstance(follow, TurnSubmitted)
    assert done.follow_up is not None


async def test_doubt_is_told_like_waiting() -> None:
    """A call whose end is unknown keeps nobody waiting, and the model hears not to repeat it."""
    run, (action,) = await told([function_call()], [TEXT])
    doubt = ActionInDoubt(
        action=action,
        decision=decision(),
        token="tok_1",
        reason="no end",
        claimed_at=NOW,
        horizon=NOW,
        doubted_at=NOW,
    )
    await run.work.deliver(doubt)
    await run.ask()
    assert orjson.loads(run.model.asked[1]["input"][-1]["output"])["status"] == "in_doubt"


async def test_a_turn_that_waits_is_not_told() -> None:
    """Without the option a call that waits for a person holds the turn, as ever."""
    run = loop([function_call()])
    await run.work.deliver(turn())
    (action,) = only(await run.ask(), ActionProposed)
    await run.work.deliver(review(action))
    assert not run.waits


async def test_a_turn_is_remembered_while_its_follow_up_waits() -> None:
    """A result that comes after the identity window must still find its turn."""
    run, (action,) = await told([function_call()], [TEXT])
    await run.work.deliver(review(action))
    await run.ask()
    (name,) = run.work.timers
    await run.work.clock.advance(IDENTITY_WINDOW + DAY)
    await run.work.fire(name)
    assert [type(event) for event in await run.work.deliver(finished(action))] == [ActionReply, TurnSubmitted]


async def test_a_history_too_large_for_a_record_fails_the_follow_up_and_says_so() -> None:
    """Whoever waits for the follow-up must not wait for ever."""
    long = {**TEXT, "content": [{"type": "output_text", "text": "x" * 500_000}]}
    run, (action,) = await told([long, function_call()], [long])
    await run.work.deliver(review(action))
    (done,) = only(await run.ask(), TurnCompleted)
    reply, failed = await run.work.deliver(finished(action))
    assert isinstance(reply, ActionReply)
    assert isinstance(failed, TurnCompleted)
    assert (failed.status, failed.turn_key) == ("failed", done.follow_up)


@pytest.mark.parametrize(
    ("name", "following"),
    [("a", "a~follow-up-1"), ("a~follow-up-1", "a~follow-up-2"), ("a~follow-up-x", "a~follow-up-x~follow-up-1")],
)
def test_names_of_follow_ups_count_on(name: str, following: str) -> None:
    """The name says which turn it follows, and does not grow."""
    assert next_turn(name) == following
    assert len(next_turn("x" * 256)) <= 256
