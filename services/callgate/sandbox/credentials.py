"""Who calls. Any credential will do, but a key that the sandbox itself has made is held to what was said of it."""

from __future__ import annotations

from collections.abc import Mapping

from callgate.clock import Clock
from callgate.events.ids import fingerprint
from callgate.sandbox.answers import Refused
from callgate.sandbox.store import Store

KEYS = "api_keys"
"""The kind under which keys are kept, by the digest of the key, which itself is kept nowhere."""

EVERYTHING = "*"
"""The scope that allows every call."""

FAMILIES = (
    "actions", "api-keys", "approvals", "calibration", "cases", "consequence-graph", "events", "features", "ingest",
    "insights", "integrations", "kill-switch", "ops", "outcomes", "precedents", "retrieval", "rules", "simulations",
    "webhooks", "world-state",
)  # fmt: skip
"""First parts of paths; `family:read` and `family:write` are scopes."""

KEY_PREFIX = "bh_sandbox_"
"""What the keys that the sandbox makes begin with; others need no look at the store."""

_OPEN = ("/auth/", "/api-keys/validate")
"""Where a caller gets its credential, or asks about it."""


def scope_of(headers: Mapping[str, str]) -> str:
    """Whose idempotency keys these are: a digest of the credential, which itself is kept nowhere."""
    return fingerprint("credential", headers.get("X-API-Key") or headers.get("Authorization") or "")


def key_digest(key: str) -> str:
    """Under what a key is kept."""
    return fingerprint("api key", key)


def expired(body: Mapping[str, object], now: float) -> bool:
    """Whether a key's time is over."""
    until = body.get("expires")
    return isinstance(until, int | float) and now >= until


def admit(method: str, path: str, headers: Mapping[str, str], store: Store, clock: Clock) -> None:
    """Raise `Refused` with 401 for no credential or a dead key, with 403 for a key without the scope."""
    if path.startswith(_OPEN):
        return
    key = headers.get("X-API-Key")
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if not key:
        if scheme.lower() == "bearer" and token.strip():
            return
        raise Refused(401, "unauthorized", "send any X-API-Key, or any bearer token")
    body = store.things.get(KEYS, key_digest(key)) if key.startswith(KEY_PREFIX) else None
    if body is None:
        return
    if body["revoked"] or expired(body, clock.now()):
        raise Refused(401, "dead_key", "this key was revoked, or its time is over")
    scopes = body["scopes"]
    needed = f"{path.split('/')[1]}:{'read' if method == 'GET' else 'write'}"
    if isinstance(scopes, list) and EVERYTHING not in scopes and needed not in scopes:
        raise Refused(403, "insufficient_scope", f"this key lacks the scope {needed}")
