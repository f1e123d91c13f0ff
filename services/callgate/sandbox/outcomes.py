"""Outcomes of decisions: reported once or often, kept by subject, status and label quality, never overwritten."""

from __future__ import annotations

from aiohttp import web

from callgate.clock import Clock
from callgate.events.ids import fingerprint, is_id
from callgate.sandbox.answers import (
    IDENTIFIER,
    Refused,
    answer,
    body_of,
    invalid,
    limit_of,
    number_of,
    text_of,
)
from callgate.sandbox.reported import reported
from callgate.sandbox.store import Body, Store
from callgate.sandbox.times import iso

POSITIVE = ("SUCCESS", "NO_EFFECT")
"""Outcomes that one hopes for."""
NEGATIVE = ("FAILURE", "ROLLBACK", "INCIDENT", "CHURN", "FRAUD", "ESCALATION", "CORRECTION")
"""Outcomes that one regrets."""
_NEUTRAL = ("BLOCKED",)
# TOOL_ERROR is not among them: it says what a tool did, not what came of it.
_TAXONOMY = (*POSITIVE, *NEGATIVE, *_NEUTRAL)
# The SDK's own examples write it so.
_ALIASES = {"COMPLETED": "SUCCESS"}
_BATCH = 100
_SUBJECTS = ("request_id", "validation_id", "case_id")


class Outcomes:
    """The endpoints of outcomes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Over `store`."""
        self._store = store
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """The routes that they serve; literals first, since an id could spell one."""
        one = f"{{subject:{IDENTIFIER}}}"
        return [
            web.post("/outcomes/report", self.report),
            web.post("/outcomes/report/batch", self.report_batch),
            web.get("/outcomes/taxonomy", self.taxonomy),
            web.get("/outcomes/pending/list", self.pending),
            web.get(f"/outcomes/by-validation/{one}", self.latest),
            web.get(f"/outcomes/by-case/{one}", self.latest),
            web.get(f"/outcomes/{one}/timeline", self.timeline),
            web.get(f"/outcomes/{one}", self.latest),
        ]

    async def report(self, request: web.Request) -> web.Response:
        """One outcome. The request id must be one of ours: an outcome of nothing is a client's mistake."""
        body = await body_of(request)
        with self._store.unit():
            return answer(self.record(body))

    async def report_batch(self, request: web.Request) -> web.Response:
        """At most 100 outcomes; each is taken or refused by itself."""
        found = (await body_of(request)).get("outcomes")
        if not isinstance(found, list) or len(found) > _BATCH:
            raise invalid(("outcomes", f"must be an array of at most {_BATCH}"))
        results: list[Body] = []
        with self._store.unit():
            for each in found:
                try:
                    if not isinstance(each, dict):
                        raise invalid(("outcomes", "must hold objects"))
                    results.append(self.record(each))
                except Refused as refused:
                    results.append({"error": {"code": refused.code, "message": str(refused.fields or refused.message)}})
        failed = sum("error" in result for result in results)
        return answer({"accepted": len(results) - failed, "failed": failed, "results": results})

    def record(self, body: Body) -> Body:
        """Take one outcome, inside the caller's unit. Raises `Refused` that names what is wrong."""
        status = status_of(text_of(body, "status", required=True) or "")
        named = [(name, text_of(body, name)) for name in _SUBJECTS]
        name, subject = next(((name, value) for name, value in named if value), ("", ""))
        if not subject or not is_id(subject):
            raise invalid(("request_id", "one of request_id, validation_id and case_id is required"))
        decision = None if name == "case_id" else self._store.looked_back(subject)
        if name != "case_id" and decision is None:
            raise Refused(404, "unknown_request", "there is no decision of this id")
        quality = text_of(body, "outcome_label_quality") or ""
        made = reported(body, status, _category(status), decision, self._clock.now())
        ids: Body = {
            "outcome_id": f"out_{fingerprint(subject, status, quality)}",
            "request_id": subject if decision is not None else "",
        }
        return self._store.add_outcome(subject, status, quality, made | ids)

    async def latest(self, request: web.Request) -> web.Response:
        """The latest outcome of a decision or case."""
        found = self._store.outcomes(request.match_info["subject"])
        if not found:
            raise Refused(404, "no_outcome", "no outcome was reported for this id")
        return answer(found[-1])

    async def timeline(self, request: web.Request) -> web.Response:
        """Every outcome of a decision, oldest first."""
        subject = request.match_info["subject"]
        if self._store.decision(subject) is None:
            raise Refused(404, "unknown_request", "there is no decision of this id")
        return answer({"request_id": subject, "timeline": self._store.outcomes(subject)})

    async def pending(self, request: web.Request) -> web.Response:
        """Decisions without an outcome, oldest first."""
        hours = number_of(request, "min_age_hours", 0, 100_000) if "min_age_hours" in request.query else 0
        reported = {str(each.get("request_id")) for each in self._store.outcomes()}
        before = self._clock.now() - hours * 3600
        waiting = [
            {"request_id": request_id, "action": body["action"], "decided_at": iso(at)}
            for request_id, body, at in self._store.requests()
            if request_id not in reported and at <= before
        ]
        return answer({"pending": waiting[: limit_of(request)], "total": len(waiting)})

    async def taxonomy(self, request: web.Request) -> web.Response:
        """The words for outcomes."""
        del request
        statuses = [{"status": status, "category": _category(status)} for status in _TAXONOMY]
        return answer({"statuses": statuses, "aliases": _ALIASES})


def status_of(said: str) -> str:
    """The taxonomy's word for what was said, in any case. Raises `Refused` for one that it does not know."""
    status = _ALIASES.get(said.upper(), said.upper())
    if status not in _TAXONOMY:
        raise invalid(("status", f"must be one of {', '.join(_TAXONOMY)}"))
    return status


def _category(status: str) -> str:
    """Blocked is neither good nor bad: what would have happened is not known."""
    if status in _NEUTRAL:
        return "neutral"
    return "positive" if status in POSITIVE else "negative"
