"""The sandbox's HTTP application: credentials, then faults, then the endpoints; every refusal in one shape."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from callgate.clock import Clock
from callgate.events.ids import fingerprint
from callgate.sandbox.answers import JSON, Refused, answer, refusal
from callgate.sandbox.approvals import Approvals
from callgate.sandbox.credentials import admit
from callgate.sandbox.evaluation import DECIDED, Evaluation
from callgate.sandbox.faults import Body, Fault, Faults
from callgate.sandbox.hostile import nth
from callgate.sandbox.ingest import Ingest
from callgate.sandbox.model.refusals import PREFIX, error_answer
from callgate.sandbox.model.server import ModelServer
from callgate.sandbox.outcomes import Outcomes
from callgate.sandbox.policy import Policy
from callgate.sandbox.resources.table import resource_routes
from callgate.sandbox.store import Store

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""An endpoint, or what wraps it."""

LIVE = "/livez"
"""Answers without credentials; no endpoint of BIGHUB."""

_MOST_BYTES = 16 * 1024 * 1024
_BODIES: dict[Body, tuple[bytes, str]] = {
    "html": (b"<html><body>Bad gateway</body></html>", "text/html"),
    "list": (b'[{"recommendation": "proceed"}]', JSON),
    "null": (b"null", JSON),
    "scalar": (b'"proceed"', JSON),
    "empty": (b"", JSON),
    "truncated": (b'{"recommendation": "proceed", "allowed": tr', JSON),
}


def application(store: Store, policy: Policy, faults: Faults, clock: Clock, model: ModelServer) -> web.Application:
    """The application over its parts. Faults come after credentials, so that a fault file can't make a 401 vanish."""
    outcomes = Outcomes(store, clock)
    app = web.Application(
        client_max_size=_MOST_BYTES,
        middlewares=[_alive, _refusing, _Admitting(store, clock), _Faulty(faults, store, clock)],
    )
    app.add_routes(Evaluation(store, policy, clock).routes())
    app.add_routes(Approvals(store, clock).routes())
    # Before those of outcomes, whose ids could spell a literal of theirs.
    app.add_routes(resource_routes(store, outcomes, clock))
    app.add_routes(outcomes.routes())
    app.add_routes(Ingest(store, outcomes, clock).routes())
    app.add_routes(model.routes())
    return app


def _refusal(request: web.Request, refused: Refused, error_id: str) -> web.Response:
    """The error body in the shape of the API that the path belongs to."""
    if request.path.startswith(PREFIX):
        response = error_answer(refused.status, refused.code, refused.message)
        response.headers["x-request-id"] = error_id
        return response
    return refusal(refused, error_id)


@web.middleware
async def _alive(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whoever starts the sandbox may ask whether it answers: BIGHUB has no such path, so no fault applies to it."""
    return answer({"live": True}) if request.path == LIVE else await handler(request)


@web.middleware
async def _refusing(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal as the error body that the SDK parses, with an id that is the same for the same request."""
    error_id = f"req_{fingerprint('error', request.method, request.path_qs)}"
    try:
        return await handler(request)
    except Refused as refused:
        return _refusal(request, refused, error_id)
    except web.HTTPException as error:
        code = (error.reason or "error").lower().replace(" ", "_")
        return _refusal(
            request, Refused(error.status, code, f"{request.method} {request.path}: {error.reason}"), error_id
        )
    except ConnectionResetError:
        # The client is gone, which is its right: aiohttp would report a defect of ours.
        return _refusal(
            request, Refused(400, "client_gone", "the client went away before its request was read"), error_id
        )
    except sqlite3.Error as error:
        # Not remembered is not decided: the client may ask again.
        return _refusal(request, Refused(503, "state_unavailable", f"the state file fails: {error}"), error_id)


class _Admitting:
    """The middleware that asks for a credential, and what it may do."""

    __middleware_version__ = 1

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        admit(request.method, request.path, request.headers, self._store, self._clock)
        return await handler(request)


class _Faulty:
    """The middleware that fails on demand.

    A fault "before" leaves no trace, like an overloaded server; one "after" has done the work and loses the answer,
    which the store remembers, so that a repeat without a key is known for one.
    """

    __middleware_version__ = 1

    def __init__(self, faults: Faults, store: Store, clock: Clock) -> None:
        self._faults = faults
        self._store = store
        self._clock = clock

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        action = await _action(request) if self._faults.read_actions else None
        struck = self._faults.strike(f"{request.method} {request.path}", action)
        if struck is None:
            return await handler(request)
        fault, turn = struck
        if fault.delay_seconds and not fault.after:
            await self._clock.sleep(fault.delay_seconds)
        if not fault.after and (fault.status is not None or fault.body is not None):
            return _spoilt(request, fault)
        response = await handler(request)
        if fault.delay_seconds and fault.after:
            await self._clock.sleep(fault.delay_seconds)
        if fault.status is not None or fault.body is not None:
            for request_id in request.get(DECIDED, []):
                self._store.mark_lost(request_id, lost=True)
            return _spoilt(request, fault)
        return _altered(response, fault, turn)


def _spoilt(request: web.Request, fault: Fault) -> web.Response:
    """The answer that is no answer: an odd body, which a proxy would send with status 200, or an error."""
    if fault.body is not None:
        raw, kind = _BODIES[fault.body]
        return web.Response(body=raw, content_type=kind, status=fault.status or 200)
    refused = Refused(fault.status or 500, "injected_fault", "the faults file asked for this")
    response = _refusal(request, refused, f"req_{fingerprint('fault', fault.status or 0)}")
    if fault.retry_after is not None:
        response.headers["Retry-After"] = f"{fault.retry_after:g}"
    response.headers.update(fault.headers)
    return response


def _altered(response: web.StreamResponse, fault: Fault, turn: int) -> web.StreamResponse:
    """An answer with fields missing, or with another decision under its request id."""
    if not (fault.missing or fault.hostile) or not isinstance(response, web.Response):
        return response
    value = orjson.loads(response.body) if isinstance(response.body, bytes) else None
    if not isinstance(value, dict):
        return response
    if fault.hostile:
        value = {"request_id": value.get("request_id"), **nth(fault.hostile, turn)}
    return answer({name: each for name, each in value.items() if name not in fault.missing}, response.status)


async def _action(request: web.Request) -> object:
    """The body's action, for faults that look at it; a body that can't be read is the endpoint's to refuse."""
    try:
        body = orjson.loads(await request.read() or b"null")
    except orjson.JSONDecodeError:
        return None
    return body.get("action") if isinstance(body, dict) else None
