"""Our transport against the SDK's own: the same requests on the wire, the same results, the same exceptions."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from bighub import AsyncBighubClient
from bighub.exceptions import BighubError
from bighub.transport import AsyncTransport, RetryConfig
from tests.support.bighub_transports import TRANSPORTS, answer, evaluate, failed, raw_server, says, sdk

from callgate.bighub.transport import AiohttpTransport

Call = Callable[[AsyncBighubClient], Awaitable[Any]]
DECISION = {"request_id": "req_1", "recommendation": "proceed", "risk_score": 0.25, "text": "é"}
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
TEXT = 'null \x00\x1f\x7f\u2028 \\ " / 😀'
VALUES: Any = {"none": None, "text": TEXT, "deep": [[{}], {"a": []}]}
WITHOUT_NULL: Any = {"text": TEXT.removeprefix("null"), "numbers": [0.1, -0.0, 1 / 3, 2**63], "deep": [[{}], {"a": []}]}
PYTHON: Any = {"large": 2**70, "names": {7: True}}
EVENT: dict[str, Any] = {"event_type": "ACTION_EXECUTED", "external_ref": "order 1"}


async def ended(client: AsyncBighubClient, call: Call) -> object:
    """What became of a call: its result, or its exception's class and everything that it says."""
    try:
        return await call(client)
    except (BighubError, ValueError, TypeError) as error:
        return type(error), str(error), vars(error)


