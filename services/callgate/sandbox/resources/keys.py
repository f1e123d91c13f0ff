"""API keys that the sandbox makes. Any other credential does as well; these are held to scopes, time and revocation."""

from __future__ import annotations

from callgate.events.ids import fingerprint
from callgate.sandbox.answers import Refused, invalid
from callgate.sandbox.credentials import EVERYTHING, FAMILIES, KEY_PREFIX, KEYS, expired, key_digest
from callgate.sandbox.resources.calls import DAY, Body, Call, Route
from callgate.sandbox.store import Store
from callgate.sandbox.times import iso

_SCOPES = (EVERYTHING, *(f"{family}:{kind}" for family in FAMILIES for kind in ("read", "write")))
_SHOWN = ("key_id", "key_prefix", "label", "scopes", "rate_limit_per_minute", "ip_whitelist", "created_at", "revoked")
_MOST_DAYS = 3650
_PREFIX_LENGTH = len(KEY_PREFIX) + 4


class Keys:
    """The endpoints of API keys."""

    def __init__(self, store: Store) -> None:
        """Over `store`."""
        self._things = store.things

    def routes(self) -> list[Route]:
        """The routes that they serve; literals first, since an id could spell one."""
        return [
            ("GET", "/api-keys/validate", self.validate),
            ("GET", "/api-keys/scopes", self.scopes),
            ("POST", "/api-keys", self.create),
            ("GET", "/api-keys", self.listed),
            ("DELETE", "/api-keys/{key_id}", self.revoke),
            ("POST", "/api-keys/{key_id}/rotate", self.rotate),
        ]

    def create(self, call: Call) -> Body:
        """A key, told this once. Without scopes it may do everything."""
        scopes = call.array("scopes", len(_SCOPES)) if call.body.get("scopes") else [EVERYTHING]
        if not set(scopes) <= set(_SCOPES):
            raise invalid(("scopes", "GET /api-keys/scopes lists what there is"))
        days, limit = call.number("expires_in_days"), call.number("rate_limit_per_minute")
        if days is not None and not 0 < days <= _MOST_DAYS:
            raise invalid(("expires_in_days", f"must be above 0 and at most {_MOST_DAYS}"))
        return self._made(
            {
                "label": call.text("label", "default"),
                "scopes": scopes,
                "rate_limit_per_minute": limit,
                "ip_whitelist": call.body.get("ip_whitelist") or [],
                "created_at": call.at,
                "expires": None if days is None else call.now + days * DAY,
            }
        )

    def listed(self, call: Call) -> Body:
        """The live ones, or all, oldest first; never the keys themselves."""
        every = call.asked_flag("include_revoked")
        found = [_view(each) for each in self._things.all(KEYS) if every or not each["revoked"]]
        return {"keys": found, "total": len(found)}

    def revoke(self, call: Call) -> Body:
        """The key is dead. Twice is once."""
        digest, body = self._one(call.path["key_id"])
        self._things.put(KEYS, digest, body | {"revoked": True, "reason": call.text("reason") or None})
        return {"success": True, "key_id": body["key_id"], "revoked": True}

    def rotate(self, call: Call) -> Body:
        """A new key with the old one's rights, and the old one dead."""
        digest, body = self._one(call.path["key_id"])
        if body["revoked"]:
            raise Refused(422, "key_revoked", "a revoked key can't be rotated: create another")
        self._things.put(KEYS, digest, body | {"revoked": True, "reason": "rotated"})
        rights = {name: body[name] for name in ("label", "scopes", "rate_limit_per_minute", "ip_whitelist", "expires")}
        return self._made(rights | {"created_at": call.at}) | {"rotated_from": body["key_id"]}

    def validate(self, call: Call) -> Body:
        """Whether a key is one of ours and alive. That it is not is no error."""
        body = self._things.get(KEYS, key_digest(call.query.get("api_key", "")))
        if body is None or body["revoked"] or expired(body, call.now):
            return {"valid": False, "key_id": None, "scopes": []}
        return {"valid": True, "key_id": body["key_id"], "label": body["label"], "scopes": body["scopes"]}

    def scopes(self, call: Call) -> Body:
        """Every scope there is."""
        del call
        return {"scopes": list(_SCOPES)}

    def _made(self, body: Body) -> Body:
        number = self._things.number(KEYS)
        # The same run makes the same keys; they guard nothing.
        key = f"{KEY_PREFIX}{fingerprint('sandbox key', number)}"
        kept = {"key_id": f"key_{number}", "key_prefix": key[:_PREFIX_LENGTH], **body, "revoked": False}
        self._things.put(KEYS, key_digest(key), kept)
        return {"key": key, **_view(kept)}

    def _one(self, name: str) -> tuple[str, Body]:
        number = name.removeprefix("key_")
        digest = key_digest(f"{KEY_PREFIX}{fingerprint('sandbox key', number)}")
        body = self._things.get(KEYS, digest)
        if body is None or body["key_id"] != name:
            raise Refused(404, "unknown_key", "there is no key of this id")
        return digest, body


def _view(body: Body) -> Body:
    until = body["expires"]
    return {name: body[name] for name in _SHOWN} | {
        "expires_at": iso(until) if isinstance(until, int | float) else None
    }
