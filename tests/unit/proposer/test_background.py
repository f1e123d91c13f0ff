"""Answers in the background: one that was begun is looked for until it is there, and never begun again."""

from __future__ import annotations

import msgspec
import orjson
from tests.unit.proposer.test_conversing import TEXT, loop, only, turn

from callgate.events.turns import TurnCompleted
from callgate.proposer.background import poll_after

BEHIND = msgspec.Raw(b'{"background": true}')
QUEUED = orjson.dumps({"id": "resp_b", "status": "queued", "output": []})


async def test_what_was_begun_is_looked_for_until_it_is_there() -> None:
    """One request is made, its id is kept, and every later step asks for that id."""
    run = loop(QUEUED, QUEUED, [TEXT])
    await run.work.deliver(turn(options=BEHIND))
    assert await run.ask() == []
    assert await run.ask() == []
    (done,) = only(await run.ask(), TurnCompleted)
    assert done.status == "completed"
    assert (run.model.asked[0]["background"], run.model.asked[0]["store"]) == (True, True)
    assert run.model.asked[1:] == [{"look": "resp_b"}] * 2


async def test_what_takes_too_long_is_cancelled() -> None:
    """After its time the answer is given up at the provider too, and the turn ends."""
    run = loop(QUEUED, QUEUED)
    await run.work.deliver(turn(options=BEHIND))
    await run.ask()
    await run.work.clock.advance(61)
    (done,) = only(await run.ask(), TurnCompleted)
    assert done.status == "failed"
    assert run.model.asked[-1] == {"cancel": "resp_b"}


async def test_an_id_that_can_not_stand_in_a_path_ends_the_turn() -> None:
    """What the provider calls its answer is not trusted to be an id."""
    run = loop(QUEUED.replace(b"resp_b", b"../models"))
    await run.work.deliver(turn(options=BEHIND))
    (done,) = only(await run.ask(), TurnCompleted)
    assert "no id" in (done.reason or "")


def test_looks_become_rarer() -> None:
    """A quick answer is found soon, and a slow one is not asked for all the time."""
    assert [poll_after(elapsed, 2) for elapsed in (0, 100, 3600)] == [2, 10, 30]
