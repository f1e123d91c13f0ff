"""HTTP answers in the shapes that the SDK parses: a body, or an error with a code."""

from __future__ import annotations

import orjson
from aiohttp import web

JSON = "application/json"
IDENTIFIER = "[A-Za-z0-9_-]{1,128}"
"""What an id in a path looks like. The SDK escapes nothing, so anything else is another route, or none."""


class Refused(Exception):  # noqa: N818 - it is the request that is wrong
    """A request that is answered with an error body.

    `fields` are the places and messages of a validation error (422), which has a shape of its own.
    """

    def __init__(self, status: int, code: str, message: str, *, fields: tuple[tuple[str, str], ...] = ()) -> None:
        """Answer with `status`, and `{"detail": {"code", "message"}}`."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields


def invalid(*fields: tuple[str, str]) -> Refused:
    """A 422 that names each wrong field and what is wrong with it."""
    return Refused(422, "invalid", "the request is not valid", fields=fields)


def answer(value: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=orjson.dumps(value), status=status, content_type=JSON)


def refusal(refused: Refused, request_id: str) -> web.Response:
    """The error body that the SDK takes code, detail and request id from."""
    detail: object = {"code": refused.code, "message": refused.message}
    if refused.fields:
        detail = [{"loc": ["body", field], "msg": message, "type": "value_error"} for field, message in refused.fields]
    return answer({"detail": detail, "request_id": request_id}, refused.status)


async def body_of(request: web.Request) -> dict[str, object]:
    """The request's JSON object. Raises `Refused` with 400 for no JSON, 422 for JSON of another type."""
    raw = await request.read()
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "bad_json", "the body is not JSON") from error
    if not isinstance(value, dict):
        raise invalid(("", "the body must be an object"))
    return value


def text_of(body: dict[str, object], field: str, *, required: bool = False) -> str | None:
    """A text field; null is absence. Raises `Refused` for another type, or where it is required and absent or empty."""
    value = body.get(field)
    if value is None or value == "":
        if required:
            raise invalid((field, "is required"))
        return None
    if not isinstance(value, str):
        raise invalid((field, "must be a string"))
    return value


def object_of(body: dict[str, object], field: str) -> dict[str, object]:
    """An object field; null and absence are an empty one. Raises `Refused` for another type."""
    value = body.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid((field, "must be an object"))
    return value


def limit_of(request: web.Request, most: int = 500) -> int:
    """The query's `limit`, 50 unless given. Raises `Refused` where it is no number from 1 to `most`."""
    return number_of(request, "limit", 50, most)


def number_of(request: web.Request, name: str, default: int, most: int) -> int:
    """A whole number in the query. Raises `Refused` where it is none, or outside of 1 to `most`."""
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise invalid((name, f"must be a whole number from 1 to {most}"))
    return int(text)
