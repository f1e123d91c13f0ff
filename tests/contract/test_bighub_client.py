"""Our client of BIGHUB, over the real SDK: what comes back from every way to answer, and to fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from callgate.bighub.client import Bighub
from callgate.bighub.failures import Unauthorized
from callgate.bighub.requests import EvaluateRequest, OutcomeReport
from callgate.bighub.resolve import Severity
from callgate.failures import BadInput, PermanentFailure, TemporaryFailure
from callgate.sandbox.faults import parse_faults
from callgate.sandbox.hostile import ROWS
from callgate.sandbox.policy import parse_policy
from callgate.sandbox.service import Sandbox
from callgate.settings import BighubSettings, Secret

KEY = "key-that-must-not-show"
ASK = EvaluateRequest(action="refund_full", idempotency_key="evt_1", value=25.0, arguments={"payment": "p1"})
POLICY = """
[default]
decision = "allow"

[[rule]]
action = "delete_*"
decision = "block"
reason = "deletes are blocked"

[[rule]]
action = "pay_*"
decision = "review"

[[rule]]
action = "query_*"
decision = "constrain"
constraints = { max_rows = 100 }

[[rule]]
action = "guess_*"
decision = "needs_context"
"""


def client(url: str, **settings: Any) -> Bighub:
    """A client of the server at `url`."""
    return Bighub(BighubSettings(url=url, key=Secret(KEY), **settings))


@asynccontextmanager
async def failing(fault: str, policy: str = POLICY) -> AsyncIterator[tuple[Bighub, Sandbox]]:
    """A client and its sandbox, which has the faults of one TOML table."""
    faults = parse_faults(f"[[fault]]\n{fault}" if fault else "")
    async with Sandbox(policy=parse_policy(policy), faults=faults) as sandbox, client(sandbox.url) as bighub:
        yield bighub, sandbox


@asynccontextmanager
async def answering(answer: Callable[[web.Request], web.StreamResponse]) -> AsyncIterator[str]:
    """A server that gives one answer to everything; for what the sandbox would not do."""

    async def handle(request: web.Request) -> web.StreamResponse:
        await request.read()
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("action", "verdict", "severity"),
    [
        ("refund_full", "allow", Severity.ALLOW),
        ("query_db", "allow", Severity.CONSTRAINED),
        ("pay_out", "review", Severity.REVIEW),
        ("guess_it", "needs_context", Severity.NEEDS_CONTEXT),
        ("delete_all", "block", Severity.BLOCK),
    ],
)
async def test_every_ruling_arrives_as_it_was_meant(action: str, verdict: str, severity: Severity) -> None:
    """What the policy decides is what the client resolves, through the real SDK."""
    async with failing("") as (bighub, _):
        resolution = await bighub.evaluate(replace(ASK, action=action))
    assert (resolution.verdict, resolution.severity) == (verdict, severity)
    assert resolution.request_id is not None
    assert (resolution.constraints is not None) == (action == "query_db")


async def test_everything_that_the_decision_needs_is_sent() -> None:
    """Action, actor, value, target, domain, context and arguments reach BIGHUB, with the SDK's own context labels."""
    request = replace(ASK, actor="agent-7", target="p1", domain="payments", context={"environment": "prod"})
    async with failing("") as (bighub, sandbox):
        await bighub.evaluate(request)
        _, sent, _ = sandbox.store.requests()[0]
    assert sent["context"] == {"environment": "prod", "objective": "better_decision", "model_selection": "auto"}
    assert {name: sent[name] for name in ("action", "actor", "value", "target", "domain", "arguments")} == {
        "action": "refund_full",
        "actor": "agent-7",
        "value": 25.0,
        "target": "p1",
        "domain": "payments",
        "arguments": {"payment": "p1"},
    }


async def test_a_repeat_is_the_same_decision() -> None:
    """The same idempotency key gives the same request id, so a crash before the commit makes no second approval."""
    async with failing("") as (bighub, sandbox):
        first = await bighub.evaluate(replace(ASK, action="pay_out"))
        second = await bighub.evaluate(replace(ASK, action="pay_out"))
        assert len(sandbox.store.approvals()) == 1
    assert first == second


async def test_a_lost_answer_is_the_same_decision_again() -> None:
    """An answer lost after the work was done is a temporary failure, and its repeat finds the same decision."""
    async with failing('status = 503\nwhen = "after"\ntimes = 1') as (bighub, sandbox):
        with pytest.raises(TemporaryFailure):
            await bighub.evaluate(ASK)
        resolution = await bighub.evaluate(ASK)
        assert [request_id for request_id, _, _ in sandbox.store.requests()] == [resolution.request_id]


@pytest.mark.parametrize("status", [302, 402, 408, 409, 425, 429, 500, 502, 503, 504, 599])
async def test_what_may_pass_is_temporary(status: int) -> None:
    """Statuses that say nothing against the request are temporary failures, after exactly one attempt."""
    async with failing(f"status = {status}\ntimes = 1") as (bighub, _):
        with pytest.raises(TemporaryFailure) as caught:
            await bighub.evaluate(ASK)
        assert not isinstance(caught.value, Unauthorized)
        assert (await bighub.evaluate(ASK)).executes


