"""Conversations: items that the API keeps for its clients, and that every response of the conversation adds to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from callgate.clock import Clock
from callgate.events.ids import fingerprint
from callgate.sandbox.answers import answer
from callgate.sandbox.model import rules
from callgate.sandbox.model.items import Item, Shape, page, whole
from callgate.sandbox.model.refusals import PREFIX, Invalid, refusing

_MOST, _MOST_ITEMS, _AT_ONCE = 1000, 10_000, 20
_ONE = "{conversation_id:[A-Za-z0-9_-]{1,128}}"
_ITEM = "{item_id:[A-Za-z0-9_-]{1,128}}"


@dataclass(slots=True)
class _Conversation:
    shape: Shape
    items: list[Shape] = field(default_factory=list)
    added: int = 0
    """How many items it has ever had; their ids follow from it."""


class Conversations:
    """The endpoints of conversations, the latest thousand of which are kept."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is kept beyond the process."""
        self._clock = clock
        self._kept: dict[str, _Conversation] = {}
        self._made = 0

    def routes(self) -> list[web.RouteDef]:
        """The endpoints, under `/v1`."""
        root = f"{PREFIX}conversations"
        one, items = f"{root}/{_ONE}", f"{root}/{_ONE}/items"
        served: list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = [
            ("POST", root, self.create),
            ("GET", one, self.retrieve),
            ("POST", one, self.update),
            ("DELETE", one, self.delete),
            ("POST", items, self.add),
            ("GET", items, self.listed),
            ("GET", f"{items}/{_ITEM}", self.item),
            ("DELETE", f"{items}/{_ITEM}", self.delete_item),
        ]
        return [web.route(method, path, refusing(handler)) for method, path, handler in served]

    def history(self, body: Item) -> Sequence[Item]:
        """The items of the conversation that a request for a response names, none where it names none."""
        name = rules.name_of(body)
        return [] if name is None else list(self._of(name).items)

    def append(self, body: Item, items: Iterable[Item]) -> None:
        """Add what was said and answered to the conversation that the request names. It may be gone by now."""
        found = self._kept.get(rules.name_of(body) or "")
        if found is not None:
            self._add(found, list(items))

    async def create(self, request: web.Request) -> web.StreamResponse:
        """A new conversation, with at most twenty items to begin with."""
        body = await body_of(request)
        rules.check_metadata(body.get("metadata"))
        items = _given(body) if body.get("items") else []
        self._made += 1
        name = f"conv_{fingerprint('conversation', self._made)}"
        shape = {"id": name, "object": "conversation", "created_at": int(self._clock.now())}
        made = _Conversation({**shape, "metadata": body.get("metadata") or {}})
        self._add(made, items)
        self._kept[name] = made
        if len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]
        return answer(made.shape)

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        """One conversation."""
        return answer(self._asked(request).shape)

    async def update(self, request: web.Request) -> web.StreamResponse:
        """Other metadata."""
        found, body = self._asked(request), await body_of(request)
        rules.check_metadata(body.get("metadata"))
        found.shape["metadata"] = body.get("metadata") or {}
        return answer(found.shape)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """The conversation is gone, its items too."""
        name = self._asked(request).shape["id"]
        del self._kept[name]
        return answer({"id": name, "object": "conversation.deleted", "deleted": True})

    async def add(self, request: web.Request) -> web.StreamResponse:
        """At most twenty items more."""
        found, body = self._asked(request), await body_of(request)
        added = self._add(found, _given(body))
        return answer(page(added, {"order": "asc", "limit": str(_AT_ONCE)}))

    async def listed(self, request: web.Request) -> web.StreamResponse:
        """A page of items, the latest first unless `order=asc`."""
        return answer(page(self._asked(request).items, request.query))

    async def item(self, request: web.Request) -> web.StreamResponse:
        """One item."""
        return answer(_item(self._asked(request), request))

    async def delete_item(self, request: web.Request) -> web.StreamResponse:
        """The item is gone; the answer is its conversation."""
        found = self._asked(request)
        found.items.remove(_item(found, request))
        return answer(found.shape)

    def _asked(self, request: web.Request) -> _Conversation:
        return self._of(request.match_info["conversation_id"])

    def _of(self, name: str) -> _Conversation:
        found = self._kept.get(name)
        if found is None:
            raise Invalid(f"Conversation with id '{name}' not found.", param="conversation", status=404)
        return found

    def _add(self, found: _Conversation, items: Sequence[Item]) -> list[Shape]:
        if len(found.items) + len(items) > _MOST_ITEMS:
            raise Invalid(f"A conversation has at most {_MOST_ITEMS} items.", param="items")
        named = []
        for item in items:
            found.added += 1
            named.append(whole(item, f"item_{fingerprint(found.shape['id'], found.added)}"))
        taken = {each["id"] for each in found.items}
        if len({each["id"] for each in named} | taken) < len(named) + len(taken):
            raise Invalid("An item of this id is in the conversation already.", param="items", code="duplicate_item")
        found.items += named
        return named


async def body_of(request: web.Request) -> dict[str, Any]:
    """The request's JSON object, empty where nothing was sent."""
    try:
        body = orjson.loads(await request.read() or b"{}")
    except orjson.JSONDecodeError as error:
        raise Invalid("We could not parse the JSON body of your request.") from error
    if not isinstance(body, dict):
        raise Invalid("The body must be a JSON object.")
    return body


def _given(body: Item) -> list[Item]:
    items = rules.items_of({"input": body.get("items")})
    if len(items) > _AT_ONCE:
        raise Invalid(f"At most {_AT_ONCE} items can be added at once.", param="items", code="array_above_max_length")
    return items


def _item(found: _Conversation, request: web.Request) -> Shape:
    name = request.match_info["item_id"]
    item = next((each for each in found.items if each["id"] == name), None)
    if item is None:
        raise Invalid(f"Item with id '{name}' not found.", param="item_id", status=404)
    return item
