"""Constraints in the sandbox: made, changed under a version, and enforced when an action is evaluated."""

from __future__ import annotations

import pytest
from tests.support.sandbox_http import Asker

from callgate.clock import ManualClock

LIMITED = {"name": "limited", "domain": "d", "max_per_day": 2, "max_value": 100.0, "require_approval_above": 50.0}


async def result(ask: Asker, value: float, domain: str = "d") -> str:
    """What becomes of an action of a value."""
    answer = await ask("POST", "/actions/evaluate", {"action": "pay", "value": value, "domain": domain})
    return str(answer.body["result"])


async def test_a_constraint_is_enforced(ask: Asker, clock: ManualClock) -> None:
    """Above the maximum is blocked, above the threshold a person is asked, and the day's number is kept."""
    name = (await ask("POST", "/rules", LIMITED)).body["rule_id"]
    assert [await result(ask, value) for value in (500, 60, 5, 5, 5)] == [
        "blocked",
        "requires_approval",
        "allowed",
        "allowed",
        "blocked",
    ]
    assert await result(ask, 500, "elsewhere") == "allowed"
    rule = (await ask("GET", f"/rules/{name}")).body
    assert (rule["usage_today"], rule["blocked_today"], rule["remaining_today"]) == (2, 2, 0)
    assert len((await ask("GET", "/approvals")).body) == 1
    await clock.advance(86_400)
    assert await result(ask, 5) == "allowed"
    assert (await ask("GET", f"/rules/{name}")).body["usage_total"] == 3


async def test_a_paused_constraint_holds_nothing(ask: Asker) -> None:
    """Paused it says nothing, resumed it holds again, deleted it is gone."""
    await ask("POST", "/rules", LIMITED)
    found = []
    for step in ("pause", "pause", "resume"):
        assert (await ask("POST", f"/rules/rule_1/{step}")).status == 200
        found.append(await result(ask, 500))
    assert found == ["allowed", "allowed", "blocked"]
    assert (await ask("DELETE", "/rules/rule_1")).status == 200
    assert (await ask("DELETE", "/rules/rule_1")).code == "unknown_rule"
    assert await result(ask, 500) == "allowed"
    assert (await ask("POST", "/rules", LIMITED)).body["rule_id"] == "rule_2"


async def test_validating_says_what_would_be(ask: Asker) -> None:
    """Validating counts as an action, unless it is a dry run; both say which constraint objects."""
    await ask("POST", "/rules", LIMITED)
    asked = {"action": "pay", "value": 500, "metadata": {"domain": "d"}}
    for path in ("/rules/validate/dry-run", "/rules/validate"):
        said = (await ask("POST", path, asked)).body
        assert (said["result"], said["blocked_by"]) == ("blocked", "rule_1")
    assert (await ask("GET", "/rules/rule_1")).body["blocked_total"] == 1
    assert (await ask("POST", "/rules/validate", asked | {"rule_id": "rule_9"})).status == 404


