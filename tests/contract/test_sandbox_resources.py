"""What clients make in the sandbox is there: got, listed, changed, deleted, bounded, and refused where it is wrong."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from bighub import OutcomeReportResponse, RecommendationQualityResponse, verify_chronos_signature
from tests.support.sandbox_http import Asker, asking

from callgate.clock import ManualClock
from callgate.sandbox.answers import Refused
from callgate.sandbox.store import Store
from callgate.sandbox.things import Things
from callgate.sandbox.times import iso

CASE = {"domain": "d", "action": {"action": "refund"}, "verdict": {"verdict": "ALLOWED", "risk_score": 0.2}}


async def test_cases_are_filtered_and_paged(ask: Asker) -> None:
    """Cases are found by every filter that the SDK has, and an outcome is found from both sides."""
    for risk in (0.1, 0.5, 0.9):
        await ask("POST", "/cases", CASE | {"verdict": {"verdict": "LIMITED", "risk_score": risk}})
    await ask("POST", "/cases", CASE | {"domain": "e"})
    await ask("POST", "/cases/case_2/outcome", {"status": "failure", "description": "no"})
    queries = {
        "domain=d": 3,
        "verdict=LIMITED": 3,
        "min_risk_score=0.4": 2,
        "min_risk_score=0.4&max_risk_score=0.6": 1,
        "has_outcome=true": 1,
        "has_outcome=false": 3,
        "outcome_status=FAILURE": 1,
        "action=refund&limit=1": 4,
        "tool=other": 0,
    }
    for query, total in queries.items():
        assert (await ask("GET", f"/cases?{query}")).body["total"] == total, query
    page = (await ask("GET", "/cases?limit=2&offset=1")).body
    assert [each["case_id"] for each in page["cases"]] == ["case_2", "case_3"]
    assert (await ask("GET", "/outcomes/by-case/case_2")).body["status"] == "FAILURE"
    assert (await ask("GET", "/cases/calibration?domain=d")).body["mean_absolute_error"] == 0.5
    assert (await ask("GET", "/cases/case_9")).code == "unknown_case"
    assert (await ask("POST", "/cases/case_1/outcome", {"status": "TOOL_ERROR"})).status == 422
    assert (await ask("POST", "/cases", CASE | {"verdict": {"verdict": "MAYBE"}})).status == 422
    assert (await ask("GET", "/cases?min_risk_score=x")).status == 422


async def test_precedents_are_the_alike(ask: Asker) -> None:
    """What is most alike comes first, and strategies weigh differently."""
    await ask("POST", "/cases", CASE)
    await ask("POST", "/cases", CASE | {"action": {"action": "delete"}, "domain": "e"})
    await ask("POST", "/cases/case_1/outcome", {"status": "SUCCESS"})
    asked = {"domain": "d", "action": "refund", "risk_score": 0.2}
    found = (await ask("POST", "/precedents/query", asked)).body
    assert (found["total_precedents"], found["precedents"][0]["case_id"]) == (1, "case_1")
    assert found["outcomes"] == {"SUCCESS": 1}
    assert (await ask("POST", "/precedents/query", asked | {"min_similarity": 0})).body["total_precedents"] == 2
    assert (await ask("POST", "/precedents/signals", asked)).body["failure_rate"] == 0.0
    explained = (await ask("POST", "/retrieval/query/explained", asked | {"strategy": "action-focused"})).body
    assert explained["results"][0]["explanation"]["action"] == 0.5
    assert (await ask("POST", "/retrieval/query", asked | {"strategy": "other"})).status == 422
    assert (await ask("GET", "/retrieval/strategy/other")).status == 404


async def test_live_connections_end(ask: Asker, clock: ManualClock) -> None:
    """A connection that is silent for two minutes is lost, and whoever insists on it is refused."""
    name = (await ask("POST", "/actions/live/connect", {"actor": "a"})).body["connection_id"]
    evaluate = {"action": "a", "context": {"require_live_connection": True, "connection_id": name}}
    for _ in range(2):
        await clock.advance(100)
        assert (await ask("POST", "/actions/live/heartbeat", {"connection_id": name})).status == 200
        assert (await ask("POST", "/actions/evaluate", evaluate)).status == 200
    await clock.advance(121)
    lost = await ask("POST", "/actions/evaluate", evaluate)
    assert (lost.status, lost.code) == (410, "live_connection_lost")
    assert (await ask("POST", "/actions/live/heartbeat", {"connection_id": name})).status == 410
    await ask("POST", "/actions/live/disconnect", {"connection_id": name})
    assert (await ask("POST", "/actions/evaluate", evaluate)).code == "unknown_live_connection"


async def test_webhooks_and_their_signatures(ask: Asker, clock: ManualClock) -> None:
    """A delivery's signature is one that the SDK verifies, and one that the sandbox verifies."""
    hook = (await ask("POST", "/webhooks", {"url": "https://example.org"})).body
    sent = (await ask("POST", f"/webhooks/{hook['webhook_id']}/test", {"event_type": "outcome.reported"})).body
    again = (await ask("POST", f"/webhooks/wh_1/deliveries/{sent['delivery_id']}/replay")).body
    assert again["attempts"] == 2
    names = ("payload", "signature", "timestamp")
    said = {name: sent[name] for name in names} | {"secret": hook["secret"]}
    assert verify_chronos_signature(**said, tolerance_seconds=10**10)
    assert (await ask("POST", "/webhooks/verify-signature", said)).body["valid"] is True
    assert (await ask("POST", "/webhooks/verify-signature", said | {"payload": "other"})).body["valid"] is False
    await clock.advance(301)
    assert (await ask("POST", "/webhooks/verify-signature", said)).body["valid"] is False
    await ask("PATCH", "/webhooks/wh_1", {"is_active": False})
    assert (await ask("GET", "/webhooks")).body["total"] == 0
    assert (await ask("GET", "/webhooks?include_inactive=true")).body["total"] == 1
    assert (await ask("POST", "/webhooks/wh_1/test", {})).code == "webhook_inactive"
    assert (await ask("DELETE", "/webhooks/wh_1")).status == 200
    assert (await ask("GET", "/webhooks/wh_1/deliveries")).code == "unknown_webhook"
    assert (await ask("POST", "/webhooks", {"url": "ftp://example.org"})).status == 422
    assert (await ask("POST", "/webhooks", {"url": "https://example.org", "events": ["other"]})).status == 422


