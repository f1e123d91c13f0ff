"""Saying why the brokers can't be reached: the library only says that they can't."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from callgate.failures import BadInput, CallgateError
from callgate.log.port import LogUnavailable

TRY_SECONDS = 3.0
"""How long one broker is tried, when the reason is looked for."""


async def unreachable(options: Mapping[str, Any], error: Exception) -> CallgateError:
    """What to raise where no broker could be connected to: BadInput where it is our settings, else `LogUnavailable`.

    Nothing that a broker has said is repeated: it may repeat what it was sent.
    """
    reasons: list[str] = []
    for server in options["bootstrap_servers"]:
        try:
            return await _why(server, options)
        except _Elsewhere as reason:
            reasons.append(str(reason))
    return LogUnavailable(f"no broker can be reached: {'; '.join(reasons) or type(error).__name__}")


def unanswered(options: Mapping[str, Any]) -> CallgateError:
    """What to raise where a broker let us connect and then told of no broker at all.

    With OAUTHBEARER it refuses a token in the course of a dialogue, which the library takes for its consent.
    """
    if "sasl_oauth_token_provider" in options:
        return _refused(", ".join(options["bootstrap_servers"]), options)
    return LogUnavailable("the brokers do not know of each other yet")


def _refused(server: str, options: Mapping[str, Any]) -> BadInput:
    if "sasl_oauth_token_provider" in options:
        return BadInput(
            "CALLGATE_KAFKA_TOKEN_FILE", f"{server} does not accept the token in it", "Look whether it is renewed"
        )
    return BadInput(
        "CALLGATE_KAFKA_PASSWORD",
        f"{server} does not accept it together with CALLGATE_KAFKA_USER ({options['sasl_mechanism']})",
        "Look at user, password and mechanism",
    )


class _Elsewhere(Exception):  # noqa: N818 - named for what it means: another server may say more
    pass


async def _why(server: str, options: Mapping[str, Any]) -> CallgateError:
    host, _, port = server.rpartition(":")
    rest = {name: value for name, value in options.items() if name != "bootstrap_servers"}
    security = options["security_protocol"]
    try:
        connection = await create_conn(host.strip("[]"), int(port), request_timeout_ms=int(TRY_SECONDS * 1000), **rest)
    except SaslAuthenticationFailed:
        return _refused(server, options)
    except (UnsupportedSaslMechanismError, IllegalSaslStateError):
        return BadInput(
            "CALLGATE_KAFKA_MECHANISM",
            f"{server} does not speak {options.get('sasl_mechanism')} there",
            "Use a mechanism that this listener has, or another listener's port",
        )
    except ssl.SSLCertVerificationError as bad:
        return BadInput(
            "CALLGATE_KAFKA_CA_FILE",
            f"the certificate of {server} is not to be trusted ({bad.verify_message})",
            "Name the file of the authority that has signed it, and the host as the certificate does",
        )
    except ssl.SSLError:
        return BadInput(
            "CALLGATE_KAFKA_SECURITY",
            f"{server} does not speak TLS there, or wants a certificate of ours",
            "Use plaintext or sasl_plaintext, another port, or set CALLGATE_KAFKA_CERT_FILE",
        )
    except (KafkaError, OSError, TimeoutError, asyncio.IncompleteReadError) as failed:
        hint = ""
        if isinstance(failed, KafkaError | ConnectionResetError):
            hint = f": it closed the connection; does it expect CALLGATE_KAFKA_SECURITY={security.lower()}?"
        raise _Elsewhere(f"{server} ({_short(failed)}){hint}") from None
    connection.close()
    raise _Elsewhere(f"{server} (it answers now, and then did not)")


def _short(failed: BaseException) -> str:
    if isinstance(failed, TimeoutError):
        return f"no answer within {TRY_SECONDS:.0f} s"
    return getattr(failed, "strerror", None) or type(failed).__name__
