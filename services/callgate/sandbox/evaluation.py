"""`POST /actions/evaluate`, alone and in batches: the policy's ruling, remembered before it is said.

An idempotency key gives the identical answer again, also after a restart; with another body it is refused (422, since
the SDK would retry a 409). Without a key, a repeat within a minute of an answer that was lost on its way gets that
answer, so that a client's transport retry makes no second approval.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from aiohttp import web

from callgate.clock import Clock
from callgate.events.digest import canonical_digest
from callgate.events.ids import fingerprint
from callgate.sandbox.answers import JSON, Refused, answer, body_of, invalid, object_of, text_of
from callgate.sandbox.credentials import scope_of
from callgate.sandbox.policy import Policy, Ruling
from callgate.sandbox.resources import live
from callgate.sandbox.resources.constraints import constrained
from callgate.sandbox.shapes import failed_item, shaped
from callgate.sandbox.store import Approval, Body, Decided, Store
from callgate.sandbox.times import iso

DECIDED = web.RequestKey("decided", list[str])
"""Where a request keeps the ids of the decisions that it made, for the fault that loses its answer."""

_LOST_SECONDS = 60.0
_BATCH = 500
_KEY_LENGTH = 255


class Evaluation:
    """The evaluating endpoints."""

    def __init__(self, store: Store, policy: Policy, clock: Clock) -> None:
        """Decide by `policy`; remember in `store`."""
        self._store = store
        self._policy = policy
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """The routes that it serves."""
        return [
            web.post("/actions/evaluate", self.evaluate),
            web.post("/actions/evaluate/batch", self.batch),
            web.get("/actions/status", self.status),
        ]

    async def evaluate(self, request: web.Request) -> web.Response:
        """One decision."""
        body = _checked(await body_of(request))
        key = request.headers.get("Idempotency-Key")
        if key is not None and not 0 < len(key) <= _KEY_LENGTH:
            raise invalid(("Idempotency-Key", f"must have 1 to {_KEY_LENGTH} characters"))
        decided = self._decide(body, scope=scope_of(request.headers), key=key)
        request[DECIDED] = [decided.request_id]
        return web.Response(body=decided.answer, content_type=JSON)

    async def batch(self, request: web.Request) -> web.Response:
        """Many decisions, as a bare array in the order of the items; an invalid item is blocked alone."""
        body = await body_of(request)
        items = body.get("actions")
        if not isinstance(items, list) or len(items) > _BATCH:
            raise invalid(("actions", f"must be an array of at most {_BATCH}"))
        shared = {"actor": text_of(body, "actor") or "AI_AGENT", "domain": text_of(body, "domain")}
        decided: list[str] = []
        parts: list[bytes] = []
        for index, item in enumerate(items):
            try:
                if not isinstance(item, dict):
                    raise invalid((f"actions.{index}", "must be an object"))
                own = {name: value for name, value in item.items() if value is not None}
                one = self._decide(_checked(shared | own), scope=scope_of(request.headers), key=None)
            except Refused as refused:
                message = "; ".join(f"{field}: {text}" for field, text in refused.fields) or refused.message
                parts.append(orjson.dumps(failed_item(f"req_{fingerprint('item', index)}", refused.code, message)))
            else:
                decided.append(one.request_id)
                parts.append(one.answer)
        request[DECIDED] = decided
        return web.Response(body=b"[" + b",".join(parts) + b"]", content_type=JSON)

    async def status(self, request: web.Request) -> web.Response:
        """That it is a sandbox, and how much it has decided."""
        del request
        return answer({"status": "ok", "sandbox": True, "decisions": self._store.decisions()})

    def _decide(self, body: Body, *, scope: str, key: str | None) -> Decided:
        """The decision on one request, remembered, or the one that was given before.

        No await stands between looking and writing, so two equal requests at once are one decision.
        """
        content = canonical_digest({**body, "idempotent": key is not None})
        if key is not None and (known := self._store.decided_under(scope, key)) is not None:
            if known.content != content:
                raise Refused(422, "idempotency_key_reused", "this Idempotency-Key was used with another body")
            return known
        now = self._clock.now()
        self._live(body, now)
        if key is None and (lost := self._store.lost_answer(content, now - _LOST_SECONDS)) is not None:
            self._store.mark_lost(lost.request_id, lost=False)
            return lost
        # An id must be new for a new decision, and the same for the same run of the same script.
        nth = 0 if key is not None else self._store.times_decided(content)
        request_id = f"req_{fingerprint(scope, key or content, nth)}"
        while self._store.decision(request_id) is not None:
            # Older ones are forgotten, so that there are fewer than their numbers say.
            nth += 1
            request_id = f"req_{fingerprint(scope, key or content, nth)}"
        dry_run = body["dry_run"] is True
        with self._store.unit():
            ruling = constrained(self._store.things, self._ruling(body), body, now, count=not dry_run)
            decided = Decided(request_id, content, orjson.dumps(shaped(ruling, request_id, dry_run=dry_run)))
            if dry_run:
                return decided
            self._store.add_decision(decided, scope=scope, key=key, request=body, at=now)
            if ruling.decision == "review":
                self._store.add_approval(self._question(request_id, body, ruling, now))
        return decided

    def _live(self, body: Body, now: float) -> None:
        """Refuse a caller that insists on a live connection and has none: it must not be answered without one."""
        context = object_of(body, "context")
        if context.get("require_live_connection") is True:
            live.alive(self._store.things.get(live.KIND, str(context.get("connection_id"))), now)

    def _ruling(self, body: Body) -> Ruling:
        """The kill switch's word, which no client asks for by itself, or else the policy's."""
        if self._store.stopped(body["domain"]):
            return Ruling(decision="block", reason="a kill switch is active", risk_score=1.0, rule="kill_switch")
        return self._policy.decide(body)

    def _question(self, request_id: str, body: Body, ruling: Ruling, now: float) -> Approval:
        asked: Body = {
            "request_id": request_id,
            "validation_id": request_id,
            "rule_id": ruling.rule,
            "action": body["action"],
            "actor": body["actor"],
            "domain": body["domain"],
            "value": body["value"],
            "reason": ruling.reason,
            "created_at": iso(now),
            "expires_at": iso(now + self._policy.approval_seconds),
        }
        return Approval(request_id, asked, "pending", now, now + self._policy.approval_seconds)


def _checked(body: Mapping[str, object]) -> Body:
    """The request with its defaults. Raises `Refused` that names the field."""
    found = dict(body)
    value, dry_run = found.get("value"), found.get("dry_run")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise invalid(("value", "must be a number"))
    if dry_run is not None and not isinstance(dry_run, bool):
        raise invalid(("dry_run", "must be a boolean"))
    context = object_of(found, "metadata") | object_of(found, "context")
    found.pop("metadata", None)
    return found | {
        "action": text_of(found, "action", required=True),
        "actor": text_of(found, "actor") or "AI_AGENT",
        "domain": text_of(found, "domain"),
        "target": text_of(found, "target"),
        "value": value,
        "context": context,
        "arguments": object_of(found, "arguments"),
        "dry_run": dry_run is True,
    }
