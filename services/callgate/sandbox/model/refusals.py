"""Requests that the Responses API refuses, in the shape that its SDK takes type, code and parameter from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from callgate.sandbox.answers import answer

PREFIX = "/v1/"
"""What the paths of this API begin with; BIGHUB's never do."""


class Invalid(Exception):  # noqa: N818 - it is the request that is wrong
    """A request that is answered with an error body."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        """Answer with `status`, and `{"error": {"message", "type", "param", "code"}}`."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


def error_answer(status: int, code: str | None, message: str, param: str | None = None) -> web.Response:
    """The error body. Its type follows from the status, as the API's does."""
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(status)
    kind = kind or ("server_error" if status >= web.HTTPInternalServerError.status_code else "invalid_request_error")
    return answer({"error": {"message": message, "type": kind, "param": param, "code": code}}, status)


def refusing(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler, whose `Invalid` becomes the error body."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Invalid as invalid:
            return error_answer(invalid.status, invalid.code, invalid.message, invalid.param)

    return handle
