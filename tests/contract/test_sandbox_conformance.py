"""The conformance list of the BIGHUB contract, item by item. Item 1, every method of the SDK, is the sweep's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from tests.support.sandbox_http import asking

from callgate.clock import ManualClock
from callgate.sandbox.faults import parse_faults
from callgate.sandbox.hostile import ROWS
from callgate.sandbox.policy import parse_policy

POLICY = parse_policy('[default]\ndecision = "allow"\n\n[[rule]]\naction = "pay_*"\ndecision = "review"')
REFUND = {"action": "refund", "value": 5.0, "domain": "d"}
PAY = {"action": "pay_out", "value": 5.0}


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/outcomes/taxonomy", "statuses"),
        ("/outcomes/pending/list", "pending"),
        ("/outcomes/analytics/summary", "by_status"),
        ("/cases/calibration", "total_cases"),
        ("/simulations/stats", "total"),
        ("/simulations/accuracy", "total_with_outcome"),
        ("/insights/patterns/learn", "learned"),
        ("/webhooks/events/list", "events"),
        ("/api-keys/validate", "valid"),
        ("/api-keys/scopes", "scopes"),
        ("/integrations/poll/status", "due_count"),
        ("/integrations/connections", "connections"),
    ],
)
async def test_item_2_literals_win_over_ids(path: str, field: str) -> None:
    """A literal path is never read as an id."""
    async with asking() as (ask, _):
        answer = await ask("GET", path)
    assert answer.status == 200
    assert field in answer.body


async def test_item_2_literals_win_over_ids_in_arrays_and_depths() -> None:
    """The domains of constraints are no constraint, and outcomes by case or validation are no timeline."""
    async with asking() as (ask, _):
        assert (await ask("GET", "/rules/domains")).body[0]["id"]
        await ask("POST", "/cases", {"domain": "d", "action": {"action": "a"}, "verdict": {"verdict": "ALLOWED"}})
        await ask("POST", "/cases/case_1/outcome", {"status": "CHURN"})
        assert (await ask("GET", "/outcomes/by-case/case_1")).body["status"] == "CHURN"
        assert (await ask("GET", "/outcomes/by-validation/timeline")).code == "no_outcome"


async def test_item_3_no_credential_is_401_and_a_wrong_scope_403() -> None:
    """Without a credential nothing is answered, and with one of a narrower scope only what it is for."""
    async with asking(policy=POLICY) as (ask, _):
        nobody = await ask("GET", "/kill-switch/status", X_API_Key="")
        assert (nobody.status, nobody.code) == (401, "unauthorized")
        key = (await ask("POST", "/api-keys", {"label": "l", "scopes": ["actions:write"]})).body
        allowed = await ask("POST", "/actions/evaluate", REFUND, X_API_Key=key["key"])
        assert allowed.status == 200
        refused = await ask("POST", "/kill-switch/activate", {"reason": "r"}, X_API_Key=key["key"])
        assert (refused.status, refused.code) == (403, "insufficient_scope")
        await ask("DELETE", f"/api-keys/{key['key_id']}")
        dead = await ask("POST", "/actions/evaluate", REFUND, X_API_Key=key["key"])
        assert (dead.status, dead.code) == (401, "dead_key")


async def test_item_4_a_key_replays_the_identical_body(tmp_path: Path) -> None:
    """The same idempotency key gives the same bytes, also after a restart, and with another body a 422."""
    state = {"policy": POLICY, "state": tmp_path / "state.db"}
    async with asking(**state) as (ask, _):
        first = await ask("POST", "/actions/evaluate", PAY, Idempotency_Key="k")
        rule = {"name": "n", "domain": "d", "max_per_day": 1, "max_value": 9}
        made = await ask("POST", "/rules", rule, Idempotency_Key="k")
    async with asking(**state) as (ask, _):
        again = await ask("POST", "/actions/evaluate", PAY, Idempotency_Key="k")
        assert again.raw == first.raw
        other = await ask("POST", "/actions/evaluate", REFUND, Idempotency_Key="k")
        assert (other.status, other.code) == (422, "idempotency_key_reused")
        assert (await ask("POST", "/rules", rule, Idempotency_Key="k")).body == made.body
        assert len((await ask("GET", "/rules")).body) == 1
        reused = await ask("POST", "/rules", rule | {"name": "m"}, Idempotency_Key="k")
        assert (reused.status, reused.code) == (422, "idempotency_key_reused")
        assert (await ask("POST", "/rules/admin/idempotency/purge?only_expired=false")).body["purged"] == 1
        assert (await ask("POST", "/rules", rule, Idempotency_Key="k")).body["rule_id"] != made.body["rule_id"]


async def test_item_5_a_lost_answer_is_given_again_for_a_while() -> None:
    """Without a key a repeat within a minute of a lost answer is the same approval; later it is another."""
    faults = parse_faults('[[fault]]\nroute = "*evaluate"\nstatus = 503\nwhen = "after"\ntimes = 2\nevery = 2')
    clock = ManualClock()
    async with asking(policy=POLICY, faults=faults, clock=clock) as (ask, sandbox):
        await ask("POST", "/actions/evaluate", REFUND)
        assert (await ask("POST", "/actions/evaluate", PAY)).status == 503
        await ask("POST", "/actions/evaluate", PAY)
        assert len(sandbox.store.approvals()) == 1
        assert (await ask("POST", "/actions/evaluate", PAY)).status == 503
        await clock.advance(61)
        await ask("POST", "/actions/evaluate", PAY)
        assert len(sandbox.store.approvals()) == 3


@pytest.mark.parametrize(
    ("body", "raw"),
    [
        ("html", b"<html>"),
        ("list", b"["),
        ("null", b"null"),
        ("scalar", b'"proceed"'),
        ("empty", b""),
        ("truncated", b'{"recommendation": "proceed", "allowed": tr'),
    ],
)
async def test_item_6_odd_bodies(body: str, raw: bytes) -> None:
    """A body that is no decision is sent with status 200, as a broken proxy would."""
    async with asking(faults=parse_faults(f'[[fault]]\nbody = "{body}"')) as (ask, _):
        answer = await ask("POST", "/actions/evaluate", REFUND)
    assert answer.status == 200
    assert answer.raw.startswith(raw)


async def test_item_6_errors_are_counted() -> None:
    """The first two requests fail, and then none does."""
    async with asking(faults=parse_faults("[[fault]]\nstatus = 500\ntimes = 2")) as (ask, _):
        assert [(await ask("GET", "/events")).status for _ in range(4)] == [500, 500, 200, 200]


async def test_item_6_slow_answers_outlast_the_client() -> None:
    """An answer can be made slower than any client waits, and the decision is made all the same."""
    faults = parse_faults('[[fault]]\ndelay_seconds = 60\nwhen = "after"')
    async with asking(faults=faults) as (_, sandbox), aiohttp.ClientSession() as session:
        headers, wait = {"X-API-Key": "any"}, aiohttp.ClientTimeout(total=0.2)
        with pytest.raises(asyncio.TimeoutError):
            await session.post(f"{sandbox.url}/actions/evaluate", json=REFUND, headers=headers, timeout=wait)
        assert sandbox.store.decisions() == 1


@pytest.mark.parametrize("row", ROWS)
async def test_item_6_contradictions(row: str) -> None:
    """Every known disagreement is sent as it is, under the decision's own id; and the id can be taken away."""
    faults = parse_faults(f'[[fault]]\nhostile = "{row}"\ntimes = 1\n\n[[fault]]\nmissing = ["request_id"]')
    async with asking(faults=faults) as (ask, sandbox):
        answer = (await ask("POST", "/actions/evaluate", REFUND)).body
        name = sandbox.store.requests()[0][0]
        assert answer == {"request_id": name, **ROWS[row]}
        assert "request_id" not in (await ask("POST", "/actions/evaluate", REFUND)).body


