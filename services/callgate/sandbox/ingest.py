"""The ingest journal: lifecycle events by any of their keys, each kept once, whatever is sent twice."""

from __future__ import annotations

from collections import Counter

from aiohttp import web

from callgate.clock import Clock
from callgate.events.digest import canonical_digest
from callgate.sandbox.answers import Refused, answer, body_of, invalid, limit_of, number_of, object_of, text_of
from callgate.sandbox.outcomes import Outcomes
from callgate.sandbox.store import Body, Store
from callgate.sandbox.times import iso

_KEYS = ("request_id", "case_id", "external_ref", "tenant_ref", "entity_id")
_BATCH = 500
_STATUSES = ("active", "pending", "completed")


class Ingest:
    """The endpoints of ingestion and of the lifecycles that it makes."""

    def __init__(self, store: Store, outcomes: Outcomes, clock: Clock) -> None:
        """Over `store`; an outcome that is reconciled goes to `outcomes` where its decision is known."""
        self._store = store
        self._outcomes = outcomes
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """The routes that they serve."""
        return [
            web.post("/ingest", self.event),
            web.post("/ingest/batch", self.batch),
            web.post("/ingest/reconcile", self.reconcile),
            web.get("/ingest/lifecycles", self.lifecycles),
            web.get("/ingest/lifecycle", self.lifecycle),
            web.get("/ingest/pending", self.pending),
            web.get("/ingest/stale", self.stale),
            web.get("/ingest/stats", self.stats),
        ]

    async def event(self, request: web.Request) -> web.Response:
        """One event."""
        body = _checked(await body_of(request), "")
        with self._store.unit():
            new = self._take(body)
        return answer({"status": "accepted" if new else "duplicate", "accepted": int(new)})

    async def batch(self, request: web.Request) -> web.Response:
        """At most 500 events, all of them or none: a client could not tell which to send again."""
        body = await body_of(request)
        found = body.get("events")
        if not isinstance(found, list) or len(found) > _BATCH:
            raise invalid(("events", f"must be an array of at most {_BATCH}"))
        shared = {name: body[name] for name in ("adapter", "domain") if body.get(name) is not None}
        events = [_checked(each, f"events.{index}.", shared) for index, each in enumerate(found)]
        with self._store.unit():
            new = sum(self._take(event) for event in events)
        return answer({"status": "accepted", "accepted": new, "duplicates": len(events) - new})

    async def reconcile(self, request: web.Request) -> web.Response:
        """An outcome for whatever a key names."""
        body = await body_of(request)
        name, value = text_of(body, "key_name", required=True), text_of(body, "key_value", required=True)
        if name not in _KEYS:
            raise invalid(("key_name", f"must be one of {', '.join(_KEYS)}"))
        outcome = object_of(body, "outcome")
        if not outcome:
            raise invalid(("outcome", "is required"))
        matched = [event for event, _ in self._store.ingested() if event.get(name) == value]
        if not matched:
            raise Refused(404, "unknown_key", f"no event has this {name}")
        event: Body = {"event_type": "OUTCOME_OBSERVED", str(name): value, "outcome": outcome}
        decided = next((str(each["request_id"]) for each in matched if each.get("request_id")), None)
        with self._store.unit():
            self._take(event)
            if decided is not None and self._store.decision(decided) is not None and outcome.get("status"):
                self._outcomes.record({**outcome, "request_id": decided})
        return answer({"status": "reconciled", "key_name": name, "key_value": value, "matched": len(matched)})

    async def lifecycles(self, request: web.Request) -> web.Response:
        """Every lifecycle, oldest first, of one status where it is given."""
        status = request.query.get("status_filter")
        if status is not None and status not in _STATUSES:
            raise invalid(("status_filter", f"must be one of {', '.join(_STATUSES)}"))
        open_ones = ("active", "pending")
        found = [
            each
            for each in self._lifecycles()
            if status is None or each["status"] == status or (status == "active" and each["status"] in open_ones)
        ]
        return answer({"lifecycles": found[: limit_of(request)], "total": len(found)})

    async def lifecycle(self, request: web.Request) -> web.Response:
        """The lifecycle that a key names."""
        name = next((key for key in _KEYS if key in request.query), None)
        if name is None:
            raise invalid(("request_id", f"one of {', '.join(_KEYS)} is required"))
        value = request.query[name]
        events = [event for event, _ in self._store.ingested() if event.get(name) == value]
        if not events:
            raise Refused(404, "unknown_key", f"no event has this {name}")
        return answer({name: value, "events": events, "status": _status(events)})

    async def pending(self, request: web.Request) -> web.Response:
        """Lifecycles without an outcome."""
        found = [each for each in self._lifecycles() if each["status"] == "pending"]
        return answer({"pending": found[: limit_of(request)], "total": len(found)})

    async def stale(self, request: web.Request) -> web.Response:
        """Lifecycles without an outcome that nothing has been heard of for days."""
        days = number_of(request, "stale_after_days", 7, 3650)
        before = iso(self._clock.now() - days * 86_400)
        found = [each for each in self._lifecycles() if each["status"] == "pending" and str(each["last_at"]) < before]
        return answer({"stale": found[: limit_of(request)], "total": len(found)})

    async def stats(self, request: web.Request) -> web.Response:
        """Counts by event type."""
        del request
        counts = Counter(str(event["event_type"]) for event, _ in self._store.ingested())
        return answer({"total": sum(counts.values()), "by_event_type": dict(counts)})

    def _take(self, event: Body) -> bool:
        """Journal an event once: the API has no key for it, and clients deliver at least once."""
        return self._store.ingest(canonical_digest(event), event, self._clock.now())

    def _lifecycles(self) -> list[Body]:
        """Events by request id, or by the first other key that they have."""
        grouped: dict[tuple[str, str], list[tuple[Body, float]]] = {}
        for event, at in self._store.ingested():
            name = next((key for key in _KEYS if event.get(key)), None)
            if name is not None:
                grouped.setdefault((name, str(event[name])), []).append((event, at))
        return [
            {
                name: value,
                "status": _status([event for event, _ in found]),
                "events": len(found),
                "last_at": iso(found[-1][1]),
            }
            for (name, value), found in grouped.items()
        ]


def _status(events: list[Body]) -> str:
    """A lifecycle is completed by any event that has an outcome."""
    return "completed" if any(event.get("outcome") for event in events) else "pending"


def _checked(event: object, path: str, shared: Body | None = None) -> Body:
    """The event without its nulls. Raises `Refused` that names the field."""
    if not isinstance(event, dict):
        raise invalid((path.rstrip("."), "must be an object"))
    found: Body = (shared or {}) | {name: value for name, value in event.items() if value is not None}
    if not isinstance(found.get("event_type"), str) or not found["event_type"]:
        raise invalid((f"{path}event_type", "is required"))
    for name in ("action", "context", "execution", "outcome"):
        if name in found and not isinstance(found[name], dict):
            raise invalid((f"{path}{name}", "must be an object"))
    for name in _KEYS:
        if name in found and not isinstance(found[name], str):
            raise invalid((f"{path}{name}", "must be a string"))
    return found
