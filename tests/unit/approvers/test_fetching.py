"""Keys from a real server on this machine: bounded, without redirects, and nothing is believed of what does not fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from unittest.mock import patch

import orjson
import pytest
from aiohttp import web
from tests.support.approval_values import NOW, vote
from tests.support.signing_values import IDENTITIES, LEE, PROVIDER_KEY, at_entrance, document, id_vote, signed_vote

from callgate.approvers import fetching
from callgate.approvers.entrance import open_entrance
from callgate.clock import ManualClock
from callgate.failures import TemporaryFailure
from callgate.settings import ApprovalSettings


class Server:
    """What answers."""

    def __init__(self) -> None:
        self.content = document(LEE)
        self.discovery: dict[str, str] = {}
        self.asked: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """By path."""
        self.asked.append(request.path)
        match request.path:
            case "/keys":
                return web.Response(body=self.content)
            case "/idp/.well-known/openid-configuration":
                return web.json_response(self.discovery)
            case "/moved":
                raise web.HTTPFound("/keys")
            case "/slow":
                await asyncio.sleep(30)
        raise web.HTTPNotFound


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server that has lee's key at /keys."""
    made, application = Server(), web.Application()
    application.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    made.url = f"http://127.0.0.1:{port}"
    yield made
    await runner.cleanup()


async def test_a_vote_is_believed_by_keys_of_an_address(server: Server) -> None:
    """The keys are asked for with the first vote, and once for many."""
    entrance = open_entrance(ApprovalSettings(keys=f"{server.url}/keys"), ManualClock(NOW))
    assert server.asked == []
    verdicts = await asyncio.gather(*(entrance.judge(signed_vote(), at_entrance()) for _ in range(20)))
    assert {verdict.verification for verdict in verdicts} == {"signed"}
    assert server.asked == ["/keys"]


@pytest.mark.parametrize("path", ["/moved", "/none", "/slow"])
async def test_an_answer_that_is_none_lets_votes_wait(server: Server, path: str) -> None:
    """A redirect, an error and silence are no keys; the reason names no more than the host."""
    entrance = open_entrance(ApprovalSettings(keys=f"{server.url}{path}?token=secret"), ManualClock(NOW))
    with patch.object(fetching, "SECONDS_MOST", 0.2), pytest.raises(TemporaryFailure) as failure:
        await entrance.judge(signed_vote(), at_entrance())
    assert "secret" not in failure.value.reason
    assert entrance.unready() == failure.value.reason
    assert "/keys" not in server.asked


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"x" * (fetching.BYTES_MOST + 1)], ids=range(4))
async def test_junk_is_no_keys(server: Server, content: bytes) -> None:
    """What is no JWKS, or is without end, is not believed, and does not end the service."""
    server.content = content
    entrance = open_entrance(ApprovalSettings(keys=f"{server.url}/keys"), ManualClock(NOW))
    with pytest.raises(TemporaryFailure):
        await entrance.judge(signed_vote(), at_entrance())


async def test_an_address_where_nobody_is(server: Server) -> None:
    """A server that is down is a temporary failure, of votes that need its keys and of no others."""
    entrance = open_entrance(ApprovalSettings(keys="http://127.0.0.1:1/keys"), ManualClock(NOW))
    with pytest.raises(TemporaryFailure):
        await entrance.judge(signed_vote(), at_entrance())
    assert (await entrance.judge(vote(), at_entrance())).verification == "refused"


def _oidc(server: Server, **changes: str) -> ApprovalSettings:
    given = {"oidc_issuer": f"{server.url}/idp", "oidc_client": IDENTITIES.client, **changes}
    return ApprovalSettings(**given)  # type: ignore[arg-type]


async def test_id_tokens_are_believed_by_the_keys_that_discovery_names(server: Server) -> None:
    """Issuer, discovery, keys, token and vote fit together; a token of another issuer does not."""
    server.content = orjson.dumps({"keys": [{"kty": "RSA"}, 1, PROVIDER_KEY]})
    server.discovery = {"issuer": f"{server.url}/idp", "jwks_uri": f"{server.url}/keys"}
    entrance = open_entrance(_oidc(server), ManualClock(NOW))
    verdict = await entrance.judge(id_vote(iss=f"{server.url}/idp"), at_entrance())
    assert (verdict.verification, verdict.key) == ("signed", "idp-1")
    assert (await entrance.judge(id_vote(), at_entrance())).refusal == "the id token is of another issuer"
    assert (await entrance.judge(signed_vote(), at_entrance())).refusal == "the signature's key is not known"
    assert entrance.known("idp-1")


async def test_keys_of_a_provider_may_be_named(server: Server) -> None:
    """With an address of its own for the keys no discovery is asked."""
    server.content = orjson.dumps({"keys": [PROVIDER_KEY]})
    entrance = open_entrance(_oidc(server, oidc_keys=f"{server.url}/keys"), ManualClock(NOW))
    assert (await entrance.judge(id_vote(iss=f"{server.url}/idp"), at_entrance())).verification == "signed"
    assert server.asked == ["/keys"]


@pytest.mark.parametrize(
    "discovery",
    [{}, {"issuer": "other", "jwks_uri": "URL/keys"}, {"issuer": "URL/idp", "jwks_uri": "http://keys.example.com/"}],
    ids=str,
)
async def test_discovery_that_does_not_fit_is_not_followed(server: Server, discovery: dict[str, str]) -> None:
    """A document of another issuer, or one that leads to plain http elsewhere, gives no keys."""
    server.discovery = {name: text.replace("URL", server.url) for name, text in discovery.items()}
    entrance = open_entrance(_oidc(server), ManualClock(NOW))
    with pytest.raises(TemporaryFailure):
        await entrance.judge(id_vote(iss=f"{server.url}/idp"), at_entrance())
    assert "/keys" not in server.asked


async def test_a_provider_elsewhere_names_no_keys_on_this_machine() -> None:
    """What a document from the web says can't make us ask the programs that only this machine reaches."""
    found = {"issuer": "https://id.example.com", "jwks_uri": "http://127.0.0.1:9000/admin"}
    with patch.object(fetching, "fetch", return_value=orjson.dumps(found)), pytest.raises(TemporaryFailure):
        await fetching.discover("https://id.example.com")
