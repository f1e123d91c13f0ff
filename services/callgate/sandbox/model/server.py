"""The endpoints of the Responses API. Requests and answers are kept in memory, for tests to look at."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from callgate.clock import Clock
from callgate.events.ids import fingerprint
from callgate.sandbox.answers import answer
from callgate.sandbox.model import rules
from callgate.sandbox.model.refusals import PREFIX, Invalid, error_answer
from callgate.sandbox.model.script import Round, Script
from callgate.sandbox.model.shapes import response_of
from callgate.sandbox.model.stream import events

Item = Mapping[str, Any]

_KEPT = 10_000
_ONE = "{response_id:[A-Za-z0-9_-]{1,128}}"
_FLAT = {"type": "error", "code": "server_error", "message": "The script asked for this.", "param": None}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that was answered, as the journal keeps it."""

    body: Mapping[str, Any]
    response: Mapping[str, Any]
    attempt: str | None
    """What the SDK says of its own retries; None where the client is another."""


class ModelServer:
    """A model: the script says what it answers, the rules what it is asked. Stateless but for stored responses."""

    def __init__(self, script: Script, clock: Clock) -> None:
        self._script = script
        self._clock = clock
        self._seen: Counter[str] = Counter()
        self._stored: dict[str, tuple[list[Item], dict[str, Any]]] = {}
        self._repeats: dict[str, dict[str, Any]] = {}
        self._running: dict[str, tuple[float, dict[str, Any]]] = {}  # when a background answer is there, and what it is
        self.journal: deque[Asked] = deque(maxlen=_KEPT)
        """Requests that were answered, the latest last."""

    def routes(self) -> list[web.RouteDef]:
        """The endpoints, under `/v1`."""
        return [
            web.post(f"{PREFIX}responses", self.create),
            web.get(f"{PREFIX}responses/{_ONE}", self.retrieve),
            web.delete(f"{PREFIX}responses/{_ONE}", self.delete),
            web.post(f"{PREFIX}responses/{_ONE}/cancel", self.cancel),
            web.get(f"{PREFIX}responses/{_ONE}/input_items", self.input_items),
            web.get(f"{PREFIX}models", self.models),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Answer as the script says. A repeated idempotency key is answered as before."""
        try:
            body = orjson.loads(await request.read())
            if not isinstance(body, dict):
                raise Invalid("The body must be a JSON object.")  # noqa: TRY301 - one shape for every refusal
            rules.check(body)
            history = [*self._before(body), *rules.items_of(body)]
            rules.check_pairs(history)
            made = self._made(body, history)
        except orjson.JSONDecodeError:
            return error_answer(400, None, "We could not parse the JSON body of your request.")
        except Invalid as invalid:
            return error_answer(invalid.status, invalid.code, invalid.message, invalid.param)
        behind = body.get("background") is True
        if made.delay_seconds and not behind:
            await self._clock.sleep(made.delay_seconds)
        repeated = request.headers.get("Idempotency-Key")
        response = self._repeats.get(repeated) if repeated else None
        if response is None:
            response = response_of(body, made, self._seed(body), int(self._clock.now()))
            if behind:
                self._running[response["id"]] = (self._clock.monotonic() + made.delay_seconds, response)
                response = _shell(response, "queued")
            if repeated:
                self._repeats[repeated] = response
        self.journal.append(Asked(body, response, request.headers.get("x-stainless-retry-count")))
        if body.get("store") is not False:
            self._keep(history, response)
        return await self._sent(request, response, made, stream=body.get("stream") is True)

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        """A stored response, whole or as a stream from any event on."""
        found = self._stored.get(request.match_info["response_id"])
        if found is None:
            return _unknown(request)
        found = found[0], self._progress(found[1])
        if request.query.get("stream") != "true":
            return answer(found[1])
        after = request.query.get("starting_after", "-1")
        start = int(after) + 1 if after.removeprefix("-").isdigit() else 0
        return await _streamed(request, list(events(found[1]))[start:])

    async def delete(self, request: web.Request) -> web.Response:
        """Forget a stored response."""
        name = request.match_info["response_id"]
        if self._stored.pop(name, None) is None:
            return _unknown(request)
        return answer({"id": name, "object": "response.deleted", "deleted": True})

    async def cancel(self, request: web.Request) -> web.Response:
        """Give up a background answer; one that has ended stays as it is."""
        found = self._stored.get(request.match_info["response_id"])
        if found is None:
            return _unknown(request)
        now = self._progress(found[1])
        if now["background"] is not True:
            return error_answer(400, None, "Cannot cancel a synchronous response.")
        if self._running.pop(now["id"], None) is not None:
            now = _shell(now, "cancelled")
            self._keep(found[0], now)
        return answer(now)

    def _progress(self, response: dict[str, Any]) -> dict[str, Any]:
        """A background answer as it stands by now; any other as it is."""
        due, final = self._running.get(response["id"], (0.0, None))
        if final is None:
            return response
        if self._clock.monotonic() < due:
            return _shell(final, "in_progress")
        del self._running[response["id"]]
        final["background"] = True
        self._keep(self._stored[response["id"]][0], final)
        return final

    async def input_items(self, request: web.Request) -> web.Response:
        """What a stored response was the answer to, the latest first unless `order=asc`."""
        found = self._stored.get(request.match_info["response_id"])
        if found is None:
            return _unknown(request)
        items = [
            {**item, "type": item.get("type", "message"), "id": item.get("id") or f"item_{number}"}
            for number, item in enumerate(found[0])
        ]
        for item in items:
            if item["type"] == "message" and isinstance(item.get("content"), str):
                item["content"] = [{"type": "input_text", "text": item["content"]}]
        if request.query.get("order") != "asc":
            items.reverse()
        after = [number for number, item in enumerate(items) if item["id"] == request.query.get("after")]
        items = items[after[0] + 1 :] if after else items
        limit = request.query.get("limit", "20")
        page = items[: int(limit) if limit.isdigit() else 20]
        ends = {"first_id": page[0]["id"] if page else "", "last_id": page[-1]["id"] if page else ""}
        return answer({"object": "list", "data": page, **ends, "has_more": len(page) < len(items)})

    async def models(self, request: web.Request) -> web.Response:  # noqa: ARG002 - part of the port
        """The one model's name; any other is taken as well."""
        return answer({"object": "list", "data": [{"id": "sandbox", "object": "model", "created": 0, "owned_by": "-"}]})

    def _before(self, body: Mapping[str, Any]) -> Sequence[Item]:
        """The history behind `previous_response_id`: what was not stored is not found."""
        name = body.get("previous_response_id")
        if name is None:
            return []
        found = self._stored.get(str(name))
        if found is None:
            message = f"Previous response with id '{name}' not found."
            raise Invalid(message, param="previous_response_id", code="previous_response_not_found")
        return [*found[0], *found[1]["output"]]

    def _made(self, body: Mapping[str, Any], history: Sequence[Item]) -> Round:
        """The script's round, bent to what the request allows."""
        said, past = _position(history)
        made = self._script.round(str(body["model"]), said, past)
        if not made.calls or made.items is not None:
            return made
        if body.get("tool_choice") == "none":
            return Round(text=made.text or "Done.")
        if body.get("parallel_tool_calls") is False and len(made.calls) > 1:
            return Round(text=made.text, reasoning=made.reasoning, calls=made.calls[:1], status=made.status)
        return made

    def _seed(self, body: Mapping[str, Any]) -> str:
        """What the ids of an answer are made of: the request, and how often it was made."""
        asked = fingerprint(orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode())
        self._seen[asked] += 1
        return f"{asked}/{self._seen[asked]}"

    def _keep(self, history: list[Item], response: dict[str, Any]) -> None:
        self._stored[response["id"]] = (history, response)
        if len(self._stored) > _KEPT:
            del self._stored[next(iter(self._stored))]

    async def _sent(
        self, request: web.Request, response: Mapping[str, Any], made: Round, *, stream: bool
    ) -> web.StreamResponse:
        if made.fault == "flat_error":
            return answer(_FLAT)
        if stream:
            return await _streamed(request, list(events(response, made.fault)))
        if made.fault is not None:
            assert request.transport is not None
            request.transport.close()
        return answer(response)


def _shell(response: Mapping[str, Any], status: str) -> dict[str, Any]:
    """A background answer of which there is nothing yet."""
    nothing: dict[str, Any] = {
        "output": [],
        "usage": None,
        "error": None,
        "incomplete_details": None,
        "completed_at": None,
    }
    return {**response, **nothing, "status": status, "background": True}


async def _streamed(request: web.Request, sent: Sequence[Mapping[str, Any]]) -> web.StreamResponse:
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await stream.prepare(request)
    for event in sent:
        await stream.write(b"event: %s\ndata: %s\n\n" % (event["type"].encode(), orjson.dumps(event)))
    await stream.write_eof()
    return stream


def _position(history: Sequence[Item]) -> tuple[str, int]:
    """What the user said last, and how many answers of the model's have followed it.

    An answer is a run of items that the model made; what lies between two of them are results of tools.
    """
    said, past, inside = "", 0, False
    for item in history:
        kind = item.get("type", "message")
        if kind == "message" and item.get("role") == "user":
            said, past, inside = _text(item.get("content")), 0, False
        elif kind in rules.ANSWERS or kind == "mcp_approval_response":
            inside = False
        elif kind != "message" or item.get("role") == "assistant":
            past += not inside
            inside = True
    return said, past


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _unknown(request: web.Request) -> web.Response:
    name = request.match_info["response_id"]
    return error_answer(404, None, f"Response with id '{name}' not found.", "response_id")
