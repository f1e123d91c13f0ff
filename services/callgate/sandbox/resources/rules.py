"""The endpoints of constraints: made, changed, patched under a version, paused, tried out, and replayed by key."""

from __future__ import annotations

from collections.abc import Callable

from callgate.events.digest import canonical_digest
from callgate.events.ids import fingerprint
from callgate.sandbox.answers import Refused
from callgate.sandbox.resources import constraints, journal
from callgate.sandbox.resources.calls import Body, Call, Route, known, selected
from callgate.sandbox.resources.limits import concerns
from callgate.sandbox.resources.patches import patched
from callgate.sandbox.store import Store

_REPLAYS = "rule_replays"
_VERSIONS = "rule_versions"
_REPLAY_HOURS = 24
_MOST_VERSIONS = 50
_OPERATIONS = 100
_DOMAINS = (
    "it_actions", "customer_transactions", "financial_actions", "operational_systems", "data_modifications",
    "account_management", "trading", "custom",
)  # fmt: skip


class Rules:
    """The endpoints of constraints."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._things = store.things

    def routes(self) -> list[Route]:
        """The routes that they serve; literals first, since an id could spell one."""
        one = "/rules/{rule_id}"
        return [
            ("GET", "/rules/domains", self.domains),
            ("POST", "/rules/dry-run", self.dry_run),
            ("POST", "/rules/validate", self.validate),
            ("POST", "/rules/validate/dry-run", self.validate_dry_run),
            ("POST", "/rules/admin/idempotency/purge", self.purge),
            ("POST", "/rules", self._replayed(self.create)),
            ("GET", "/rules", self.listed),
            ("GET", one, self.get),
            ("PATCH", one, self._replayed(self.update)),
            ("DELETE", one, self._replayed(self.delete)),
            ("POST", f"{one}/pause", self._replayed(self.pause)),
            ("POST", f"{one}/resume", self._replayed(self.resume)),
            ("GET", f"{one}/versions", self.versions),
            ("POST", f"{one}/apply_patch", self._replayed(self.apply_patch)),
        ]

    def create(self, call: Call) -> Body:
        """A new constraint, which holds from now on."""
        body = constraints.checked(call.body)
        name = f"rule_{self._things.number(constraints.KIND)}"
        rule = {"rule_id": name, **body, "created_at": call.at, "updated_at": call.at, "version": 0}
        return self._kept(call, rule, body, "rule.created")

    def listed(self, call: Call) -> list[Body]:
        """A bare array, oldest first."""
        found = selected(self._things.all(constraints.KIND), call.query, ("status", "domain"))
        return [self._view(rule, call) for rule in call.page(found)]

    def get(self, call: Call) -> Body:
        """One constraint."""
        return self._view(self._rule(call), call)

    def update(self, call: Call) -> Body:
        """Some fields anew; null takes an optional one away."""
        rule = self._rule(call)
        merged = {name: value for name, value in (constraints.settable(rule) | call.body).items() if value is not None}
        return self._kept(call, rule, constraints.checked(merged), "rule.updated")

    def delete(self, call: Call) -> Body:
        """The constraint holds no more, and its versions are gone with it."""
        rule = self._rule(call)
        name = str(rule["rule_id"])
        self._things.drop(constraints.KIND, name)
        self._things.drop(_VERSIONS, name)
        constraints.forget(self._things, name)
        journal.record(self._things, "rule.deleted", call.at, rule_id=name, rule_name=rule["name"])
        return {"success": True, "rule_id": name}

    def pause(self, call: Call) -> Body:
        """The constraint holds no more until it is resumed. Twice is once."""
        return self._status(call, "paused")

    def resume(self, call: Call) -> Body:
        """The constraint holds again."""
        return self._status(call, "active")

    def dry_run(self, call: Call) -> Body:
        """What would be created; nothing is."""
        return {"dry_run": True, "valid": True, "rule": constraints.checked(call.body)}

    def validate(self, call: Call) -> Body:
        """What the constraints say about an action, which counts as one unless it says `dry_run`."""
        return self._said(call, count=not call.flag("dry_run", default=False))

    def validate_dry_run(self, call: Call) -> Body:
        """What the constraints would say."""
        return self._said(call, count=False)

    def domains(self, call: Call) -> list[Body]:
        """The domains that BIGHUB names; constraints may name others."""
        del call
        return [
            {
                "id": name,
                "name": name.replace("_", " ").capitalize(),
                "max_per_day_default": 100,
                "max_value_default": 1000.0,
                "max_value_label": "Maximum value",
                "unit": "units",
            }
            for name in _DOMAINS
        ]

    def versions(self, call: Call) -> list[Body]:
        """What the constraint has been, the newest first; the last 50 are kept."""
        name = str(self._rule(call)["rule_id"])
        return _versions(self._things.get(_VERSIONS, name))[::-1][: call.asked("limit", _MOST_VERSIONS, most=500)]

    def apply_patch(self, call: Call) -> Body:
        """A JSON Patch, tried out unless `preview` is false; 412 where the caller has seen another version."""
        rule = self._rule(call)
        version, tag = rule["version"], _tag(rule)
        expected, seen = call.number("if_match_version"), call.headers.get("If-Match")
        if (expected is not None and expected != version) or (seen is not None and seen not in {tag, "*"}):
            raise Refused(412, "version_mismatch", f"the constraint is of version {version} ({tag})")
        before = constraints.settable(rule)
        after = constraints.checked(patched(before, call.array("patch", _OPERATIONS)))
        changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        if call.flag("preview", default=True):
            fields = {"rule_id": rule["rule_id"], "rule_name": rule["name"]}
            journal.record(self._things, "rule.patch_previewed", call.at, **fields)
            return {"preview": True, "changed": changed, "before": before, "after": after, "version": version}
        made = self._kept(call, rule, after, "rule.patch_applied")
        return {"preview": False, "changed": changed, "rule": made, "version": made["version"], "etag": made["etag"]}

    def purge(self, call: Call) -> Body:
        """Forget replays: those older than a day, or than `older_than_hours`, or with `only_expired=false` all."""
        hours = call.asked("older_than_hours", _REPLAY_HOURS, least=0)
        everything = call.asked_flag("only_expired") is False and "older_than_hours" not in call.query
        most = call.asked("limit", 100_000)
        old = [
            each
            for each in self._things.all(_REPLAYS)
            if everything or call.now - float(str(each["at"])) > hours * 3600
        ][:most]
        for each in old:
            self._things.drop(_REPLAYS, str(each["name"]))
        return {"purged": len(old), "remaining": self._things.count(_REPLAYS)}

    def _replayed(self, endpoint: Callable[[Call], Body]) -> Callable[[Call], Body]:
        """The endpoint, which answers a repeated idempotency key as before, and one with another request with 422."""

        def answered(call: Call) -> Body:
            key = call.headers.get("Idempotency-Key")
            if key is None:
                return endpoint(call)
            name = fingerprint(call.credential, key)
            content = canonical_digest({"path": dict(call.path), "body": call.body, "what": endpoint.__name__})
            found = self._things.get(_REPLAYS, name)
            if found is None:
                made = endpoint(call)
                self._things.put(_REPLAYS, name, {"name": name, "content": content, "answer": made, "at": call.now})
                return made
            if found["content"] != content:
                raise Refused(422, "idempotency_key_reused", "this Idempotency-Key was used with another request")
            given = found["answer"]
            assert isinstance(given, dict)
            return given

        return answered

    def _said(self, call: Call, *, count: bool) -> Body:
        request: Body = {"action": call.needed("action"), "value": call.number("value")}
        request |= {"actor": call.text("actor", "AI_AGENT"), **call.fields("metadata")}
        only = call.text("rule_id")
        if only:
            rule = known(self._things.get(constraints.KIND, only), "rule")
            rules = [rule] if rule["status"] == "active" else []
        else:
            rules = [rule for rule in self._things.all(constraints.KIND) if concerns(rule, request)]
        word, reason, strictest = constraints.say(self._things, rules, request, call.now, count=count)
        return {
            "allowed": word == "allowed",
            "result": word,
            "requires_approval": word == "requires_approval",
            "reason": reason,
            "blocked_by": strictest["rule_id"] if strictest is not None and word == "blocked" else None,
            "rules_checked": [rule["rule_id"] for rule in rules],
            "dry_run": not count,
        }

    def _rule(self, call: Call) -> Body:
        return known(self._things.get(constraints.KIND, call.path["rule_id"]), "rule")

    def _status(self, call: Call, status: str) -> Body:
        rule = self._rule(call)
        if rule["status"] == status:
            return self._view(rule, call)
        return self._kept(call, rule, constraints.settable(rule) | {"status": status}, f"rule.{status}")

    def _kept(self, call: Call, rule: Body, fields: Body, event: str) -> Body:
        """The constraint with these fields and no others, as its next version."""
        name = str(rule["rule_id"])
        number = rule["version"]
        assert isinstance(number, int)
        own = {key: rule[key] for key in ("rule_id", "created_at")}
        made: Body = own | fields | {"updated_at": call.at, "version": number + 1}
        self._things.put(constraints.KIND, name, made)
        past = [
            *_versions(self._things.get(_VERSIONS, name)),
            made | {"change": event, "reason": call.body.get("reason")},
        ]
        self._things.put(_VERSIONS, name, {"versions": past[-_MOST_VERSIONS:]})
        journal.record(self._things, event, call.at, rule_id=name, rule_name=made["name"], domain=made["domain"])
        return self._view(made, call)

    def _view(self, rule: Body, call: Call) -> Body:
        return constraints.view(self._things, rule, call.now) | {"etag": _tag(rule)}


def _versions(found: Body | None) -> list[Body]:
    listed = found["versions"] if found is not None else []
    assert isinstance(listed, list)
    return listed


def _tag(rule: Body) -> str:
    """The constraint's version as HTTP names it."""
    return f'W/"rule:{rule["rule_id"]}:v{rule["version"]}"'
