"""The BIGHUB SDK's transport over aiohttp: what the SDK sends and raises, at a tenth of what its own costs.

httpx looks at every connection of a pool for every request, so that it slows down as more is in flight. The SDK's
resources take any object that fits `AsyncTransportProtocol`; this one sends the same requests, and the SDK's own parser
reads what comes back, so results and exceptions are the SDK's. What differs is declared in its contract test: the
time limit is for the whole call, answers are bounded, an unsafe path is refused, a Retry-After may be a date, exponents
of floats are spelt otherwise, and nothing is retried here, except a GET, PUT or DELETE whose connection was closed
before it was answered.
"""

from __future__ import annotations

import io
import ipaddress
import json
import os
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from bighub.exceptions import BighubNetworkError, BighubTimeoutError
from bighub.transport import build_headers, parse_response_or_raise
from bighub.version import __version__
from yarl import URL

from callgate.settings import LOOPBACK

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_AS_JSON = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~:@-]+)+")
_ANSWER_BYTES = 16 * 1024 * 1024
# Above this size aiohttp warns of plain bytes, which it writes in one piece.
_BODY_IN_ONE_PIECE = 1024 * 1024


class AnswerTooLargeError(BighubNetworkError):
    """The answer was longer than the transport takes. Nothing of it was believed, and its connection was closed."""


class AiohttpTransport:
    """One process's connections to BIGHUB, as the SDK's asynchronous resources want them.

    Raises `ValueError` at once for an address that the SDK would refuse. Use it on one event loop, and close it.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str | None,
        timeout: float,
        bearer_token: str | None = None,
        connections: int = 100,
        answer_bytes: int = _ANSWER_BYTES,
    ) -> None:
        """Connect lazily. `timeout` is in seconds, from waiting for a connection to the last byte of the answer.

        At most `connections` requests are on their way at once; others wait within their time limit.
        """
        check_address(base_url)
        self._base = str(URL(base_url)).rstrip("/")
        self._proxy = proxy_for(self._base)
        self._timeout = aiohttp.ClientTimeout(total=timeout, ceil_threshold=timeout + 1)
        self._connections = connections
        self._answer_bytes = answer_bytes
        self._headers = build_headers(
            api_key=api_key, bearer_token=bearer_token, user_agent=f"bighub-python/{__version__}"
        ) | {"Accept-Encoding": "gzip, deflate"}
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Close every connection, cutting off what is under way; no request is taken afterwards."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        *,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        json_body: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send once and give what the answer's JSON says, `{}` where it is none.

        Raises the SDK's exceptions; `ValueError` or `TypeError` for what can't be sent. No exception holds headers.
        """
        method = method.upper()
        sent = dict(self._headers, **headers) if headers else self._headers.copy()
        if idempotency_key:
            sent["Idempotency-Key"] = idempotency_key
        data = None if json_body is None else _encoded(json_body, sent)
        url = _joined(self._base, path, params)
        try:
            async with self._opened().request(
                method, url, data=data, headers=sent, allow_redirects=False, proxy=self._proxy
            ) as response:
                content = await self._read(response, f"{method} {path}")
        except TimeoutError:
            raise BighubTimeoutError(f"Request timed out: {method} {path}") from None
        except (aiohttp.ClientError, OSError) as error:
            # aiohttp's exceptions carry the request's headers and the proxy's password, and show them when printed.
            raise BighubNetworkError(f"Network error: {method} {path}") from ConnectionError(type(error).__name__)
        answer: Any = _Answer(response.status, response.reason or "", _understood(response), content)
        return parse_response_or_raise(answer)

    async def _read(self, response: aiohttp.ClientResponse, call: str) -> bytes:
        """The whole body, unpacked. Whatever is too long is not waited for: its connection is of no more use."""
        parts: list[bytes] = []
        size = 0
        while part := await response.content.readany():
            size += len(part)
            if size > self._answer_bytes:
                response.close()
                raise AnswerTooLargeError(f"Answer larger than {self._answer_bytes} bytes: {call}")
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise RuntimeError("the transport is closed")
        if self._session is None:
            context = ssl.create_default_context() if self._base.startswith("https") else False
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, ssl=context),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                skip_auto_headers=("Content-Type",),  # which aiohttp also gives to a post without a body
                # aiohttp would look for proxies and for a .netrc file anew at every request, each in a thread.
                trust_env=False,
            )
        return self._session


