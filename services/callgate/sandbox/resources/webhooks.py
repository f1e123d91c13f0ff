"""Webhooks: subscriptions, and deliveries that are signed and written down, but never sent anywhere."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

import orjson

from callgate.events.ids import fingerprint
from callgate.sandbox.answers import Refused, invalid
from callgate.sandbox.resources.calls import Body, Call, Route, known
from callgate.sandbox.store import Store

EVENTS = (
    "signal.new", "outcome.reported", "rule.patch_previewed", "rule.patch_applied", "decision_event.created",
)  # fmt: skip
"""What can be subscribed to."""

_KIND, _DELIVERIES = "webhooks", "deliveries"
_TOLERANCE_SECONDS = 300
_LISTS = ("events", "symbols", "intervals")
_COUNTS = {"timeout_seconds": 10, "max_retries": 3, "retry_delay_seconds": 5}
_FIELDS = ("url", "label", "is_active", *_LISTS, *_COUNTS)
_MOST_COUNT = 3600


class Webhooks:
    """The endpoints of webhooks."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._things = store.things

    def routes(self) -> list[Route]:
        """The routes that they serve; literals first, since an id could spell one."""
        one = "/webhooks/{webhook_id}"
        return [
            ("GET", "/webhooks/events/list", self.events),
            ("POST", "/webhooks/verify-signature", self.verify),
            ("POST", "/webhooks", self.create),
            ("GET", "/webhooks", self.listed),
            ("GET", one, self.get),
            ("PATCH", one, self.update),
            ("DELETE", one, self.delete),
            ("GET", f"{one}/deliveries", self.deliveries),
            ("POST", f"{one}/test", self.test),
            ("POST", f"{one}/deliveries/{{delivery_id}}/replay", self.replay),
        ]

    def create(self, call: Call) -> Body:
        """A subscription. Its secret is told this once."""
        body = _checked({"label": "default", "events": list(EVENTS), "symbols": [], "intervals": []} | call.body)
        name = f"wh_{self._things.number(_KIND)}"
        kept: Body = {"webhook_id": name, "is_active": True, **_COUNTS, **body, "created_at": call.at}
        return self._things.put(_KIND, name, kept) | {"secret": _secret(name)}

    def listed(self, call: Call) -> Body:
        """The active ones, or all, oldest first."""
        every = call.asked_flag("include_inactive")
        found = [each for each in self._things.all(_KIND) if every or each["is_active"]]
        return {"webhooks": found, "total": len(found)}

    def get(self, call: Call) -> Body:
        """One subscription."""
        return self._one(call)

    def update(self, call: Call) -> Body:
        """Some fields anew."""
        found = self._one(call)
        return self._things.put(_KIND, str(found["webhook_id"]), found | _checked(found | call.body))

    def delete(self, call: Call) -> Body:
        """The subscription is gone, and its deliveries with it."""
        name = str(self._one(call)["webhook_id"])
        self._things.drop(_KIND, name)
        for each in self._of(name):
            self._things.drop(_DELIVERIES, str(each["delivery_id"]))
        return {"success": True, "webhook_id": name}

    def deliveries(self, call: Call) -> Body:
        """Its deliveries, the newest first."""
        found = self._of(str(self._one(call)["webhook_id"]))[::-1]
        return {"deliveries": found[: call.asked("limit", 50, most=500)], "total": len(found)}

    def test(self, call: Call) -> Body:
        """A delivery as it would be sent, with its signature."""
        webhook = self._one(call)
        event = call.text("event_type", EVENTS[0])
        if event not in EVENTS:
            raise invalid(("event_type", f"must be one of {', '.join(EVENTS)}"))
        if not webhook["is_active"]:
            raise Refused(422, "webhook_inactive", "an inactive webhook is sent nothing")
        number, name = self._things.number(_DELIVERIES), str(webhook["webhook_id"])
        payload = orjson.dumps({"event_type": event, "delivery_id": number, "created_at": call.at}).decode()
        body: Body = {
            "delivery_id": number,
            "webhook_id": name,
            "event_type": event,
            "status": "simulated",
            "attempts": 1,
            "payload": payload,
            "timestamp": int(call.now),
            "signature": signed(payload, _secret(name), int(call.now)),
            "created_at": call.at,
        }
        return {"success": True, **self._things.put(_DELIVERIES, str(number), body)}

    def replay(self, call: Call) -> Body:
        """A delivery once more, as it was; its signature is of now."""
        name = str(self._one(call)["webhook_id"])
        found = known(self._things.get(_DELIVERIES, call.path["delivery_id"]), "delivery")
        if found["webhook_id"] != name:
            raise Refused(404, "unknown_delivery", "there is no delivery of this id to this webhook")
        at, attempts = int(call.now), found["attempts"]
        assert isinstance(attempts, int)
        again = {
            "attempts": attempts + 1,
            "timestamp": at,
            "signature": signed(str(found["payload"]), _secret(name), at),
        }
        return {"success": True, **self._things.put(_DELIVERIES, str(found["delivery_id"]), found | again)}

    def events(self, call: Call) -> Body:
        """What can be subscribed to."""
        del call
        return {"events": list(EVENTS)}

    def verify(self, call: Call) -> Body:
        """Whether a signature is of a payload and not older or newer than five minutes."""
        payload, secret, timestamp = call.needed("payload"), call.needed("secret"), call.number("timestamp")
        if not isinstance(timestamp, int):
            raise invalid(("timestamp", "must be whole seconds since the epoch"))
        right = hmac.compare_digest(signed(payload, secret, timestamp).encode(), call.needed("signature").encode())
        fresh = abs(call.now - timestamp) <= _TOLERANCE_SECONDS
        reason = None if right and fresh else "the signature is wrong" if not right else "the timestamp is too far away"
        return {"valid": right and fresh, "reason": reason}

    def _one(self, call: Call) -> Body:
        return known(self._things.get(_KIND, call.path["webhook_id"]), "webhook")

    def _of(self, name: str) -> list[Body]:
        return [each for each in self._things.all(_DELIVERIES) if each["webhook_id"] == name]


def signed(payload: str, secret: str, timestamp: int) -> str:
    """The signature that the SDK verifies."""
    return f"v1={hmac.new(secret.encode(), f'{timestamp}.{payload}'.encode(), hashlib.sha256).hexdigest()}"


def _secret(name: str) -> str:
    return f"whsec_{fingerprint('webhook secret', name)}"


def _checked(body: Body) -> Body:
    """The fields that a client may set. Raises `Refused` that names the wrong one."""
    url = urlsplit(str(body.get("url") or ""))
    if url.scheme not in {"http", "https"} or not url.netloc:
        raise invalid(("url", "must be an http or https URL"))
    if not isinstance(body.get("label"), str):
        raise invalid(("label", "must be a string"))
    for name in _LISTS:
        found = body.get(name)
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise invalid((name, "must be an array of strings"))
        if name == "events" and (not found or not set(found) <= set(EVENTS)):
            raise invalid((name, f"must name some of {', '.join(EVENTS)}"))
    for name in _COUNTS:
        found = body.get(name, 1)
        if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= _MOST_COUNT:
            raise invalid((name, f"must be a whole number from 0 to {_MOST_COUNT}"))
    if not isinstance(body.get("is_active", True), bool):
        raise invalid(("is_active", "must be a boolean"))
    return {name: body[name] for name in _FIELDS if name in body}