@pytest.mark.parametrize("status", [400, 404, 405, 413, 422])
async def test_what_can_never_pass_is_permanent(status: int) -> None:
    """Statuses that refuse the request itself are permanent failures that carry BIGHUB's code."""
    async with failing(f"status = {status}") as (bighub, _):
        with pytest.raises(PermanentFailure, match=f"{status}.*injected_fault"):
            await bighub.evaluate(ASK)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_makes_the_service_unready(status: int) -> None:
    """401 and 403 are `Unauthorized`, which the service shows as unready until a call is taken again."""
    async with failing(f"status = {status}\ntimes = 1") as (bighub, _):
        assert bighub.refused is None
        with pytest.raises(Unauthorized):
            await bighub.evaluate(ASK)
        assert bighub.refused is not None
        assert KEY not in bighub.refused
        await bighub.evaluate(ASK)
        assert bighub.refused is None


async def test_a_missing_key_is_unauthorized() -> None:
    """Without a key the request is sent without one and refused, instead of failing in the SDK."""
    async with Sandbox() as sandbox, Bighub(BighubSettings(url=sandbox.url)) as bighub:
        with pytest.raises(Unauthorized):
            await bighub.evaluate(ASK)


@pytest.mark.parametrize(
    ("header", "delay"),
    [("7", 7.0), ("0.5", 0.5), ("1e9", 3600.0), ("nan", None), ("-3", None), ("inf", 3600.0), ("Wed, 21 Oct", None)],
)
async def test_retry_after_is_a_delay_within_reason(header: str, delay: float | None) -> None:
    """Retry-After reaches the worker as seconds, and no value of it can stall or crash it."""
    limited = answering(lambda _: web.Response(status=429, headers={"Retry-After": header}))
    async with limited as url, client(url) as bighub:
        with pytest.raises(TemporaryFailure) as caught:
            await bighub.evaluate(ASK)
    assert caught.value.delay == delay


@pytest.mark.parametrize("body", ["html", "list", "null", "scalar", "empty", "truncated"])
async def test_a_200_without_a_decision_is_temporary(body: str) -> None:
    """A 200 whose body is no JSON object is never taken for a decision, nor for a receipt."""
    async with failing(f'body = "{body}"') as (bighub, _):
        with pytest.raises(TemporaryFailure, match="no JSON object"):
            await bighub.evaluate(ASK)
        with pytest.raises(TemporaryFailure, match="no JSON object"):
            await bighub.ingest_batch([{"event_type": "ACTION_EXECUTED"}])
        with pytest.raises(TemporaryFailure, match="no JSON object"):
            await bighub.report_outcome(OutcomeReport(request_id="req_1", status="SUCCESS"))


@pytest.mark.parametrize("row", sorted(ROWS))
async def test_no_hostile_decision_runs(row: str) -> None:
    """None of the decisions on which SDK and adapter disagree is executed."""
    async with failing(f'hostile = "{row}"') as (bighub, _):
        assert not (await bighub.evaluate(ASK)).executes


async def test_a_decision_without_an_id_does_not_run() -> None:
    """An allow that has no request id is a block: its outcome could never be reported."""
    async with failing('missing = ["request_id"]') as (bighub, _):
        resolution = await bighub.evaluate(ASK)
    assert (resolution.verdict, resolution.request_id) == ("block", None)


async def test_the_time_limit_is_for_the_whole_call() -> None:
    """A server that drips a byte now and then, which no read limit ever stops, is cut off in time."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    app = web.Application()
    app.router.add_post("/actions/evaluate", drip)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    began = time.monotonic()
    async with client(f"http://127.0.0.1:{runner.addresses[0][1]}", timeout_seconds=0.3) as bighub:
        with pytest.raises(TemporaryFailure, match="in time"):
            await bighub.evaluate(ASK)
        assert time.monotonic() - began < 2
    await runner.cleanup()


async def test_an_absent_server_is_temporary() -> None:
    """Nobody listening is a temporary failure."""
    async with Sandbox() as sandbox:
        url = sandbox.url
    async with client(url) as bighub:
        with pytest.raises(TemporaryFailure, match="can't be reached"):
            await bighub.evaluate(ASK)


async def test_the_key_never_shows_even_when_it_is_echoed() -> None:
    """A server that quotes the key in its error does not get it into our failures."""

    def echo(request: web.Request) -> web.StreamResponse:
        detail = {"code": "bad", "message": f"key {request.headers['X-API-Key']} is unknown"}
        return web.json_response({"detail": detail}, status=400)

    async with answering(echo) as url, client(url) as bighub:
        with pytest.raises(PermanentFailure) as caught:
            await bighub.evaluate(ASK)
    assert KEY not in caught.value.reason
    assert "is unknown" in caught.value.reason


@pytest.mark.parametrize(
    "arguments",
    [{"amount": float("nan")}, {"when": object()}, {"text": "\ud800"}],
    ids=["nan", "not-json", "surrogate"],
)
async def test_what_is_no_json_is_permanent(arguments: Mapping[str, object]) -> None:
    """Arguments that can't be written as JSON end the request for good, without a word of their content."""
    async with failing("") as (bighub, _):
        with pytest.raises(PermanentFailure, match="can't be written as JSON"):
            await bighub.evaluate(replace(ASK, arguments=arguments))