async def test_keys_live_and_die(ask: Asker, clock: ManualClock) -> None:
    """A key is shown once, is good for its time, and is replaced by rotating it."""
    made = (await ask("POST", "/api-keys", {"label": "l", "expires_in_days": 1})).body
    listed = (await ask("GET", "/api-keys")).body
    assert made["key"] not in str(listed)
    rotated = (await ask("POST", f"/api-keys/{made['key_id']}/rotate")).body
    valid = [(await ask("GET", f"/api-keys/validate?api_key={each['key']}")).body["valid"] for each in (made, rotated)]
    assert valid == [False, True]
    assert (await ask("GET", "/events", X_API_Key=rotated["key"])).status == 200
    await clock.advance(86_401)
    assert (await ask("GET", "/events", X_API_Key=rotated["key"])).status == 401
    assert (await ask("GET", "/api-keys?include_revoked=true")).body["total"] == 2
    assert (await ask("POST", f"/api-keys/{made['key_id']}/rotate")).code == "key_revoked"
    assert (await ask("DELETE", "/api-keys/key_9")).code == "unknown_key"
    assert (await ask("POST", "/api-keys", {"scopes": ["all"]})).status == 422


async def test_users_come_and_go(ask: Asker, tmp_path: Path) -> None:
    """A user signs up once, logs in with the right password, and a refresh token is good for once."""
    who = {"email": "A@example.org", "password": "long enough"}
    first = (await ask("POST", "/auth/signup", who, X_API_Key="")).body
    assert (await ask("POST", "/auth/signup", who)).code == "email_taken"
    assert (await ask("POST", "/auth/login", who | {"password": "other one"})).status == 401
    assert (await ask("POST", "/auth/login", who)).body["user_id"] == first["user_id"]
    token = {"refresh_token": first["refresh_token"]}
    second = (await ask("POST", "/auth/refresh", token)).body
    assert (await ask("POST", "/auth/refresh", token)).code == "dead_token"
    token = {"refresh_token": second["refresh_token"]}
    assert (await ask("POST", "/auth/logout", token)).body == {"success": True}
    assert (await ask("POST", "/auth/logout", token)).status == 401
    async with asking(state=tmp_path / "state.db") as (again, _):
        await again("POST", "/auth/signup", who)
    assert b"long enough" not in (tmp_path / "state.db").read_bytes()


