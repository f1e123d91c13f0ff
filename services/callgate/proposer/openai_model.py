"""The model over its own SDK: one call, one attempt, raw bodies both ways.

The SDK's retries are off, because the worker's are the only ones, and its models are not built: that would take three
times as long as the request itself. A breaker leaves a model alone that has failed again and again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2
import openai
import orjson
from openai import AsyncOpenAI, AsyncStream

from callgate.clock import Clock
from callgate.failures import BadInput, PermanentFailure, TemporaryFailure
from callgate.proposer.asking import KeyRefused, Told
from callgate.proposer.breaker import Breaker
from callgate.settings import LOOPBACK, ModelSettings

_PATH = "/responses"
_HEADERS = {"Content-Type": "application/json"}
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_LONGEST_DELAY = 3600.0
_SHOWN = 300
_PERMANENT = frozenset({400, 404, 405, 410, 411, 412, 413, 414, 415, 422, 431})


class OpenaiModel:
    """One process's connection to a Responses API. Raises `BadInput` when address or key can't be used.

    `ask` raises `TemporaryFailure` (try later), `KeyRefused` or `PermanentFailure` (this request can never be taken),
    and nothing else that the other side could cause. No message holds the key.
    """

    def __init__(self, settings: ModelSettings, clock: Clock) -> None:
        """Connect lazily: nothing is sent before the first call."""
        self._settings = settings
        self._clock = clock
        self._breaker = Breaker(limit=settings.breaker_failures, rest=settings.breaker_seconds)
        self._refused: str | None = None
        host = checked_host(settings)
        self._sdk = AsyncOpenAI(
            api_key=settings.key.reveal(),
            base_url=settings.url,
            timeout=settings.timeout_seconds,
            max_retries=0,
            http_client=httpx2.AsyncClient(trust_env=host not in LOOPBACK, timeout=settings.timeout_seconds),
        )

    async def __aenter__(self) -> Self:
        """Nothing to open."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._sdk.close()

    @property
    def refused(self) -> str | None:
        """See `Model.refused`."""
        return self._refused

    async def look(self, response_id: str) -> bytes:
        """See `Model.look`."""
        return await self._guarded(self._sent("GET", f"{_PATH}/{response_id}"))

    async def cancel(self, response_id: str) -> None:
        """See `Model.cancel`."""
        await self._guarded(self._sent("POST", f"{_PATH}/{response_id}/cancel"))

    def genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether a notice is the provider's: signed with our secret, and at most five minutes old. Never raises."""
        try:
            self._sdk.webhooks.verify_signature(body, dict(headers), secret=self._settings.webhook_secret.reveal())
        except (openai.InvalidWebhookSignatureError, ValueError, TypeError):
            # A header is missing, or it or the body holds what the SDK can't compare: nobody but a forger sends that.
            return False
        return True

    async def ask(self, body: Mapping[str, Any], told: Told | None = None, *, once: str | None = None) -> bytes:
        """See `Model.ask`. With `stream` in the body the events go to `told`, and the last whole response is returned.

        A stream that ends without a last event is no answer.
        """
        raw = orjson.dumps(body)
        if body.get("stream") is True:
            return await self._guarded(self._streamed(raw, told))
        return await self._guarded(self._sent("POST", _PATH, raw, once))

    async def _guarded(self, call: Coroutine[Any, Any, bytes]) -> bytes:
        """The answer to one call, if the breaker lets it through. What became of it counts for the next."""
        now = self._clock.monotonic()
        if (left := self._breaker.wait(now)) > 0:
            call.close()
            raise TemporaryFailure("the model has failed again and again and is left alone for a while", delay=left)
        self._breaker = self._breaker.sent(now)
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                answer = await call
        except Exception as error:  # noqa: BLE001 - what SDK and transport raise is theirs to choose
            failure = _translated(error)
            self._count(failure)
            raise failure from None
        self._breaker = self._breaker.answered()
        self._refused = None
        return answer

    async def _sent(self, method: str, path: str, raw: bytes | None = None, once: str | None = None) -> bytes:
        options: Any = {"headers": _HEADERS if once is None else {**_HEADERS, "Idempotency-Key": once}}
        if method == "GET":
            response = await self._sdk.get(path, cast_to=httpx2.Response, options=options)
        else:
            response = await self._sdk.post(path, cast_to=httpx2.Response, content=raw, options=options)
        content: bytes = response.content
        if "json" not in response.headers.get("content-type", ""):
            raise TemporaryFailure("the model's answer is no JSON: a proxy's page, perhaps")
        return content

    async def _streamed(self, raw: bytes, told: Told | None) -> bytes:
        options: Any = {"headers": _HEADERS}
        stream: AsyncStream[object] = await self._sdk.post(
            _PATH, cast_to=object, content=raw, options=options, stream=True, stream_cls=AsyncStream[object]
        )
        answer: bytes | None = None
        async with stream:
            async for event in stream:
                if not isinstance(event, dict):
                    raise TemporaryFailure("the model's stream holds what is no event")
                if event.get("type") == "error":
                    return orjson.dumps(event)
                if told is not None:
                    await told(event)
                if event.get("type") in _ENDS:
                    answer = orjson.dumps(event.get("response"))
        if answer is None:
            raise TemporaryFailure("the model's stream ended before its answer did")
        return answer

    def _count(self, failure: TemporaryFailure | PermanentFailure) -> None:
        self._refused = failure.reason if isinstance(failure, KeyRefused) else None
        if isinstance(failure, PermanentFailure) or failure.delay is not None:
            self._breaker = self._breaker.answered()
        else:
            self._breaker = self._breaker.failed(self._clock.monotonic())


