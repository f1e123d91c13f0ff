"""Evaluations that travel together: the same answers and failures as alone, over the real SDK and the sandbox."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest
from aiohttp import web
from tests.contract.test_bighub_client import ASK, answering, client, failing

from callgate.bighub.batching import Batches
from callgate.failures import PermanentFailure, TemporaryFailure

ACTIONS = ("refund_full", "delete_all", "pay_out", "query_db", "guess_it")
VERDICTS = ["allow", "block", "review", "allow", "needs_context"]


async def test_what_is_asked_at_once_is_one_request_and_each_gets_its_own_answer() -> None:
    """Five questions of one moment must be one request, and each must get the answer that it would get alone."""
    requests = [replace(ASK, action=action, idempotency_key=f"evt_{action}") for action in ACTIONS]
    async with failing("") as (bighub, sandbox):
        batches = Batches(bighub, 100)
        answers = await asyncio.gather(*(batches.evaluate(each) for each in requests))
        alone = [await bighub.evaluate(each) for each in requests]
        kept = sandbox.store.requests()
    assert [each.verdict for each in answers] == VERDICTS == [each.verdict for each in alone]
    assert len({each.request_id for each in answers}) == len(ACTIONS)
    assert len(kept) == 2 * len(ACTIONS)


async def test_a_batch_has_no_more_than_its_limit_and_one_alone_keeps_its_key() -> None:
    """Three questions with a limit of two must be a batch of two and a plain request with its idempotency key."""
    seen: list[tuple[str, str | None, int]] = []
    allowed = {"recommendation": "proceed", "request_id": "req_1"}

    def answer(request: web.Request) -> web.StreamResponse:
        key = request.headers.get("Idempotency-Key")
        many = request.path.endswith("/batch")
        seen.append((request.path, key, 2 if many else 1))
        return web.json_response([allowed] * 2 if many else allowed)

    async with answering(answer) as url, client(url) as bighub:
        batches = Batches(bighub, 2)
        answers = await asyncio.gather(
            *(batches.evaluate(replace(ASK, idempotency_key=f"evt_{number}")) for number in range(3))
        )
    assert [each.verdict for each in answers] == ["allow"] * 3
    assert sorted(seen) == [("/actions/evaluate", "evt_2", 1), ("/actions/evaluate/batch", None, 2)]


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_a_batch_that_cannot_be_taken_is_asked_one_by_one(status: int) -> None:
    """Where BIGHUB refuses a batch for good, its actions must be asked alone; only the bad one fails."""

    def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/batch") or request.headers.get("Idempotency-Key") == "evt_1":
            return web.json_response({"detail": "no"}, status=status)
        return web.json_response({"recommendation": "proceed", "request_id": "req_1"})

    async with answering(answer) as url, client(url) as bighub:
        batches = Batches(bighub, 100)
        asked = (batches.evaluate(replace(ASK, idempotency_key=f"evt_{number}")) for number in range(3))
        first, second, third = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(second, PermanentFailure)
    assert [getattr(each, "verdict", None) for each in (first, third)] == ["allow", "allow"]


@pytest.mark.parametrize(
    "body", [[], [{"recommendation": "proceed", "request_id": "req_1"}] * 3, {"items": []}, None, "no"]
)
async def test_an_answer_that_is_not_one_decision_each_decides_nothing(body: object) -> None:
    """Too few, too many or no decisions at all must be a temporary failure for every action of the batch."""
    answer = orjson.dumps(body)
    async with (
        answering(lambda _: web.Response(body=answer, content_type="application/json")) as url,
        client(url) as bighub,
    ):
        batches = Batches(bighub, 100)
        ends = await asyncio.gather(batches.evaluate(ASK), batches.evaluate(ASK), return_exceptions=True)
    assert [type(each) for each in ends] == [TemporaryFailure, TemporaryFailure]


@pytest.mark.parametrize("item", [None, 7, "yes", [], {}, {"error": {"code": "x", "message": "y"}}])
async def test_a_decision_in_a_batch_that_cannot_be_read_blocks_its_action_alone(item: object) -> None:
    """An item that is no decision must block the action that it stands for, and no other."""
    good = {"recommendation": "proceed", "request_id": "req_1"}
    async with answering(lambda _: web.json_response([item, good])) as url, client(url) as bighub:
        batches = Batches(bighub, 100)
        bad, fine = await asyncio.gather(batches.evaluate(ASK), batches.evaluate(ASK))
    assert (bad.verdict, fine.verdict) == ("block", "allow")


async def test_who_gives_up_waiting_takes_nobody_along() -> None:
    """A question that is cancelled must leave the others of its batch their answers."""
    async with failing("") as (bighub, _):
        batches = Batches(bighub, 100)
        gone, stays = (asyncio.create_task(batches.evaluate(ASK)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await stays).verdict == "allow"
        with pytest.raises(asyncio.CancelledError):
            await gone