async def test_systems_are_polled_when_due(ask: Asker, clock: ManualClock) -> None:
    """A configured system is polled on its schedule, its secrets are kept nowhere, and it can be forgotten."""
    assert (await ask("POST", "/integrations/github/poll")).code == "not_configured"
    assert (await ask("GET", "/integrations/github/connection")).body["configured"] is False
    saved = await ask("PUT", "/integrations/github/connection", {"org": "o", "nested": {"api_token": "hush"}})
    assert saved.body["config"] == {"org": "o", "nested": {"api_token": "***"}}
    schedule = {"enabled": True, "interval_seconds": 60}
    await ask("PUT", "/integrations/github/poll/schedule", schedule)
    ran = []
    for seconds in (0, 30, 31):
        await clock.advance(seconds)
        ran.append((await ask("POST", "/integrations/poll/run-due")).body["ran"])
    assert ran == [1, 0, 1]
    assert len((await ask("GET", "/integrations/github/poll/history")).body["history"]) == 2
    assert (await ask("GET", "/integrations/github/connection?org_id=2")).body["configured"] is False
    assert (await ask("GET", "/world-state/operational")).body["systems"][0]["fresh"] is True
    assert (await ask("DELETE", "/integrations/github/connection")).status == 200
    assert (await ask("POST", "/integrations/poll/run-due")).body["ran"] == 0
    assert (await ask("GET", "/integrations/other/connection")).code == "unknown_provider"


async def test_memory_redacts_and_counts(ask: Asker, clock: ManualClock) -> None:
    """Arguments are not kept unless the caller says so; rates are of the window; nothing changes by itself."""
    event = {"tool": "t", "arguments": {"card": "4111"}, "risk_score": 0.5}
    events = [event | {"status": status} for status in ("executed", "blocked", "blocked", "tool_error")]
    answer = (await ask("POST", "/actions/memory/ingest", {"events": events})).body
    assert (answer["accepted"], answer["total_stored"]) == (4, 4)
    context = (await ask("GET", "/actions/memory/context")).body
    assert (context["blocked_rate"], context["tool_error_rate"], context["avg_risk_score"]) == (0.5, 0.25, 0.5)
    assert "4111" not in str(context)
    advice = (await ask("POST", "/actions/memory/recommendations", {"min_events": 4})).body["recommendations"]
    assert [each["type"] for each in advice] == ["tighten_instructions", "repair_tool"]
    assert (await ask("POST", "/actions/memory/recommendations", {"auto_apply": True})).status == 403
    await clock.advance(25 * 3600)
    assert (await ask("GET", "/actions/memory/context")).body["total_events"] == 0


async def test_features_and_their_differences(ask: Asker) -> None:
    """Features of a case are snapshots that can be compared."""
    case = {"case_id": "c", "case_data": {"value": 3, "verdict": "BLOCKED"}}
    assert (await ask("POST", "/features/snapshot", {"case_id": "c"})).code == "unknown_features"
    await ask("POST", "/features/compute", case)
    await ask("POST", "/features/snapshot", {"case_id": "c", "tag": "before"})
    await ask("POST", "/features/compute", case | {"case_data": {"value": 4, "verdict": "BLOCKED"}})
    found = (await ask("POST", "/features/compare", {"snapshot_id_a": "snap_1", "case_id_b": "c"})).body
    assert found["features"] == {"value": {"a": 3.0, "b": 4.0, "changed": True}}
    assert (await ask("GET", "/features/explain/c/value")).body["value"] == 4.0
    assert (await ask("GET", "/features/explain/c/other")).code == "unknown_feature"
    assert (await ask("POST", "/features/export/batch", {"case_ids": ["c", "d"]})).body["missing"] == ["d"]
    assert len((await ask("GET", "/features/snapshots?tag=before")).body["snapshots"]) == 1
    assert (await ask("POST", "/features/compute/batch", {"cases": [{}]})).status == 422


