"""The real SDK, sync and async, against the sandbox: every endpoint that it serves, and every way to be refused."""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from bighub import AsyncBighubClient, BighubClient
from bighub.exceptions import (
    BighubAPIError,
    BighubAuthError,
    BighubRateLimitError,
    BighubValidationError,
)
from tests.support.bighub_transports import sdk

from callgate.clock import ManualClock
from callgate.sandbox.faults import parse_faults
from callgate.sandbox.policy import parse_policy
from callgate.sandbox.service import Sandbox

POLICY = parse_policy("""
[default]
decision = "allow"

[[rule]]
action = "delete_*"
decision = "block"

[[rule]]
action = "pay_*"
decision = "review"
better_action = "pay_later"

[[rule]]
action = "query_*"
decision = "constrain"
constraints = { max_rows = 100 }

[[rule]]
action = "guess_*"
decision = "needs_context"
""")

Use = Callable[[Callable[[Any], Any]], Any]
"""Runs a function of the SDK's client, sync or async, and gives its result."""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox whose clock stands still."""
    async with Sandbox(policy=POLICY, clock=ManualClock()) as running:
        yield running


@pytest.fixture(params=["sync", "async", "aiohttp"])
async def use(request: pytest.FixtureRequest, sandbox: Sandbox) -> AsyncIterator[Use]:
    """Both faces of the SDK, and the asynchronous one over our transport."""
    options: dict[str, Any] = {"base_url": sandbox.url, "api_key": "any", "max_retries": 0}
    if request.param == "sync":
        client = BighubClient(**options)

        async def run(act: Callable[[Any], Any]) -> Any:
            return await asyncio.to_thread(act, client)

        yield run
        client.close()
        return
    async with sdk("aiohttp" if request.param == "aiohttp" else "httpx", sandbox.url) as other:

        async def run_async(act: Callable[[Any], Any]) -> Any:
            result = act(other)
            return await result if inspect.isawaitable(result) else result

        yield run_async


@pytest.mark.parametrize(
    ("action", "mode", "can_run"),
    [
        ("refund", "autonomous", True),
        ("query_db", "constrained", True),
        ("pay_out", "review", False),
        ("delete_all", "blocked", False),
        ("guess_it", "needs_context", False),
    ],
)
async def test_the_sdk_reads_every_ruling(use: Use, action: str, mode: str, *, can_run: bool) -> None:
    """The SDK derives from each shape the mode that the policy meant."""
    decision = await use(lambda client: client.decide(action=action, value=10.0))
    assert (decision.mode, decision.can_run, decision.needs_review) == (mode, can_run, mode == "review")
    assert decision.better_action == ("pay_later" if mode == "review" else None)


async def test_every_evaluating_call_is_answered(use: Use) -> None:
    """All of the SDK's ways to evaluate get a decision with an id."""
    for act in (
        lambda client: client.actions.evaluate(action="refund", metadata={"a": 1}),
        lambda client: client.actions.submit(action="refund"),
        lambda client: client.actions.evaluate_payload(payload={"action": "refund", "arguments": {"x": 1}}),
        lambda client: client.decisions.evaluate(action="refund", raw=True),
    ):
        answer = await use(act)
        assert answer["recommendation"] == "proceed"
        assert answer["request_id"]
    assert (await use(lambda client: client.actions.status()))["sandbox"] is True


async def test_a_dry_run_decides_nothing(use: Use, sandbox: Sandbox) -> None:
    """A dry run is told apart by the SDK, says what it would have been, and leaves no trace."""
    answer = await use(lambda client: client.actions.dry_run(payload={"action": "pay_out"}))
    assert (answer["dry_run"], answer["dry_run_verdict"], answer["enforced_verdict"]) == (
        True,
        "requires_approval",
        "blocked",
    )
    assert sandbox.store.requests() == []
    assert sandbox.store.approvals() == []


async def test_a_batch_is_an_array_in_order(use: Use, sandbox: Sandbox) -> None:
    """A batch answers with a bare array in order; shared fields and metadata apply, and a bad item is blocked alone."""
    items = [{"action": "refund", "metadata": {"a": 1}}, {"value": 3}, {"action": "delete_x", "actor": "own"}]
    answers = await use(lambda client: client.actions.evaluate_batch(actions=items, domain="d", actor="shared"))
    assert [answer["recommendation"] for answer in answers] == ["proceed", "do_not_proceed", "do_not_proceed"]
    assert answers[1]["error"]["code"] == "invalid"
    requests = [body for _, body, _ in sandbox.store.requests()]
    assert [(body["actor"], body["domain"]) for body in requests] == [("shared", "d"), ("own", "d")]
    assert requests[0]["context"] == {"a": 1}


