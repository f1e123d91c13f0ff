"""The endpoints of the Responses API. Requests and answers are kept in memory, for tests to look at."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from callgate.clock import Clock
from callgate.events.ids import fingerprint
from callgate.sandbox.answers import answer
from callgate.sandbox.model import rules
from callgate.sandbox.model.breaks import CUTTING
from callgate.sandbox.model.conversations import Conversations, body_of
from callgate.sandbox.model.items import Item, page, whole
from callgate.sandbox.model.kept import Kept, Responses
from callgate.sandbox.model.notices import Notices
from callgate.sandbox.model.refusals import PREFIX, Invalid, refusing
from callgate.sandbox.model.script import Round, Script
from callgate.sandbox.model.shapes import response_of, usage_of
from callgate.sandbox.model.stream import events
from callgate.sandbox.model.turns import turn

_KEPT = 10_000
_SEEN = 100_000
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
    """A model: the script says what it answers, the rules what it is asked. Stateless but for what is stored."""

    def __init__(self, script: Script, clock: Clock) -> None:
        self._script = script
        self._clock = clock
        self._seen: Counter[str] = Counter()
        self._responses = Responses(lenient=script.lenient)
        self._conversations = Conversations(clock)
        self._notices = Notices(clock)
        self._repeats: dict[str, tuple[str, dict[str, Any]]] = {}
        self.journal: deque[Asked] = deque(maxlen=_KEPT)
        """Requests that were answered, the latest last."""

    def routes(self) -> list[web.RouteDef]:
        """The endpoints, under `/v1`; literals first, since an id could spell one."""
        root = f"{PREFIX}responses"
        served: list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = [
            ("POST", root, self.create),
            ("POST", f"{root}/input_tokens", self.input_tokens),
            ("POST", f"{root}/compact", self.compact),
            ("GET", f"{root}/{_ONE}", self.retrieve),
            ("DELETE", f"{root}/{_ONE}", self.delete),
            ("POST", f"{root}/{_ONE}/cancel", self.cancel),
            ("GET", f"{root}/{_ONE}/input_items", self.input_items),
            ("GET", f"{PREFIX}models", self.models),
        ]
        own = [web.route(method, path, refusing(handler)) for method, path, handler in served]
        return [*own, *self._conversations.routes(), *self._notices.routes()]

    async def aclose(self) -> None:
        """Make nothing any more in the background."""
        await self._notices.aclose()

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Answer as the script says. A repeated idempotency key is answered as before."""
        body = await body_of(request)
        rules.check(body)
        history = self._history(body)
        rules.check_pairs(history)
        made = turn(self._script, body, history)
        background = body.get("background") is True
        if made.delay_seconds and not background:
            await self._clock.sleep(made.delay_seconds)
        response, new = self._answered(request, body, made)
        self.journal.append(Asked(body, response, request.headers.get("x-stainless-retry-count")))
        kept = Kept(history, response, background=background, ready_at=self._clock.now() + made.delay_seconds)
        if not new:
            kept = self._responses.get(response["id"]) or kept
        else:
            self._responses.keep(kept, store=body.get("store") is not False, now=self._clock.now())
            self._conversations.append(body, [*rules.items_of(body), *response["output"]])
        if background and body.get("stream") is not True:
            if new:
                self._notices.begun(kept)
            return answer(kept.now())
        kept.finish()
        return await self._sent(request, response, made, stream=body.get("stream") is True)

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        """A stored response, whole or as a stream from any event on."""
        kept = self._found(request)
        if request.query.get("stream") != "true":
            return answer(kept.look(self._clock.now()))
        after = request.query.get("starting_after", "-1")
        start = int(after) + 1 if after.removeprefix("-").isdigit() else 0
        return await _streamed(request, list(events(kept.finish()))[start:])

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Forget a stored response."""
        name = self._found(request).final["id"]
        self._responses.drop(name)
        return answer({"id": name, "object": "response.deleted", "deleted": True})

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Stop what is made in the background. Once it is at its end that is its end; twice is once."""
        kept = self._found(request)
        if not kept.background:
            raise Invalid("Cannot cancel a synchronous response.", param="response_id")
        if kept.state not in {"done", "cancelled"}:
            kept.state = "cancelled"
            self._notices.cancelled(kept)
        return answer(kept.now())

    async def input_items(self, request: web.Request) -> web.StreamResponse:
        """What a stored response was the answer to, the latest first unless `order=asc`."""
        items = [whole(item, f"item_{number}") for number, item in enumerate(self._found(request).history)]
        return answer(page(items, request.query))

    async def input_tokens(self, request: web.Request) -> web.StreamResponse:
        """How many tokens a request would take."""
        body = await body_of(request)
        found = {**body, "input": [*self._history({"input": [], **body})]}
        return answer({"object": "response.input_tokens", "input_tokens": usage_of(found, [])["input_tokens"]})

    async def compact(self, request: web.Request) -> web.StreamResponse:
        """One item that stands for everything that was said."""
        body = await body_of(request)
        history = self._history({"input": [], **body})
        seed = self._seed(body)
        # The API's own text says that the user's messages stand before it; its SDK's types have no place for them.
        output = [{"id": f"cmp_{fingerprint(seed)}", "type": "compaction", "encrypted_content": fingerprint(seed)}]
        shape = {"id": f"resp_{fingerprint(seed)}", "object": "response.compaction"}
        usage = usage_of({**body, "input": history}, output)
        return answer({**shape, "created_at": int(self._clock.now()), "output": output, "usage": usage})

    async def models(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002 - part of the port
        """The one model's name; any other is taken as well."""
        return answer({"object": "list", "data": [{"id": "sandbox", "object": "model", "created": 0, "owned_by": "-"}]})

    def _history(self, body: Mapping[str, Any]) -> list[Item]:
        """Everything that was said before, and now."""
        before = self._responses.before(body.get("previous_response_id"), self._clock.now())
        return [*before, *self._conversations.history(body), *rules.items_of(body)]

    def _answered(self, request: web.Request, body: Mapping[str, Any], made: Round) -> tuple[dict[str, Any], bool]:
        """The response, and whether it is a new one and not that of a repeated idempotency key."""
        key, asked = request.headers.get("Idempotency-Key"), _asked(body)
        if key is not None and key in self._repeats:
            before, response = self._repeats[key]
            if before != asked:
                message = "This Idempotency-Key was used with another request."
                raise Invalid(message, code="idempotency_key_reused")
            return response, False
        response = response_of(body, made, self._seed(body), int(self._clock.now()))
        if key is not None:
            self._repeats[key] = (asked, response)
            if len(self._repeats) > _KEPT:
                del self._repeats[next(iter(self._repeats))]
        return response, True

    def _found(self, request: web.Request) -> Kept:
        return self._responses.found(request.match_info["response_id"], self._clock.now())

    def _seed(self, body: Mapping[str, Any]) -> str:
        """What the ids of an answer are made of: the request, and how often it was made."""
        asked = _asked(body)
        self._seen[asked] += 1
        if len(self._seen) > _SEEN:
            del self._seen[next(iter(self._seen))]
        return f"{asked}/{self._seen[asked]}"

    async def _sent(
        self, request: web.Request, response: Mapping[str, Any], made: Round, *, stream: bool
    ) -> web.StreamResponse:
        if made.fault == "flat_error":
            return answer(_FLAT)
        if stream:
            return await _streamed(request, list(events(response, made.fault)))
        if made.fault in CUTTING:
            assert request.transport is not None
            request.transport.close()
        return answer(response)


def _asked(body: Mapping[str, Any]) -> str:
    return fingerprint(orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode())


async def _streamed(request: web.Request, sent: Sequence[Mapping[str, Any]]) -> web.StreamResponse:
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await stream.prepare(request)
    for event in sent:
        await stream.write(b"event: %s\ndata: %s\n\n" % (event["type"].encode(), orjson.dumps(event)))
    await stream.write_eof()
    return stream