async def test_item_7_approvals() -> None:
    """Evaluating makes an approval; resolving is idempotent, final, timed, and stopped by the kill switch."""
    clock = ManualClock()
    async with asking(policy=POLICY, clock=clock) as (ask, _):
        names = [(await ask("POST", "/actions/evaluate", PAY)).body["request_id"] for _ in range(3)]
        assert [each["request_id"] for each in (await ask("GET", "/approvals")).body] == names
        done = [await ask("POST", f"/approvals/{names[0]}/resolve", {"resolution": "approved"}) for _ in range(2)]
        assert done[0].raw == done[1].raw
        other = await ask("POST", f"/approvals/{names[0]}/resolve", {"resolution": "denied"})
        assert (other.status, other.code) == (422, "already_resolved")
        switch = (await ask("POST", "/kill-switch/activate", {"reason": "drill"})).body["switch_id"]
        stopped = await ask("POST", f"/approvals/{names[1]}/resolve", {"resolution": "approved"})
        assert (stopped.status, stopped.code) == (403, "kill_switch_active")
        await ask("POST", f"/kill-switch/deactivate/{switch}", {})
        await clock.advance(3601)
        late = await ask("POST", f"/approvals/{names[2]}/resolve", {"resolution": "approved"})
        assert (late.status, late.code) == (410, "approval_expired")


async def test_item_8_outcomes() -> None:
    """An unknown decision is 404, none at all 422; equal outcomes merge, and others are kept beside each other."""
    async with asking() as (ask, _):
        name = (await ask("POST", "/actions/evaluate", REFUND)).body["request_id"]
        unknown = await ask("POST", "/outcomes/report", {"status": "SUCCESS", "request_id": "req_none"})
        assert (unknown.status, unknown.code) == (404, "unknown_request")
        assert (await ask("POST", "/outcomes/report", {"status": "SUCCESS"})).status == 422
        said = [("SUCCESS", "runtime"), ("SUCCESS", "runtime"), ("FAILURE", "runtime"), ("SUCCESS", "")]
        for status, quality in said:
            report = {"status": status, "request_id": name, "outcome_label_quality": quality}
            assert (await ask("POST", "/outcomes/report", report)).status == 200
        timeline = (await ask("GET", f"/outcomes/{name}/timeline")).body["timeline"]
        assert [each["status"] for each in timeline] == ["SUCCESS", "FAILURE", "SUCCESS"]


async def test_item_9_the_same_run_gives_the_same_bytes() -> None:
    """Two sandboxes that are asked the same at the same time of their clocks answer alike, ids and secrets too."""
    runs = []
    for _ in range(2):
        async with asking(policy=POLICY, clock=ManualClock()) as (ask, _):
            rule = {"name": "n", "domain": "d", "max_per_day": 5, "max_value": 9}
            asked = [
                ("POST", "/actions/evaluate", PAY),
                ("POST", "/actions/evaluate", REFUND),
                ("POST", "/api-keys", {"label": "l"}),
                ("POST", "/auth/signup", {"email": "a@example.org", "password": "long enough"}),
                ("POST", "/webhooks", {"url": "https://example.org"}),
                ("POST", "/webhooks/wh_1/test", {}),
                ("POST", "/rules", rule),
                ("GET", "/approvals", None),
                ("GET", "/events", None),
                ("GET", "/simulations", None),
            ]
            runs.append([(await ask(*each)).raw for each in asked])
    assert runs[0] == runs[1]