async def test_an_idempotency_key_gives_the_same_answer(use: Use, sandbox: Sandbox) -> None:
    """The same key and body give the identical answer; the same key with another body is refused for good."""
    first = await use(lambda client: client.actions.evaluate(action="pay_out", idempotency_key="k1"))
    again = await use(lambda client: client.actions.evaluate(action="pay_out", idempotency_key="k1"))
    assert first == again
    assert len(sandbox.store.approvals()) == 1
    with pytest.raises(BighubValidationError) as caught:
        await use(lambda client: client.actions.evaluate(action="refund", idempotency_key="k1"))
    assert caught.value.code == "idempotency_key_reused"


async def test_without_a_key_equal_requests_are_two(use: Use) -> None:
    """Two equal evaluations without a key, neither of which was lost, are two decisions."""
    ids = {(await use(lambda client: client.actions.evaluate(action="refund")))["request_id"] for _ in range(3)}
    assert len(ids) == 3


async def test_the_sdks_own_retry_makes_no_second_approval() -> None:
    """An evaluation whose answer is lost is retried by the SDK without a key, and ends as one decision and approval."""
    faults = parse_faults('[[fault]]\nstatus = 503\nwhen = "after"\ntimes = 1')
    async with Sandbox(policy=POLICY, faults=faults) as sandbox:
        async with AsyncBighubClient(base_url=sandbox.url, api_key="any", max_retries=1) as client:
            answer = await client.actions.evaluate(action="pay_out")
        assert [approval.request_id for approval in sandbox.store.approvals()] == [answer["request_id"]]


async def test_outcomes_are_kept_and_found(use: Use) -> None:
    """Outcomes merge by request, status and quality; a later other one is added and never overwrites."""
    rid = (await use(lambda client: client.actions.evaluate(action="refund")))["request_id"]
    report = {"request_id": rid, "recommendation_followed": True, "outcome_label_quality": "runtime"}
    first = await use(lambda client: client.outcomes.report(status="completed", **report))
    again = await use(lambda client: client.outcomes.report(status="SUCCESS", **report))
    assert first["outcome_id"] == again["outcome_id"]
    await use(lambda client: client.outcomes.report(status="FAILURE", **report))
    timeline = await use(lambda client: client.outcomes.timeline(rid))
    assert [each["status"] for each in timeline["timeline"]] == ["SUCCESS", "FAILURE"]
    assert (await use(lambda client: client.outcomes.get(rid)))["status"] == "FAILURE"
    assert (await use(lambda client: client.outcomes.get_by_validation(rid)))["status"] == "FAILURE"
    await use(lambda client: client.outcomes.report(status="CHURN", case_id="case_1"))
    assert (await use(lambda client: client.outcomes.get_by_case("case_1")))["status"] == "CHURN"
    quality = await use(lambda client: client.outcomes.recommendation_quality())
    assert quality["quadrants"]["followed_negative"] == 1
    summary = await use(lambda client: client.outcomes.analytics())
    assert summary["by_status"] == {"SUCCESS": 1, "FAILURE": 1, "CHURN": 1}


async def test_outcomes_in_a_batch_stand_alone(use: Use) -> None:
    """A batch of outcomes takes what is sound and says what is not."""
    rid = (await use(lambda client: client.actions.evaluate(action="refund")))["request_id"]
    outcomes = [{"request_id": rid, "status": "SUCCESS"}, {"request_id": "none", "status": "SUCCESS"}, {"status": "x"}]
    answer = await use(lambda client: client.outcomes.report_batch(outcomes))
    assert (answer["accepted"], answer["failed"]) == (1, 2)
    with pytest.raises(BighubValidationError):
        await use(lambda client: client.outcomes.report_batch(outcomes * 40))


async def test_literal_routes_win_over_ids(use: Use) -> None:
    """A literal path is never read as an id."""
    assert "statuses" in await use(lambda client: client.outcomes.taxonomy())
    rid = (await use(lambda client: client.actions.evaluate(action="refund")))["request_id"]
    pending = await use(lambda client: client.outcomes.pending())
    assert [each["request_id"] for each in pending["pending"]] == [rid]
    assert (await use(lambda client: client.outcomes.pending(min_age_hours=1)))["total"] == 0


