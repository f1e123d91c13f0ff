"""Where our transport differs from the SDK's, each difference by name; and what it promises besides."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from bighub import AsyncBighubClient
from bighub.exceptions import (
    BighubAPIError,
    BighubError,
    BighubNetworkError,
    BighubRateLimitError,
    BighubTimeoutError,
)
from tests.support.bighub_transports import SECRET, answer, evaluate, failed, raw_server, says, sdk

from callgate.bighub.transport import AiohttpTransport, AnswerTooLargeError

AGAIN: dict[str, Callable[[AsyncBighubClient], Awaitable[Any]]] = {
    "get": lambda sdk: sdk.kill_switch.status(),
    "delete": lambda sdk: sdk.rules.delete("rule_1"),
    "post": lambda sdk: sdk.actions.evaluate(action="refund"),
    "post with a key": evaluate,
}


@pytest.mark.parametrize(
    ("after", "date", "least", "most"),
    [
        ("Wed, 21 Oct 2026 07:28:10 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 10, 10),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", 0, 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "nonsense", 0, 0),
        ("Wed, 21 Oct 2065 07:28:00 GMT", None, 1e8, 1e10),
    ],
)
async def test_declared_a_retry_after_may_be_a_date(after: str, date: str | None, least: float, most: float) -> None:
    """Unlike the SDK, which loses it: a date is taken by the server's own clock, so that neither's skew counts."""
    headers = {"Retry_After": after} | ({"Date": date} if date else {})
    async with raw_server(says(failed("429 Too Many Requests", **headers))) as server:
        async with sdk("httpx", server.url) as client:
            with pytest.raises(BighubRateLimitError) as lost:
                await evaluate(client)
            assert lost.value.retry_after_seconds is None
        async with sdk("aiohttp", server.url) as client:
            with pytest.raises(BighubRateLimitError) as kept:
                await evaluate(client)
    assert kept.value.retry_after_seconds is not None
    assert least <= kept.value.retry_after_seconds <= most


async def test_declared_exponents_of_floats_are_spelt_otherwise() -> None:
    """The bytes may differ from the SDK's, and must read as the same numbers."""
    seen, payload = [], cast("Any", {"n": [1e16, 1e-7, -1.5e300, 5e-324, 123456.789]})
    for name in ("httpx", "aiohttp"):
        async with raw_server(says(answer(body=b'{"a":1}'))) as server:
            async with sdk(name, server.url) as client:
                await client.actions.evaluate_payload(payload=payload)
            seen.append(json.loads(server.received[0].body))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
async def test_declared_an_answer_is_bounded(packed: bool) -> None:  # noqa: FBT001 - a case
    """Unlike the SDK, which has no bound: a longer answer is refused by name, also where it is small on the wire."""
    body = b" " * 3_000_000
    response = answer(body=gzip.compress(body), Content_Encoding="gzip") if packed else answer(body=body)
    async with raw_server(says(response)) as server, sdk("aiohttp", server.url) as client:
        with pytest.raises(AnswerTooLargeError, match="larger than 1048576 bytes"):
            await evaluate(client)
        server.play = says(answer(body=b'{"a":1}'))
        assert await evaluate(client) == {"a": 1}
        assert server.connections == 2


async def test_declared_the_time_limit_is_for_the_whole_call() -> None:
    """Unlike the SDK, whose limit is per read: an answer that drips, each byte in time, is cut off."""

    async def drip(writer: asyncio.StreamWriter) -> bool:
        writer.write(answer(body=b" " * 100)[:-100])
        for _ in range(100):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)
        return True

    async with raw_server(drip) as server, sdk("aiohttp", server.url, seconds=0.3) as client:
        with pytest.raises(BighubTimeoutError):
            await evaluate(client)


@pytest.mark.parametrize("identifier", ["../kill-switch/status", "a?b=c", "a b", "a#b", "..", ".", "", "a\r\nb", "%2e"])
async def test_declared_an_unsafe_id_goes_nowhere(identifier: str) -> None:
    """Unlike the SDK, which sends it: an id that would make another address of the path is refused."""
    async with raw_server(says(answer(body=b"{}"))) as server, sdk("aiohttp", server.url) as client:
        with pytest.raises(ValueError, match="unsafe"):
            await client.outcomes.timeline(identifier)
        assert server.received == []


@pytest.mark.parametrize(("call", "sent"), [("get", 2), ("delete", 2), ("post", 1), ("post with a key", 1)])
async def test_declared_only_what_changes_nothing_is_sent_again(call: str, sent: int) -> None:
    """What HTTP says may be repeated is sent once more after a lost connection; a post never is."""
    async with raw_server(says(b"", keep=False)) as server, sdk("aiohttp", server.url) as client:
        with pytest.raises(BighubError):
            await AGAIN[call](client)
        assert len(server.received) == sent