def checked_host(settings: ModelSettings) -> str:
    """The host that would be asked. Raises `BadInput` for an address or a key that can't be used."""
    key = settings.key.reveal()
    if not key or not (key.isascii() and key.isprintable()):
        raise BadInput("CALLGATE_MODEL_KEY", "can't stand in a header", "Use the key as issued")
    try:
        parts = urlsplit(settings.url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        raise BadInput("CALLGATE_MODEL_URL", "is no http address", "Write it like https://api.openai.com/v1")
    if parts.scheme == "http" and host not in LOOPBACK and host not in settings.plain_hosts:
        way_out = "Use https, or name the host in CALLGATE_MODEL_PLAIN_HOSTS if its network is yours"
        raise BadInput("CALLGATE_MODEL_URL", "is plain http to another host", way_out)
    return host


def _translated(error: Exception) -> TemporaryFailure | PermanentFailure:
    """Our failure for what the SDK raised. The text of a refused key's answer is not repeated."""
    match error:
        case TemporaryFailure() | PermanentFailure():
            return error
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return KeyRefused("the model refuses the credentials: check CALLGATE_MODEL_KEY and its rights")
        case openai.APIStatusError():
            return _of_status(error)
        case openai.APITimeoutError() | TimeoutError():
            return TemporaryFailure("the model did not answer in time")
        case openai.APIConnectionError():
            return TemporaryFailure(f"the model can't be reached: {type(error.__cause__).__name__}")
        case openai.APIError():
            return TemporaryFailure(f"the model's stream failed: {_words(error.code, error.message)}")
        case _:
            return TemporaryFailure(f"the model's answer can't be used: {type(error).__name__}")


def _of_status(error: openai.APIStatusError) -> TemporaryFailure | PermanentFailure:
    """What a status means; the server's own word on whether to try again comes first."""
    status = error.status_code
    words = f"the model answered {status}: {_words(error.code, error.message)}"
    said = error.response.headers.get("x-should-retry")
    # A redirect, a used-up quota or a crowd says nothing against the request: it waits until somebody mends it.
    if said == "false" or (said != "true" and status in _PERMANENT):
        return PermanentFailure(words)
    return TemporaryFailure(words, delay=_delay(error.response.headers))


def _words(code: str | None, message: str) -> str:
    return ": ".join(part for part in (code, message[:_SHOWN]) if part)


def _delay(headers: Mapping[str, str]) -> float | None:
    """What the server asks to wait, which it may not use to stall us for ever; None for what is no number."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds) and seconds > 0:
            return min(seconds, _LONGEST_DELAY)
    return None
