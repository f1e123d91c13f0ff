"""The approval queue and the kill switch. A review has made its approval already; here it is listed and resolved."""

from __future__ import annotations

from aiohttp import web

from callgate.clock import Clock
from callgate.sandbox.answers import IDENTIFIER, Refused, answer, body_of, invalid, limit_of, text_of
from callgate.sandbox.store import Approval, Body, Store
from callgate.sandbox.times import iso

_STATUSES = ("pending", "approved", "denied", "expired")
_RESOLUTIONS = ("approved", "denied")


class Approvals:
    """The endpoints of approvals and of the kill switch, which stops resolving too."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Over `store`, with expiry by `clock`."""
        self._store = store
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """The routes that they serve."""
        return [
            web.get("/approvals", self.listed),
            web.post(f"/approvals/{{request_id:{IDENTIFIER}}}/resolve", self.resolve),
            web.get("/kill-switch/status", self.switch_status),
            web.post("/kill-switch/activate", self.activate),
            web.post(f"/kill-switch/deactivate/{{switch_id:{IDENTIFIER}}}", self.deactivate),
        ]

    async def listed(self, request: web.Request) -> web.Response:
        """A bare array of approvals of one status (pending unless given) or of all.

        What is pending comes oldest first, as it is to be answered in that order; of the rest the newest is news.
        """
        status = request.query.get("status", "pending")
        if status not in (*_STATUSES, "all"):
            raise invalid(("status", f"must be one of {', '.join(_STATUSES)} or all"))
        views = [self._view(approval) for approval in self._store.approvals()]
        found = [view for view in views if status in ("all", view["status"])]
        if status not in ("pending", "all"):
            found.reverse()
        return answer(found[: limit_of(request)])

    async def resolve(self, request: web.Request) -> web.Response:
        """Approve or deny. The same again is the same; the other, or a late one, is refused."""
        body = await body_of(request)
        resolution = text_of(body, "resolution", required=True)
        if resolution not in _RESOLUTIONS:
            raise invalid(("resolution", f"must be one of {', '.join(_RESOLUTIONS)}"))
        approval = self._store.approval(request.match_info["request_id"])
        if approval is None:
            raise Refused(404, "unknown_approval", "there is no approval for this request id")
        if approval.status == resolution:
            return answer(self._view(approval))
        if approval.status != "pending":
            raise Refused(422, "already_resolved", f"it was {approval.status} before")
        if self._clock.now() > approval.expires:
            raise Refused(410, "approval_expired", "its time to be resolved is over")
        if self._store.stopped(approval.body.get("domain")):
            raise Refused(403, "kill_switch_active", "nothing is approved where a kill switch is active")
        said: Body = {"resolution": resolution, "resolved_at": iso(self._clock.now())}
        for name in ("comment", "better_action", "modified_action", "review_decision"):
            if body.get(name) is not None:
                said[name] = body[name]
        with self._store.unit():
            self._store.resolve_approval(approval.request_id, str(resolution), approval.body | said)
        resolved = self._store.approval(approval.request_id)
        return answer(self._view(resolved or approval))

    async def switch_status(self, request: web.Request) -> web.Response:
        """Whether anything is stopped."""
        del request
        switches = self._store.active_switches()
        return answer({"is_active": bool(switches), "active_switches": switches})

    async def activate(self, request: web.Request) -> web.Response:
        """Stop everything, or one domain. A reason is required: somebody will ask for it."""
        body = await body_of(request)
        reason = text_of(body, "reason", required=True)
        scope = text_of(body, "scope") or "global"
        if scope not in ("global", "domain"):
            raise invalid(("scope", "must be global or domain"))
        domain = text_of(body, "domain", required=scope == "domain")
        switch: Body = {"scope": scope, "domain": domain, "reason": reason, "activated_at": iso(self._clock.now())}
        with self._store.unit():
            switch_id = self._store.add_switch(switch)
        return answer({"switch_id": switch_id, "success": True})

    async def deactivate(self, request: web.Request) -> web.Response:
        """Go on."""
        with self._store.unit():
            found = self._store.lift_switch(request.match_info["switch_id"])
        if not found:
            raise Refused(404, "unknown_switch", "there is no switch of this id")
        return answer({"success": True})

    def _view(self, approval: Approval) -> Body:
        expired = approval.status == "pending" and self._clock.now() > approval.expires
        return approval.body | {"status": "expired" if expired else approval.status}