@pytest.mark.parametrize("identifier", ["", "../kill-switch/status", "a b", "x" * 129, "ü"])
async def test_unsafe_ids_are_never_sent(identifier: str) -> None:
    """An id that could change the path or break a header is refused before anything is sent."""
    async with failing("") as (bighub, sandbox):
        with pytest.raises(PermanentFailure, match="unsafe"):
            await bighub.evaluate(replace(ASK, idempotency_key=identifier))
        with pytest.raises(PermanentFailure, match="unsafe"):
            await bighub.report_outcome(OutcomeReport(request_id=identifier, status="SUCCESS"))
        assert sandbox.store.requests() == []
        assert sandbox.store.outcomes() == []


async def test_outcomes_and_events_arrive() -> None:
    """An outcome stands under its request id, events in the journal once, and a reconciled one finds its decision."""
    async with failing("") as (bighub, sandbox):
        resolution = await bighub.evaluate(ASK)
        assert resolution.request_id is not None
        event = {"event_type": "ACTION_EXECUTED", "request_id": resolution.request_id, "external_ref": "order 1"}
        await bighub.ingest_batch([event, event])
        await bighub.report_outcome(OutcomeReport(request_id=resolution.request_id, status="SUCCESS", tags=("a",)))
        await bighub.report_outcome(OutcomeReport(request_id=resolution.request_id, status="SUCCESS", tags=("b",)))
        await bighub.reconcile(external_ref="order 1", outcome={"status": "CHURN"})
        assert [each["status"] for each in sandbox.store.outcomes(resolution.request_id)] == ["SUCCESS", "CHURN"]
        assert [body["event_type"] for body, _ in sandbox.store.ingested()] == ["ACTION_EXECUTED", "OUTCOME_OBSERVED"]


async def test_large_batches_are_split() -> None:
    """More events than one request may hold are sent in several."""
    async with failing("") as (bighub, sandbox):
        await bighub.ingest_batch([{"event_type": "ACTION_EXECUTED", "external_ref": str(n)} for n in range(1001)])
        assert len(sandbox.store.ingested()) == 1001


@pytest.mark.parametrize(
    ("answer", "active"),
    [
        ({"is_active": False, "active_switches": []}, False),
        ({"is_active": True}, True),
        ({"is_active": "no"}, True),
        ({"is_active": False, "active_switches": [{"scope": "global"}]}, True),
        ({"status": "ok"}, True),
    ],
)
async def test_an_unclear_kill_switch_is_on(answer: Mapping[str, object], *, active: bool) -> None:
    """Only a plain no means that BIGHUB's kill switch is off."""
    async with answering(lambda _: web.json_response(answer)) as url, client(url) as bighub:
        assert await bighub.kill_switch_status() is active


@pytest.mark.parametrize(
    "url",
    ["http://bighub.example", "ftp://localhost", "localhost:8765", "", "https://", "http://[::1", "http://10.0.0.1"],
)
def test_an_address_that_cannot_be_used_says_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong or insecure address is bad input that names its setting."""
    monkeypatch.delenv("BIGHUB_ALLOW_INSECURE_HTTP", raising=False)
    with pytest.raises(BadInput, match="CALLGATE_BIGHUB_URL"):
        client(url)


def test_a_key_that_cannot_be_sent_says_so() -> None:
    """A key with a line break or a letter outside of ASCII is bad input, and is not shown."""
    for key in ("abc\ndef", "schlüssel"):
        with pytest.raises(BadInput, match="CALLGATE_BIGHUB_KEY") as caught:
            Bighub(BighubSettings(key=Secret(key)))
        assert key not in str(caught.value)


async def test_a_sandbox_on_this_machine_is_reached_past_any_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not asked for what is on this machine."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with failing("") as (bighub, _):
        assert (await bighub.evaluate(ASK)).executes


async def test_many_calls_at_once_and_a_cancelled_one() -> None:
    """More calls at once than there are connections all end, and a cancelled one spoils nothing for the next."""
    async with failing("delay_seconds = 0.05\ntimes = 40") as (bighub, _):
        asked = [bighub.evaluate(replace(ASK, idempotency_key=f"evt_{n}")) for n in range(150)]
        assert all(each.executes for each in await asyncio.gather(*asked))
        slow = asyncio.create_task(bighub.evaluate(replace(ASK, idempotency_key="evt_slow")))
        await asyncio.sleep(0)
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        assert (await bighub.evaluate(ASK)).executes
