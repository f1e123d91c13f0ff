"""How every client of the brokers connects: addresses, TLS, SASL. No secret of it is ever logged."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from aiokafka.abc import AbstractTokenProvider

from callgate.failures import BadInput
from callgate.settings import KafkaSettings

T = TypeVar("T")

CLIENT = "callgate"
"""What the brokers' logs and quotas know us by."""

_ADDRESS = "CALLGATE_LOG"


def client_options(bootstrap: str, kafka: KafkaSettings) -> dict[str, Any]:
    """What consumers, producers and admin clients are all made with. Raises BadInput; reads the files that it names."""
    servers = [server.strip() for server in bootstrap.split(",") if server.strip()]
    for server in servers:
        host, _, port = server.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65_536:  # noqa: PLR2004 - the highest port
            raise BadInput(_ADDRESS, f"{server!r} is no host and port", "Use kafka://host:9092,host:9092")
    if not servers:
        raise BadInput(_ADDRESS, "names no broker", "Use kafka://host:9092,host:9092")
    options: dict[str, Any] = {
        "bootstrap_servers": servers,
        "client_id": CLIENT,
        "security_protocol": kafka.security.upper(),
    }
    if kafka.security.endswith("ssl"):
        options["ssl_context"] = _tls(kafka)
    if kafka.security.startswith("sasl"):
        options |= _sasl(kafka)
    return options


def _tls(kafka: KafkaSettings) -> ssl.SSLContext:
    context = _reading("CALLGATE_KAFKA_CA_FILE", lambda: ssl.create_default_context(cafile=kafka.ca_file or None))
    if kafka.cert_file:
        _reading(
            "CALLGATE_KAFKA_CERT_FILE",
            lambda: context.load_cert_chain(
                kafka.cert_file, kafka.key_file or None, lambda: kafka.key_password.reveal().encode()
            ),
        )
    return context


def _reading(field: str, load: Callable[[], T]) -> T:
    try:
        return load()
    except (OSError, ssl.SSLError, ValueError) as error:
        raise BadInput(
            field, f"can't be used ({type(error).__name__})", "Name a readable PEM file, with its key and its password"
        ) from None


def _sasl(kafka: KafkaSettings) -> dict[str, Any]:
    if kafka.mechanism == "OAUTHBEARER":
        provider = TokenFile(kafka.token_file)
        provider.read()
        return {"sasl_mechanism": kafka.mechanism, "sasl_oauth_token_provider": provider}
    if not kafka.user or not kafka.password:
        raise BadInput(
            "CALLGATE_KAFKA_PASSWORD" if kafka.user else "CALLGATE_KAFKA_USER",
            f"is needed for {kafka.mechanism}",
            "Set CALLGATE_KAFKA_USER, and CALLGATE_KAFKA_PASSWORD or CALLGATE_KAFKA_PASSWORD_FILE",
        )
    return {
        "sasl_mechanism": kafka.mechanism,
        "sasl_plain_username": kafka.user,
        "sasl_plain_password": kafka.password.reveal(),
    }


class TokenFile(AbstractTokenProvider):  # type: ignore[misc] # the library is untyped
    """A token that somebody else keeps fresh in a file. Asked for at every connection, and whenever one ends."""

    def __init__(self, path: str) -> None:
        """Nothing is read yet."""
        self._path = path

    def read(self) -> str:
        """The token as the file has it now. Raises BadInput."""
        try:
            token = Path(self._path).read_text(encoding="ascii").strip() if self._path else ""
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(
                "CALLGATE_KAFKA_TOKEN_FILE", f"can't be read ({type(error).__name__})", "Name a readable text file"
            ) from None
        if not token:
            raise BadInput("CALLGATE_KAFKA_TOKEN_FILE", "holds no token", "Name the file that your issuer renews")
        return token

    async def token(self) -> str:
        """The same, off the event loop: heartbeats must not wait for a disk."""
        return await asyncio.get_running_loop().run_in_executor(None, self.read)