async def test_a_patch_is_tried_out_and_then_applied(ask: Asker) -> None:
    """A preview changes nothing; applying makes a version; another version than the expected is 412."""
    await ask("POST", "/rules", LIMITED)
    patch = [{"op": "replace", "path": "/max_value", "value": 10}, {"op": "add", "path": "/tags/-", "value": "t"}]
    preview = (await ask("POST", "/rules/rule_1/apply_patch", {"patch": patch})).body
    assert (preview["changed"], preview["version"]) == (["max_value", "tags"], 1)
    made = await ask(
        "POST", "/rules/rule_1/apply_patch", {"patch": patch, "preview": False}, If_Match='W/"rule:rule_1:v1"'
    )
    assert (made.body["rule"]["max_value"], made.body["rule"]["tags"], made.body["version"]) == (10, ["t"], 2)
    late = await ask("POST", "/rules/rule_1/apply_patch", {"patch": patch, "preview": False, "if_match_version": 1})
    assert (late.status, late.code) == (412, "version_mismatch")
    assert [each["version"] for each in (await ask("GET", "/rules/rule_1/versions")).body] == [2, 1]
    types = [each["event_type"] for each in (await ask("GET", "/events")).body["events"]]
    assert sorted(types) == ["rule.created", "rule.patch_applied", "rule.patch_previewed"]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/nothing", "value": 1},
        {"op": "replace", "path": "/version", "value": 9},
        {"op": "add", "path": "/version", "value": 9},
        {"op": "remove", "path": "/name"},
        {"op": "test", "path": "/name", "value": "other"},
        {"op": "add", "path": "", "value": {}},
        {"op": "add", "path": "/tags/7", "value": "t"},
        {"op": "move", "path": "/name"},
        {"op": "grow", "path": "/name"},
        "no operation",
    ],
)
async def test_a_patch_that_can_not_be_is_refused_whole(ask: Asker, operation: object) -> None:
    """An operation that can't be done leaves the constraint as it was, also what came before it in the patch."""
    await ask("POST", "/rules", LIMITED)
    patch = [{"op": "replace", "path": "/max_value", "value": 1}, operation]
    answer = await ask("POST", "/rules/rule_1/apply_patch", {"patch": patch, "preview": False})
    assert answer.status == 422
    assert (await ask("GET", "/rules/rule_1")).body["max_value"] == 100.0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": None}, "name"),
        ({"max_value": "9"}, "max_value"),
        ({"max_per_day": 1.5}, "max_per_day"),
        ({"max_per_day": -1}, "max_per_day"),
        ({"allowed_hours_start": 25}, "allowed_hours_start"),
        ({"max_valeu": 1}, "max_valeu"),
        ({"tags": "t"}, "tags"),
        ({"status": "asleep"}, "status"),
        ({"metadata": []}, "metadata"),
        ({"conditions": {"action": "pay"}}, "action_on_match"),
    ],
)
async def test_a_wrong_constraint_names_its_field(ask: Asker, change: dict[str, object], field: str) -> None:
    """A constraint that says nothing sound is refused, and nothing is made; a misspelt limit would limit nothing."""
    answer = await ask("POST", "/rules", LIMITED | change)
    assert answer.status == 422
    assert answer.body["detail"][0]["loc"] == ["body", field]
    assert (await ask("GET", "/rules")).body == []


async def test_conditions_and_lists(ask: Asker) -> None:
    """The other way to write a constraint works as well, and lists are filtered and paged."""
    other = {"name": "c", "domain": "e", "conditions": {"action": "pay"}, "action_on_match": "block"}
    await ask("POST", "/rules", other)
    assert await result(ask, 1, "e") == "blocked"
    for _ in range(3):
        await ask("POST", "/rules", LIMITED)
    await ask("PATCH", "/rules/rule_4", {"status": "paused"})
    names = [each["rule_id"] for each in (await ask("GET", "/rules?domain=d&limit=1&offset=1")).body]
    assert names == ["rule_3"]
    assert len((await ask("GET", "/rules?status=paused")).body) == 1
    assert (await ask("GET", "/rules?limit=0")).status == 422


async def test_hours_and_pauses(ask: Asker, clock: ManualClock) -> None:
    """Outside of its hours, and before its cooldown is over, a constraint blocks."""
    base = {"name": "n", "max_value": 100.0, "max_per_day": 100}
    hour = int(clock.now() // 3600 % 24)
    await ask("POST", "/rules", base | {"domain": "d", "cooldown_seconds": 60})
    hours = {"allowed_hours_start": (hour + 1) % 24, "allowed_hours_end": (hour + 2) % 24}
    await ask("POST", "/rules", base | {"domain": "e"} | hours)
    assert [await result(ask, 1), await result(ask, 1)] == ["allowed", "blocked"]
    await clock.advance(61)
    assert await result(ask, 1) == "allowed"
    assert await result(ask, 1, "e") == "blocked"
    await clock.advance(3600)
    assert await result(ask, 1, "e") == "allowed"