async def test_an_outcome_of_nothing_is_refused(use: Use) -> None:
    """An outcome without an id, of an unknown decision, or with an unknown word, is refused in its own way."""
    with pytest.raises(BighubValidationError) as no_id:
        await use(lambda client: client.outcomes.report(status="SUCCESS"))
    assert no_id.value.validation_errors[0]["loc"] == ["body", "request_id"]
    with pytest.raises(BighubAPIError) as unknown:
        await use(lambda client: client.outcomes.report(status="SUCCESS", request_id="req_none"))
    assert (unknown.value.status_code, unknown.value.code) == (404, "unknown_request")
    with pytest.raises(BighubValidationError):
        await use(lambda client: client.outcomes.report(status="TOOL_ERROR", request_id="req_none"))
    with pytest.raises(BighubAPIError):
        await use(lambda client: client.outcomes.get("req_none"))


async def test_the_journal_and_its_lifecycles(use: Use, sandbox: Sandbox) -> None:
    """Events are kept once, make lifecycles by their keys, and an outcome that is reconciled completes one."""
    event = {"event_type": "ACTION_EXECUTED", "external_ref": "order-1"}
    await use(lambda client: client.ingest.event(**event))
    answer = await use(lambda client: client.ingest.batch([event, {**event, "external_ref": "order-2"}]))
    assert (answer["accepted"], answer["duplicates"]) == (1, 1)
    assert (await use(lambda client: client.ingest.pending()))["total"] == 2
    reconciled = await use(
        lambda client: client.ingest.reconcile(external_ref="order-1", outcome={"status": "SUCCESS"})
    )
    assert reconciled["status"] == "reconciled"
    lifecycle = await use(lambda client: client.ingest.lifecycle(external_ref="order-1"))
    assert (lifecycle["status"], len(lifecycle["events"])) == ("completed", 2)
    assert (await use(lambda client: client.ingest.lifecycles(status_filter="active")))["total"] == 1
    assert (await use(lambda client: client.ingest.stats()))["by_event_type"]["ACTION_EXECUTED"] == 2
    assert (await use(lambda client: client.ingest.stale()))["total"] == 0
    assert len(sandbox.store.ingested()) == 3
    with pytest.raises(BighubAPIError):
        await use(lambda client: client.ingest.lifecycle(external_ref="order-9"))


async def test_a_batch_of_events_is_all_or_nothing(use: Use, sandbox: Sandbox) -> None:
    """One wrong event refuses the batch, so that the sender need not guess which to send again."""
    with pytest.raises(BighubValidationError) as caught:
        await use(lambda client: client.ingest.batch([{"event_type": "ACTION_EXECUTED"}, {"action": {}}]))
    assert caught.value.validation_errors[0]["loc"] == ["body", "events.1.event_type"]
    assert sandbox.store.ingested() == []


async def test_a_review_is_an_approval_that_can_be_resolved(use: Use) -> None:
    """Evaluating makes the approval; the SDK finds it; resolving twice alike is one resolution, otherwise refused."""
    decision = await use(lambda client: client.decide(action="pay_out", value=10.0))
    found = await use(lambda client: client.approvals.list())
    assert [each["request_id"] for each in found] == [decision.request_id]
    item = await use(lambda client: client.reviews.create_from_decision(decision))
    assert item["request_id"] == decision.request_id
    for _ in range(2):
        resolved = await use(lambda client: client.approvals.resolve(decision.request_id, resolution="approved"))
        assert (resolved["status"], resolved["resolution"]) == ("approved", "approved")
    with pytest.raises(BighubValidationError) as caught:
        await use(lambda client: client.approvals.resolve(decision.request_id, resolution="denied"))
    assert caught.value.code == "already_resolved"
    assert await use(lambda client: client.approvals.list()) == []
    assert len(await use(lambda client: client.approvals.list(status_filter="approved"))) == 1


async def test_an_approval_is_refused_in_its_own_words(use: Use, sandbox: Sandbox) -> None:
    """An unknown resolution, an unknown approval and one whose time is over are each refused for what they are."""
    rid = (await use(lambda client: client.actions.evaluate(action="pay_out")))["request_id"]
    with pytest.raises(BighubValidationError):
        await use(lambda client: client.approvals.resolve(rid, resolution="banana"))
    with pytest.raises(BighubAPIError) as unknown:
        await use(lambda client: client.approvals.resolve("req_none", resolution="approved"))
    assert unknown.value.status_code == 404
    clock = sandbox._clock
    assert isinstance(clock, ManualClock)
    await clock.advance(3601)
    with pytest.raises(BighubAPIError) as late:
        await use(lambda client: client.approvals.resolve(rid, resolution="approved"))
    assert (late.value.status_code, late.value.code) == (410, "approval_expired")
    assert len(await use(lambda client: client.approvals.list(status_filter="expired"))) == 1