async def test_what_is_learnt_follows_from_what_happened(ask: Asker) -> None:
    """Calibration, insights, simulations and learning all count the same decisions and outcomes."""
    for status, followed in (("SUCCESS", True), ("FAILURE", True), ("FAILURE", False)):
        name = (await ask("POST", "/actions/evaluate", {"action": "refund", "domain": "d"})).body["request_id"]
        report = {"request_id": name, "status": status, "recommendation_followed": followed}
        await ask("POST", "/outcomes/report", report)
    report = (await ask("GET", "/calibration/report?domain=d")).body
    assert (report["count"], report["observed_failure_rate"]) == (3, round(2 / 3, 6))
    assert (await ask("GET", "/calibration/report?domain=e")).body["count"] == 0
    assert (await ask("GET", "/calibration/feedback")).body["feedback"][0]["bias"] == "too_low"
    assert (await ask("GET", "/calibration/breakdown?by=moon")).status == 422
    patterns = (await ask("GET", "/insights/patterns?min_severity=medium")).body["patterns"]
    assert [each["pattern_type"] for each in patterns] == ["often_harmful"]
    assert (await ask("GET", "/simulations?with_outcome=false")).body["total"] == 0
    compared = (await ask("GET", f"/simulations/by-request/{name}/compare")).body
    assert (compared["error"], compared["prediction_correct"]) == (0.9, False)
    assert (await ask("GET", "/simulations/sim_none")).code == "unknown_simulation"
    impact = (await ask("GET", "/consequence-graph/learning-impact")).body
    assert (impact["disagreements_observed"], impact["bighub_won_disagreements"]) == (1, 1)
    history = (await ask("GET", "/calibration/quality-history?days=2")).body
    assert [each["count"] for each in history] == [0, 3]
    assert (await ask("POST", "/ops/learning/recompute", {})).body["with_outcome"] == 3
    assert (await ask("GET", "/ops/learning/runs")).body["total"] == 1


async def test_the_dashboard_counts(ask: Asker) -> None:
    """A blocked value is protected, a decision can be verified, and events are found by type."""
    await ask("POST", "/rules", {"name": "n", "domain": "d", "max_per_day": 9, "max_value": 10})
    for value in (5, 500):
        answer = await ask("POST", "/actions/evaluate", {"action": "pay", "domain": "d", "value": value})
    summary = (await ask("GET", "/actions/dashboard/summary")).body
    assert (summary["value_protected"], summary["automation_health_score"]) == (500, 50)
    past = (await ask("GET", "/actions/dashboard/value-protected-history?days=2")).body
    assert (past["total_value_protected"], len(past["data"])) == (500, 2)
    found = (await ask("GET", f"/actions/validations/{answer.body['request_id']}/verify")).body
    assert (found["valid"], found["allowed"]) == (True, False)
    assert (await ask("GET", "/actions/validations/req_none/verify")).body["valid"] is False
    events = (await ask("GET", "/events?event_type=action_blocked")).body
    assert (events["total"], events["events"][0]["blocked_by"]) == (1, "rule_1")
    assert (await ask("GET", "/events?severity=info&limit=1")).body["total"] == 2


async def test_what_is_made_outlives_the_process(tmp_path: Path) -> None:
    """With a state file everything is there after a restart, and ids go on where they were."""
    for number in (1, 2):
        async with asking(state=tmp_path / "state.db") as (ask, _):
            assert (await ask("POST", "/cases", CASE)).body["case_id"] == f"case_{number}"
            assert (await ask("GET", "/cases")).body["total"] == number