@dataclass(frozen=True, slots=True)
class _Answer:
    """The part of `httpx.Response` from which the SDK's parser takes results and exceptions."""

    status_code: int
    reason_phrase: str
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


def check_address(base_url: str) -> None:
    """Raise `ValueError` for an address to which the SDK sends nothing.

    Plain http goes to `localhost` and `127.0.0.1`, and with BIGHUB_ALLOW_INSECURE_HTTP to private addresses and names
    in `.local`. Unlike the SDK, which takes every scheme there, ours is http or https.
    """
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("base_url is no web address")
    if parts.scheme == "https" or host in {"localhost", "127.0.0.1"}:
        return
    allowed = os.environ.get("BIGHUB_ALLOW_INSECURE_HTTP", "").strip().lower() in {"1", "true", "yes", "on"}
    if not (allowed and _private(host)):
        raise ValueError(
            "Insecure base_url is not allowed. Use https:// or set "
            "BIGHUB_ALLOW_INSECURE_HTTP=true only for localhost/private hosts."
        )


def proxy_for(base_url: str) -> str | None:
    """The proxy that the environment names for this address, read once. This machine is reached without one."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    if host in LOOPBACK or proxy_bypass(host):
        return None
    named = getproxies()
    proxy = named.get(parts.scheme) or named.get("all")
    if proxy is None:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in {"http", "https"}:
        raise ValueError("the proxy that the environment names is neither http nor https")
    return proxy


def _private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.endswith(".local")
    return address.is_private or address.is_loopback


def _joined(base: str, path: str, params: Mapping[str, Any] | None) -> URL:
    """The address of a call. The SDK puts ids into paths as they are, so one with a slash or `?` would go elsewhere."""
    path = f"/{path.lstrip('/')}"
    if _PATH.fullmatch(path) is None:
        raise ValueError("the path holds characters that are unsafe in an id")
    query = f"?{urlencode(_pairs(params))}" if params else ""
    return URL(f"{base}{path}{query}", encoded=True)


def _pairs(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Query parameters as httpx writes them."""
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        for each in value if isinstance(value, list | tuple) else (value,):
            match each:
                case None:
                    text = ""
                case bool():
                    text = "true" if each else "false"
                case _:
                    text = str(each)
            pairs.append((name, text))
    return pairs


def _encoded(body: Mapping[str, Any], headers: dict[str, str]) -> bytes | io.BytesIO:
    content = _written(body)
    headers.setdefault("Content-Type", "application/json")
    return content if len(content) <= _BODY_IN_ONE_PIECE else io.BytesIO(content)


def _written(body: Mapping[str, Any]) -> bytes:
    """JSON as the SDK writes it, in a twentieth of the time. Exponents may be spelt otherwise: 1e16 for 1e+16."""
    try:
        content = orjson.dumps(body, option=_AS_JSON)
    except TypeError:
        content = b"null"
    # orjson writes null for NaN, which has to be refused: whether a null is one, the standard encoder must say.
    return _ENCODER.encode(body).encode() if b"null" in content else content


def _understood(response: aiohttp.ClientResponse) -> Mapping[str, str]:
    """The headers that the SDK's parser reads, where a Retry-After that is a date has become seconds."""
    headers = {"content-type": response.headers.get("Content-Type", "")}
    after = response.headers.get("Retry-After")
    if after is not None:
        headers["retry-after"] = _seconds(after, response.headers.get("Date"))
    return headers


def _seconds(after: str, date: str | None) -> str:
    """Retry-After in seconds. A date is taken relative to the server's own clock, where it shows it."""
    try:
        until = parsedate_to_datetime(after).timestamp()
    except ValueError:
        return after
    try:
        now = parsedate_to_datetime(date).timestamp() if date else time.time()
    except ValueError:
        now = time.time()
    return str(max(0.0, until - now))