async def test_the_kill_switch_stops_decisions_and_approvals(use: Use) -> None:
    """An active switch blocks what would be allowed and refuses approvals, in its domain or everywhere."""
    rid = (await use(lambda client: client.actions.evaluate(action="pay_out")))["request_id"]
    switch = await use(lambda client: client.kill_switch.activate({"reason": "drill"}))
    assert (await use(lambda client: client.kill_switch.status()))["is_active"] is True
    stopped = await use(lambda client: client.actions.evaluate(action="refund"))
    assert (stopped["enforced_verdict"], stopped["blocked_by"]) == ("blocked", "kill_switch")
    with pytest.raises(BighubAuthError):
        await use(lambda client: client.approvals.resolve(rid, resolution="approved"))
    for _ in range(2):
        lifted = await use(lambda client: client.kill_switch.deactivate(switch["switch_id"]))
        assert lifted == {"success": True}
    await use(lambda client: client.kill_switch.activate({"reason": "drill", "scope": "domain", "domain": "d"}))
    assert (await use(lambda client: client.actions.evaluate(action="refund")))["recommendation"] == "proceed"
    assert (await use(lambda client: client.actions.evaluate(action="refund", domain="d")))["allowed"] is False
    with pytest.raises(BighubValidationError):
        await use(lambda client: client.kill_switch.activate({}))
    with pytest.raises(BighubAPIError):
        await use(lambda client: client.kill_switch.deactivate("ks_99"))


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "action"),
        ({"action": 7}, "action"),
        ({"action": "a", "value": "12"}, "value"),
        ({"action": "a", "value": True}, "value"),
        ({"action": "a", "context": []}, "context"),
        ({"action": "a", "arguments": "x"}, "arguments"),
        ({"action": "a", "dry_run": "yes"}, "dry_run"),
        ({"action": "a", "domain": 1}, "domain"),
    ],
)
async def test_a_wrong_request_names_its_field(use: Use, payload: dict[str, object], field: str) -> None:
    """A request of a wrong shape is a validation error that names the field."""
    with pytest.raises(BighubValidationError) as caught:
        await use(lambda client: client.actions.evaluate_payload(payload=payload))
    assert caught.value.validation_errors[0]["loc"] == ["body", field]
    assert caught.value.request_id


async def test_a_dead_live_connection_is_refused(use: Use) -> None:
    """A caller that insists on a live connection is refused, not silently answered without one."""
    context = {"require_live_connection": True, "connection_id": "c1"}
    with pytest.raises(BighubAPIError) as caught:
        await use(lambda client: client.actions.evaluate(action="a", context=context))
    assert (caught.value.status_code, caught.value.code) == (404, "unknown_live_connection")


async def test_credentials_are_required_and_either_kind_will_do(sandbox: Sandbox) -> None:
    """No key is 401; any key and any bearer token are taken."""
    async with AsyncBighubClient(base_url=sandbox.url, max_retries=0) as nobody:
        with pytest.raises(BighubAuthError):
            await nobody.kill_switch.status()
    async with AsyncBighubClient(base_url=sandbox.url, bearer_token="any", max_retries=0) as somebody:
        assert (await somebody.kill_switch.status())["is_active"] is False


async def test_a_rate_limit_says_when_to_come_back() -> None:
    """An injected 429 carries Retry-After to where the SDK shows it."""
    faults = parse_faults("[[fault]]\nstatus = 429\nretry_after = 2.5")
    async with (
        Sandbox(faults=faults) as sandbox,
        AsyncBighubClient(base_url=sandbox.url, api_key="any", max_retries=0) as client,
    ):
        with pytest.raises(BighubRateLimitError) as caught:
            await client.actions.evaluate(action="a")
    assert caught.value.retry_after_seconds == pytest.approx(2.5)
    assert caught.value.code == "injected_fault"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/actions/evaluate", b"{", 400),
        ("POST", "/actions/evaluate", b"[]", 422),
        ("GET", "/actions/evaluate", None, 405),
        ("GET", "/nowhere", None, 404),
        ("GET", "/outcomes/a%2Fb", None, 404),
        ("GET", "/approvals?status=future", None, 422),
        ("GET", "/approvals?limit=0", None, 422),
        ("GET", "/ingest/lifecycle", None, 422),
        ("POST", "/ingest", b"x" * (17 * 1024 * 1024), 413),
    ],
)
async def test_every_refusal_has_the_shape_that_the_sdk_reads(
    sandbox: Sandbox, method: str, path: str, body: bytes | None, status: int
) -> None:
    """Whatever is wrong with a request, the answer is JSON with a detail and a request id."""
    async with (
        aiohttp.ClientSession(headers={"X-API-Key": "any"}) as session,
        session.request(method, sandbox.url + path, data=io.BytesIO(body) if body else None) as response,
    ):
        assert response.status == status
        error = await response.json()
    assert error["detail"]
    assert error["request_id"].startswith("req_")