async def test_a_kept_connection_that_was_closed_is_not_used() -> None:
    """A server that closes between two calls is connected to anew, and neither call is lost nor sent twice."""
    async with raw_server(says(answer(body=b'{"a":1}'), keep=False)) as server, sdk("aiohttp", server.url) as client:
        for _ in range(3):
            assert await evaluate(client) == {"a": 1}
            await asyncio.sleep(0.02)
        assert (len(server.received), server.connections) == (3, 3)


async def test_connections_are_kept_bounded_and_never_dirty() -> None:
    """No more connections than asked for; a cancelled call's is closed, so its answer can't reach another call."""
    gate, full = asyncio.Event(), asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> bool:
        if len(server.received) == 16:
            full.set()
        await gate.wait()
        return await says(answer(body=b'{"a":1}'))(writer)

    async with raw_server(late) as server, sdk("aiohttp", server.url) as client:
        calls = [asyncio.create_task(evaluate(client)) for _ in range(40)]
        await asyncio.wait_for(full.wait(), 10)
        for call in calls[:10]:
            call.cancel()
        gate.set()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError] * 10 + [dict] * 30
        server.play = says(answer(body=b'{"b":2}'))
        assert await evaluate(client) == {"b": 2}
        assert server.connections <= 26


async def test_cookies_are_not_kept() -> None:
    """What a server, or a proxy in between, asks us to remember is forgotten; the SDK would send it back."""
    async with (
        raw_server(says(answer(body=b'{"a":1}', Set_Cookie="session=stolen; Path=/"))) as server,
        sdk("aiohttp", server.url) as client,
    ):
        await evaluate(client)
        await evaluate(client)
        assert "cookie" not in server.received[1].headers
        assert server.connections == 1


async def test_a_proxy_is_used_with_its_password_and_says_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxy is asked for another host, with its credentials, and no error shows them or the key."""
    monkeypatch.setenv("BIGHUB_ALLOW_INSECURE_HTTP", "1")
    for name in ("NO_PROXY", "no_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with raw_server(says(answer(body=b'{"a":1}'))) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("://", "://user:hush@"))
        async with AiohttpTransport(base_url="http://10.1.2.3:9", api_key=SECRET, timeout=2) as transport:
            assert await transport.request(method="GET", path="/x") == {"a": 1}
            assert proxy.received[0].line == "GET http://10.1.2.3:9/x HTTP/1.1"
            assert proxy.received[0].headers["proxy-authorization"] == "Basic dXNlcjpodXNo"
            proxy.play = says(b"\x00 this is no HTTP\r\n\r\n", keep=False)
            with pytest.raises(BighubError) as caught:
                await transport.request(method="POST", path="/x", json_body={})
    shown = repr(caught.value) + repr(caught.value.__cause__) + str(caught.value.__cause__)
    assert "hush" not in shown
    assert SECRET not in shown
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(ValueError, match="neither http nor https"):
        AiohttpTransport(base_url="http://10.1.2.3:9", api_key=None, timeout=2)


async def test_a_closed_transport_takes_nothing() -> None:
    """After its close a transport refuses to send, opens nothing, and may be closed again."""
    transport = AiohttpTransport(base_url="http://127.0.0.1:9", api_key=None, timeout=2)
    await transport.close()
    await transport.close()
    with pytest.raises(RuntimeError, match="closed"):
        await transport.request(method="GET", path="/x")


async def test_an_exception_is_caught_as_the_sdks_own() -> None:
    """Who catches the SDK's exceptions misses none of ours: each is one of its hierarchy, fields and all."""
    async with raw_server(says(failed("503 Service Unavailable"))) as server, sdk("aiohttp", server.url) as client:
        with pytest.raises(BighubAPIError) as caught:
            await evaluate(client)
    assert (caught.value.status_code, caught.value.code, caught.value.request_id) == (503, "broken", "req_9")
    assert caught.value.detail == {"code": "broken", "message": "no"}


async def test_a_server_must_prove_who_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TLS an unknown certificate is a network error before the key is sent; SSL_CERT_FILE makes it known."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("a certificate needs openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    request = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    request += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, request, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with raw_server(says(answer(body=b'{"a":1}')), tls=context) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        async with sdk("aiohttp", url) as client:
            with pytest.raises(BighubNetworkError) as caught:
                await evaluate(client)
        assert str(caught.value.__cause__) == "ClientConnectorCertificateError"
        assert server.received == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with sdk("aiohttp", url) as client:
            assert [await evaluate(client) for _ in range(2)] == [{"a": 1}] * 2
        assert server.connections == 1
