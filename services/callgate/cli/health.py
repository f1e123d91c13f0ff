"""`callgate health`: asks a probe of this machine, for health checks in an image that has no other client."""

from __future__ import annotations

import os
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import click
import orjson

from callgate.failures import BadInput, CallgateError

_SHOWN = 500
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - asked, not bound


class Unwell(CallgateError):  # noqa: N818 - a state, not a mistake
    """What was asked does not answer, or answers that it is not well."""


@click.command()
@click.option("--url", help="What to ask; default: /readyz where CALLGATE_TELEMETRY_HOST and _PORT say.")
@click.option("--live", is_flag=True, help="Ask /livez: whether it should be left to live, ready or not.")
@click.option("--timeout", type=click.FloatRange(0.1, 60), default=3.0, show_default=True, help="Seconds.")
def health(url: str | None, live: bool, timeout: float) -> None:  # noqa: FBT001 - a flag
    """Ask a service whether it is ready. Exits 0 if it is, 1 if it is not or can't be reached."""
    if url is not None and live:
        raise BadInput("--live", "is for the default address", "Write the path into --url")
    click.echo(ask(url or _own("/livez" if live else "/readyz"), timeout))


def ask(url: str, timeout: float) -> str:
    """What it answers. Raises `Unwell` with the reasons that it gives, BadInput where this is no web address."""
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise BadInput("--url", f"{url!r} is no web address", "Write it as http://127.0.0.1:9464/readyz")
    # Never through a proxy: what one answers says nothing of the service.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as answer:
            return _reasons(answer.read(_SHOWN)) or "well"
    except HTTPError as error:
        with error:
            said = _reasons(error.read(_SHOWN))
        raise Unwell(f"{url} answers {error.code}" + (f": {said}" if said else "")) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise Unwell(f"{url} does not answer ({reason})") from error


def _own(path: str) -> str:
    from callgate.environment import load

    names = ("CALLGATE_TELEMETRY_HOST", "CALLGATE_TELEMETRY_PORT")
    telemetry = load({name: os.environ[name] for name in names if name in os.environ}).telemetry
    if not telemetry.port:
        raise BadInput("CALLGATE_TELEMETRY_PORT", "is not set, so there are no probes", "Set it, or give --url")
    host = _EVERYWHERE.get(telemetry.host, telemetry.host)
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{telemetry.port}{path}"


def _reasons(body: bytes) -> str:
    """Why it is not well, in its own words; nothing where it speaks of something else."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    reasons = answer.get("reasons") if isinstance(answer, dict) else None
    return "; ".join(str(each) for each in reasons) if isinstance(reasons, list) else ""