CALLS: dict[str, Call] = {
    "evaluate": lambda sdk: sdk.actions.evaluate(action="é ü", value=1.0, context={"a": None}, metadata={"b": [1]}),
    "submit": lambda sdk: sdk.actions.submit(action="refund", target="p1", domain="d", idempotency_key="k1"),
    "payload": evaluate,
    "any values": lambda sdk: sdk.actions.evaluate_payload(payload=VALUES),
    "values without null": lambda sdk: sdk.actions.evaluate_payload(payload=WITHOUT_NULL),
    "values of Python": lambda sdk: sdk.actions.evaluate_payload(payload=PYTHON),
    "dry run": lambda sdk: sdk.actions.dry_run(payload={"action": "refund"}, idempotency_key="k1"),
    "batch": lambda sdk: sdk.actions.evaluate_batch(actions=[{"action": "a"}, {"action": "b"}], domain="d"),
    "large batch": lambda sdk: sdk.actions.evaluate_batch(actions=[{"action": "x" * 1500} for _ in range(1000)]),
    "decide": lambda sdk: sdk.decisions.evaluate(action="refund", raw=True),
    "verify": lambda sdk: sdk.actions.verify_validation("val_1"),
    "actions status": lambda sdk: sdk.actions.status(),
    "observer": lambda sdk: sdk.actions.observer_stats(),
    "memory": lambda sdk: sdk.actions.ingest_memory(events=[{"tool": "t", "call_id": "c"}], actor="a"),
    "memory context": lambda sdk: sdk.actions.memory_context(domain="a b&c=d/é"),
    "aggregates": lambda sdk: sdk.actions.refresh_memory_aggregates(concurrent=True),
    "recommendations": lambda sdk: sdk.actions.memory_recommendations(include_examples=False),
    "live": lambda sdk: sdk.actions.connect(actor="a"),
    "heartbeat": lambda sdk: sdk.actions.heartbeat(connection_id="c1"),
    "outcome": lambda sdk: sdk.outcomes.report(status="SUCCESS", request_id="r1", details={"n": 1}),
    "outcomes": lambda sdk: sdk.outcomes.report_batch([{"request_id": "r1", "status": "SUCCESS"}]),
    "outcome of": lambda sdk: sdk.outcomes.get("req_1"),
    "timeline": lambda sdk: sdk.outcomes.timeline("req_1"),
    "taxonomy": lambda sdk: sdk.outcomes.taxonomy(),
    "analytics": lambda sdk: sdk.outcomes.analytics(),
    "event": lambda sdk: sdk.ingest.event(**EVENT),
    "events": lambda sdk: sdk.ingest.batch([EVENT, EVENT]),
    "reconcile": lambda sdk: sdk.ingest.reconcile(external_ref="order 1", outcome={"status": "SUCCESS"}),
    "lifecycle": lambda sdk: sdk.ingest.lifecycle(external_ref="order 1+2%20"),
    "approvals": lambda sdk: sdk.approvals.list(status_filter="approved", limit=5),
    "resolve": lambda sdk: sdk.approvals.resolve("req_1", resolution="approved", comment="ok"),
    "kill switch": lambda sdk: sdk.kill_switch.status(),
    "activate": lambda sdk: sdk.kill_switch.activate({"reason": "drill"}),
    "deactivate": lambda sdk: sdk.kill_switch.deactivate("ks_1"),
    "cases": lambda sdk: sdk.cases.list(domain="d"),
    "case": lambda sdk: sdk.cases.report_outcome("case_1", status="SUCCESS"),
    "rules": lambda sdk: sdk.rules.list(),
    "rule": lambda sdk: sdk.rules.delete("rule_1", idempotency_key="k1"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("prefix", ["", "/v1/"])
async def test_the_same_request_is_sent(call: str, prefix: str) -> None:
    """Line, headers and body are the SDK's for every core endpoint, below the base path, and the result is too."""
    seen = []
    for name in TRANSPORTS:
        async with raw_server(says(answer(body=json.dumps(DECISION).encode()))) as server:
            async with sdk(name, server.url + prefix) as client:
                result = await CALLS[call](client)
            (sent,) = server.received
        # What the client libraries themselves say of the connection.
        headers = {header: value for header, value in sent.headers.items() if header not in ("host", "connection")}
        if sent.line.startswith("DELETE"):
            # Declared: both send a delete without a body, and only aiohttp says so in a header.
            assert headers.pop("content-length", "0") == "0"
        seen.append((sent.line, headers, sent.body, result))
    assert seen[0] == seen[1]


ANSWERS: dict[str, bytes] = {
    "object": answer(body=json.dumps(DECISION).encode()),
    "charset": answer(body=b'{"a":1}', kind="application/json; charset=utf-8"),
    "list": answer(body=b"[1,2]"),
    "null": answer(body=b"null"),
    "scalar": answer(body=b"7"),
    "large number": answer(body=b'{"n":123456789012345678901234567890,"x":NaN}'),
    "lone surrogate": answer(body=b'{"t":"\\ud800"}'),
    "not utf-8": answer(body=b'{"t":"\xff"}'),
    "mark": answer(body=b'\xef\xbb\xbf{"a":1}'),
    "empty": answer(),
    "truncated json": answer(body=b'{"request_id": "re'),
    "deep": answer(body=b"[" * 100_000),
    "html": answer(body=b"<html>", kind="text/html"),
    "plain": answer(body=b'{"a":1}', kind="text/plain"),
    "no type": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "problem": answer(body=b'{"a":1}', kind="application/problem+json"),
    "nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "created": answer("201 Created", b'{"a":1}'),
    "gzip": answer(body=gzip.compress(b'{"a":1}'), Content_Encoding="gzip"),
    "broken gzip": answer(body=b"\x1f\x8bnonsense", Content_Encoding="gzip"),
    "chunked": CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
    "unauthorized": failed("401 Unauthorized"),
    "unauthorized, said": answer("401 Unauthorized", b'{"detail":"Invalid API key"}'),
    "unauthorized, html": answer("401 Unauthorized", b"<html>", kind="text/html"),
    "forbidden": failed("403 Forbidden", "scope"),
    "not found": failed("404 Not Found"),
    "by validation": answer("404 Not Found", b'{"validation_id":"val_1","detail":"x"}'),
    "by error": answer("404 Not Found", b'{"error":{"request_id":"req_7"}}'),
    "conflict": failed("409 Conflict"),
    "gone": failed("410 Gone"),
    "invalid": failed("422 Unprocessable Entity", [{"loc": ["body", "action"], "msg": "missing", "type": "missing"}]),
    "invalid, coded": failed("422 Unprocessable Entity"),
    "limited": failed("429 Too Many Requests", Retry_After="7"),
    "limited, fraction": failed("429 Too Many Requests", Retry_After="0.5"),
    "limited, nonsense": failed("429 Too Many Requests", Retry_After="soon"),
    "limited, unsaid": failed("429 Too Many Requests"),
    "broken": failed("500 Internal Server Error"),
    "list error": answer("500 Internal Server Error", b"[1]"),
    "bad gateway": answer("502 Bad Gateway", b"<html>", kind="text/html"),
    "unavailable": failed("503 Service Unavailable", Retry_After="5"),
    "unheard of": failed("599 Whatever This Is"),
    "no reason": failed("500 "),
    "redirect": answer("307 Temporary Redirect", Location="/elsewhere"),
    "cookie": answer(body=b'{"a":1}', Set_Cookie="session=stolen; Path=/"),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_the_same_comes_of_every_answer(case: str) -> None:
    """Result or exception, its class, its text and each of its fields are those of the SDK; nothing is sent twice."""
    seen = []
    for name in TRANSPORTS:
        async with raw_server(says(ANSWERS[case])) as server, sdk(name, server.url) as client:
            seen.append(repr(await ended(client, evaluate)))
            assert len(server.received) == 1
    assert seen[0] == seen[1]


BREAKS: dict[str, bytes] = {
    "closed at once": b"",
    "cut in the head": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "cut in the body": answer(body=b'{"request_id": "req_1"}')[:-5],
    "cut in a chunk": CHUNKED + b"ff\r\n{}",
    "garbage": b"\x00\x01 this is no HTTP\r\n\r\n",
    "endless header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    "wrong length": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
}


@pytest.mark.parametrize("case", BREAKS)
async def test_the_same_comes_of_every_break(case: str) -> None:
    """A connection that breaks, or an answer that is no HTTP, is the SDK's network error, and no post is sent twice."""
    seen = []
    for name in TRANSPORTS:
        async with raw_server(says(BREAKS[case], keep=False)) as server, sdk(name, server.url) as client:
            seen.append(await ended(client, evaluate))
            assert len(server.received) == 1
    assert seen[0] == seen[1]


async def test_a_reset_and_a_refused_connection_are_alike() -> None:
    """A reset in the body, and nobody listening, are the SDK's network errors."""

    async def reset(writer: asyncio.StreamWriter) -> bool:
        writer.write(answer(body=b"x" * 100)[:-50])
        await writer.drain()
        writer.transport.abort()
        return False

    seen = []
    for name in TRANSPORTS:
        async with raw_server(reset) as server, sdk(name, server.url) as client:
            seen.append(await ended(client, evaluate))
        async with sdk(name, server.url) as client:
            seen.append(await ended(client, evaluate))
    assert seen[:2] == seen[2:]


async def test_a_silent_server_is_the_same_time_out() -> None:
    """No answer in time is the SDK's time-out, with its words."""

    async def silent(_: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(30)
        return False

    seen = []
    for name in TRANSPORTS:
        async with raw_server(silent) as server, sdk(name, server.url, seconds=0.2) as client:
            seen.append(await ended(client, evaluate))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "body",
    [
        {"n": float("nan")},
        {"n": [{"m": float("-inf")}], "t": "x"},
        {"n": object()},
        {"n": datetime(2026, 1, 1, tzinfo=UTC)},
        {"t": "\ud800"},
    ],
)
async def test_what_cannot_be_written_is_refused_alike(body: Any) -> None:
    """Not a number, what is no JSON and what is no text raise as the SDK raises, and nothing is sent."""
    seen = []
    for name in TRANSPORTS:
        async with raw_server(says(b"")) as server, sdk(name, server.url) as client:
            ending = await ended(client, lambda sdk: sdk.actions.evaluate_payload(payload=body))
            assert server.received == []
        assert isinstance(ending, tuple)
        seen.append(ending[0])
    assert seen[0] is seen[1]


@pytest.mark.parametrize("allowed", ["", "true"])
@pytest.mark.parametrize(
    "url",
    [
        "https://bighub.example", "https://10.0.0.1/v1", "http://localhost:1", "http://127.0.0.1", "http://127.0.0.2",
        "http://[::1]:8", "http://0.0.0.0", "http://10.0.0.1", "http://192.168.1.1", "http://8.8.8.8", "http://sandbox",
        "http://bighub.local:8", "http://bighub.local.example", "HTTP://LOCALHOST:1", "HTTPS://bighub.example",
    ],
)  # fmt: skip
def test_the_same_addresses_are_refused(url: str, allowed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the SDK sends nothing in the clear, neither do we, with its switch for private addresses and without."""
    monkeypatch.setenv("BIGHUB_ALLOW_INSECURE_HTTP", allowed)
    seen = []
    for build in (
        lambda: AsyncTransport(
            base_url=url, api_key=None, bearer_token=None, timeout=1, retry=RetryConfig(), user_agent="x"
        ),
        lambda: AiohttpTransport(base_url=url, api_key=None, timeout=1),
    ):
        try:
            build()
        except ValueError as error:
            seen.append(str(error))
        else:
            seen.append("taken")
    assert seen[0] == seen[1]