def test_no_kind_grows_without_end() -> None:
    """A kind that is full refuses the next; a journal forgets its oldest entry; a deletion makes room."""
    store = Store()
    things = Things(store._database, most=2)
    for name in ("a", "b", "a"):
        things.put("kind", name, {"name": name})
    with pytest.raises(Refused, match="keeps 2 things"):
        things.put("kind", "c", {})
    assert things.drop("kind", "a")
    things.put("kind", "c", {})
    for number in range(5):
        things.note("journal", {"number": number})
    assert [each["number"] for each in things.all("journal")] == [3, 4]
    store.close()


async def test_an_outcome_looks_back_at_its_decision(ask: Asker, clock: ManualClock) -> None:
    """A report is answered as the SDK's type has it, with what was decided, when, and how wrong the risk was."""
    name = (await ask("POST", "/actions/evaluate", {"action": "refund", "domain": "d"})).body["request_id"]
    await clock.advance(60)
    report = {"request_id": name, "status": "FAILURE", "correction_needed": True, "correction_cost": 3.5, "tags": ["t"]}
    made = (await ask("POST", "/outcomes/report", report)).body
    told = msgspec.convert(made, OutcomeReportResponse)
    assert set(OutcomeReportResponse.__annotations__) <= set(made)
    assert (told["time_to_outcome_s"], told["category"], told["correction"]["cost"]) == (60.0, "negative", 3.5)
    assert told["decision_context"]["verdict_was"] == "ALLOWED"
    assert told["calibration"] == {"error": 0.9, "prediction_correct": False}
    wrong = await ask("POST", "/outcomes/report", report | {"observed_at": "yesterday"})
    assert wrong.body["detail"][0]["loc"] == ["body", "observed_at"]


async def test_outcomes_are_summed_up_by_domain_and_time(ask: Asker, clock: ManualClock) -> None:
    """Sums are of the domain and the time that are asked for, and say whether following was good."""
    for domain, status, followed in (("d", "SUCCESS", True), ("d", "FAILURE", False), ("e", "FAILURE", True)):
        name = (await ask("POST", "/actions/evaluate", {"action": "refund", "domain": domain})).body["request_id"]
        report = {"request_id": name, "status": status, "recommendation_followed": followed}
        await ask("POST", "/outcomes/report", report)
        await clock.advance(7 * 86_400)
    quality = (await ask("GET", "/outcomes/analytics/recommendation-quality")).body
    assert msgspec.convert(quality, RecommendationQualityResponse)["follow_rate"] == round(2 / 3, 6)
    assert [each["domain"] for each in quality["by_domain"]] == ["d", "e"]
    assert [each["total"] for each in quality["trend"]] == [1, 1, 1]
    assert (len(quality["examples"]["helped"]), len(quality["examples"]["missed"])) == (1, 1)
    since = quote(iso(clock.now() - 8 * 86_400))
    for query, total in (("", 3), ("?domain=d", 2), (f"?since={since}", 1), (f"?until={since}", 2)):
        assert (await ask("GET", f"/outcomes/analytics/summary{query}")).body["total"] == total, query
    assert (await ask("GET", "/outcomes/analytics/summary?since=monday")).status == 422
    view = (await ask("GET", "/outcomes/analytics/partner-view/d")).body
    assert (view["overview"]["outcomes"], view["by_action"]) == (2, [{"action": "refund", "outcomes": 2}])


async def test_a_sandbox_in_memory_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its bound a store without a file drops the oldest decisions, and ids of new ones are new all the same."""
    async with asking(clock=ManualClock()) as (other, sandbox):
        monkeypatch.setattr(sandbox.store, "_most", 2)
        names = [(await other("POST", "/actions/evaluate", {"action": "a"})).body["request_id"] for _ in range(5)]
        assert len(set(names)) == 5
        assert [name for name, _, _ in sandbox.store.requests()] == names[-2:]
        gone = await other("POST", "/outcomes/report", {"status": "SUCCESS", "request_id": names[0]})
        assert gone.code == "unknown_request"
        for number in range(4):
            await other("POST", "/ingest", {"event_type": "ACTION_EXECUTED", "external_ref": str(number)})
        assert len(sandbox.store.ingested()) == 2
