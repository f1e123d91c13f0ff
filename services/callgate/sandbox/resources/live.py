"""Live connections: an agent that says it is there, for as long as it goes on saying so."""

from __future__ import annotations

from callgate.sandbox.answers import Refused
from callgate.sandbox.resources.calls import Body, Call, Route
from callgate.sandbox.store import Store

KIND = "live"
"""The kind under which connections are kept."""

_TTL_SECONDS = 120
_HEARTBEAT_SECONDS = 40
_MOST = 100


class Live:
    """The endpoints of live connections."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._things = store.things

    def routes(self) -> list[Route]:
        """The routes that they serve."""
        return [
            ("POST", "/actions/live/connect", self.connect),
            ("POST", "/actions/live/heartbeat", self.heartbeat),
            ("POST", "/actions/live/disconnect", self.disconnect),
        ]

    def connect(self, call: Call) -> Body:
        """A new connection; those that have fallen silent make room for it."""
        for each in self._things.all(KIND):
            if _silent(each, call.now):
                self._things.drop(KIND, str(each["connection_id"]))
        if self._things.count(KIND) >= _MOST:
            raise Refused(422, "too_many_connections", f"there are {_MOST} live connections: disconnect some")
        name = f"conn_{self._things.number(KIND)}"
        body: Body = {"connection_id": name, "agent_id": call.text("actor", "AI_AGENT"), "context": {}}
        return self._view(self._things.put(KIND, name, body | {"context": call.fields("context"), "seen": call.now}))

    def heartbeat(self, call: Call) -> Body:
        """The connection lives on. One that has fallen silent is gone for good (410): it may have been replaced."""
        name = call.needed("connection_id")
        body = alive(self._things.get(KIND, name), call.now)
        context = call.fields("context") or body["context"]
        return self._view(self._things.put(KIND, name, body | {"seen": call.now, "context": context}))

    def disconnect(self, call: Call) -> Body:
        """The end of a connection."""
        name = call.needed("connection_id")
        if not self._things.drop(KIND, name):
            raise Refused(404, "unknown_live_connection", "there is no live connection of this id")
        return {"connection_id": name, "status": "disconnected"}

    def _view(self, body: Body) -> Body:
        return {
            "connection_id": body["connection_id"],
            "agent_id": body["agent_id"],
            "status": "connected",
            "current_connections": self._things.count(KIND),
            "max_connections": _MOST,
            "ttl_seconds": _TTL_SECONDS,
            "heartbeat_interval_seconds": _HEARTBEAT_SECONDS,
        }


def alive(body: Body | None, now: float) -> Body:
    """The connection's body. Raises `Refused` where it is unknown (404) or has fallen silent (410)."""
    if body is None:
        raise Refused(404, "unknown_live_connection", "there is no live connection of this id")
    if _silent(body, now):
        raise Refused(410, "live_connection_lost", f"nothing was heard of it for {_TTL_SECONDS} s")
    return body


def _silent(body: Body, now: float) -> bool:
    seen = body["seen"]
    return not isinstance(seen, int | float) or now - seen > _TTL_SECONDS
