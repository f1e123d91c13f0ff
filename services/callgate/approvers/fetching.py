"""Documents of keys from the web: bounded in size and time, without redirects, and never over plain http but here."""

from __future__ import annotations

from urllib.parse import urlsplit

import aiohttp
import msgspec

from callgate.failures import BadInput, TemporaryFailure
from callgate.settings import LOOPBACK

SECONDS_MOST = 5.0
"""One document, connect to last byte."""

BYTES_MOST = 1_000_000
"""A larger document is not read to its end."""

_OK = 200


class _Discovery(msgspec.Struct, frozen=True, kw_only=True):
    issuer: str
    jwks_uri: str


def is_address(text: str) -> bool:
    """Whether a setting names an address and no file."""
    return "://" in text


def shown(url: str) -> str:
    """The address without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{parts.path}"


def check_address(field: str, url: str) -> None:
    """Raise BadInput for an address from which keys must not be taken: whoever is on the way could put in their own."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme != "http" or parts.hostname not in LOOPBACK:
        raise BadInput(field, "is no https address", "Name one; plain http only reaches this machine itself")


async def fetch(url: str) -> bytes:
    """The document. Raises TemporaryFailure, whose reason names host and cause and nothing of the content."""
    host = urlsplit(url).hostname
    local = host in LOOPBACK
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS_MOST), trust_env=not local) as session,
            session.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status != _OK:
                raise TemporaryFailure(f"{host} answers {answer.status} instead of keys")
            content = bytearray()
            async for piece in answer.content.iter_chunked(65_536):
                content += piece
                if len(content) > BYTES_MOST:
                    raise TemporaryFailure(f"{host} sends more than {BYTES_MOST} bytes instead of keys")
            return bytes(content)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise TemporaryFailure(f"{host} can't be asked for keys ({type(error).__name__})") from None


async def discover(issuer: str) -> str:
    """Where a provider says that its keys are. Raises TemporaryFailure, also for what it should not say."""
    content = await fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    try:
        found = msgspec.json.decode(content, type=_Discovery)
        check_address("jwks_uri", found.jwks_uri)
    except (msgspec.MsgspecError, ValueError, RecursionError, BadInput):
        raise TemporaryFailure("the identity provider's discovery document can't be used") from None
    if urlsplit(found.jwks_uri).scheme != "https" and urlsplit(issuer).hostname not in LOOPBACK:
        raise TemporaryFailure("the identity provider's discovery document names keys on this machine")
    if found.issuer != issuer:
        raise TemporaryFailure("the identity provider's discovery document names another issuer")
    return found.jwks_uri
