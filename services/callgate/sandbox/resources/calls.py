"""One request as an endpoint sees it, and the wiring of endpoints into the HTTP application.

An endpoint is an ordinary function from `Call` to a JSON value; it raises `Refused` where the request is wrong. It runs
inside one unit of the store, so that an answer that was sent is remembered whole.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from callgate.clock import Clock
from callgate.sandbox.answers import IDENTIFIER, Refused, answer, body_of, invalid, object_of, text_of
from callgate.sandbox.credentials import scope_of
from callgate.sandbox.store import Store
from callgate.sandbox.times import iso

Body = dict[str, object]
"""A decoded JSON object."""
T = TypeVar("T")

DAY = 86_400.0
"""Seconds."""

_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request, read."""

    body: Body
    """Empty where none was sent: several of the SDK's calls send none."""
    query: Mapping[str, str]
    path: Mapping[str, str]
    """The ids in the path, by the names in its template; each is an id."""
    headers: Mapping[str, str]
    credential: str
    """Digest of who calls; idempotency keys belong to it."""
    now: float
    """Seconds since the epoch, by the sandbox's clock."""

    @property
    def at(self) -> str:
        """`now`, as BIGHUB writes times."""
        return iso(self.now)

    def text(self, name: str, default: str = "") -> str:
        """A text of the body's, `default` where it is absent."""
        return text_of(self.body, name) or default

    def needed(self, name: str) -> str:
        """A text of the body's that must be there."""
        return text_of(self.body, name, required=True) or ""

    def fields(self, name: str) -> Body:
        """An object of the body's, empty where it is absent."""
        return object_of(self.body, name)

    def array(self, name: str, most: int) -> list[object]:
        """An array of the body's that must be there and not longer than `most`."""
        found = self.body.get(name)
        if not isinstance(found, list) or len(found) > most:
            raise invalid((name, f"must be an array of at most {most}"))
        return found

    def number(self, name: str, default: float | None = None) -> float | None:
        """A number of the body's, `default` where it is absent."""
        return number_in(self.body, name, default)

    def flag(self, name: str, *, default: bool) -> bool:
        """A boolean of the body's."""
        found = self.body.get(name)
        if found is None:
            return default
        if not isinstance(found, bool):
            raise invalid((name, "must be a boolean"))
        return found

    def asked(self, name: str, default: int, *, least: int = 1, most: int = 100_000) -> int:
        """A whole number in the query."""
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < len(str(most)) + 1 and least <= int(text) <= most):
            raise invalid((name, f"must be a whole number from {least} to {most}"))
        return int(text)

    def asked_flag(self, name: str) -> bool | None:
        """A boolean in the query, None where it is absent."""
        text = self.query.get(name)
        if text not in {None, "true", "false"}:
            raise invalid((name, "must be true or false"))
        return None if text is None else text == "true"

    def page(self, found: list[T], limit: int = 50) -> list[T]:
        """The part of a list that `limit` and `offset` in the query ask for."""
        start = self.asked("offset", 0, least=0)
        return found[start : start + self.asked("limit", limit, most=500)]


Endpoint = Callable[[Call], object]
"""What answers a call."""
Route = tuple[str, str, Endpoint]
"""Method, path with ids in braces, and the endpoint. Of two that match the first wins, so literals come first."""


def number_in(body: Mapping[str, object], name: str, default: float | None = None) -> float | None:
    """A number of an object's. Raises `Refused` for another type."""
    found = body.get(name)
    if found is None:
        return default
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise invalid((name, "must be a number"))
    return found


def known(found: Body | None, what: str) -> Body:
    """What was looked up, or a 404 that says of what kind it is not."""
    if found is None:
        raise Refused(404, f"unknown_{what}", f"there is no {what} of this id")
    return found


def one_of(name: str, value: str, allowed: Iterable[str]) -> str:
    """`value`, or a 422 that names what is allowed."""
    words = list(allowed)
    if value not in words:
        raise invalid((name, f"must be one of {', '.join(words)}"))
    return value


def selected(found: Iterable[Body], query: Mapping[str, str], names: Iterable[str]) -> list[Body]:
    """Those whose fields equal what the query asks for under the same names."""
    wanted = {name: query[name] for name in names if name in query}
    return [each for each in found if all(each.get(name) == value for name, value in wanted.items())]


def wired(routes: Iterable[Route], store: Store, clock: Clock) -> list[web.RouteDef]:
    """The routes as the HTTP application takes them."""
    return [
        web.route(method, _PLACE.sub(rf"{{\1:{IDENTIFIER}}}", path), _handler(endpoint, store, clock))
        for method, path, endpoint in routes
    ]


def _handler(endpoint: Endpoint, store: Store, clock: Clock) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        call = Call(
            body=await body_of(request) if await request.read() else {},
            query=request.query,
            path=request.match_info,
            headers=request.headers,
            credential=scope_of(request.headers),
            now=clock.now(),
        )
        with store.unit():
            return answer(endpoint(call))

    return handle
