"""`callgate approvers`: the keys of those who answer. Private keys are written to a file, and shown to nobody."""

from __future__ import annotations

import os
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from callgate.cli.opening import json_option
from callgate.cli.printing import as_json, table
from callgate.cli.wording import moment, visible
from callgate.failures import BadInput

if TYPE_CHECKING:
    from callgate.approvers.keys import ApproverKey

_OURS = 0o600

# No click.Path: it would take a slash out of an address, which could not be told from a file then.
_keys = click.option("--keys", help="The JWKS; default: CALLGATE_APPROVAL_KEYS.")


@click.group()
def approvers() -> None:
    """Make, list and revoke the keys of those who answer."""


@approvers.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the private key is to be; new.")
@_keys
@click.option("--issuer", default="callgate", show_default=True, help="Who signs with it: a person, or a program.")
@click.option("--audience", help="Which installation it votes in; default: CALLGATE_APPROVAL_AUDIENCE, else callgate.")
@json_option
def keygen(
    names: tuple[str, ...],
    out: Path,
    keys: str | None,
    issuer: str,
    audience: str | None,
    json_: bool,  # noqa: FBT001 - a flag
) -> None:
    """Make a key for NAME, who votes with it. Its public half goes into the JWKS, which is made if it is not there.

    Several NAMEs are for a program that has looked itself who they are: it can then vote for each of them.
    """
    from callgate.approvers.keys import added
    from callgate.approvers.signing import AUDIENCE, make_key

    path = _path(keys)
    key = make_key(names, issuer=issuer, audience=audience or os.environ.get("CALLGATE_APPROVAL_AUDIENCE") or AUDIENCE)
    before = _read(path) if path.exists() else None
    document = added(before, key.public_jwk(), str(path))
    _write_private(out, orjson.dumps(key.private_jwk(), option=orjson.OPT_INDENT_2) + b"\n")
    _replace(path, document)
    if json_:
        as_json({"kid": key.kid, "approvers": list(names), "out": str(out), "keys": str(path)})
        return
    click.echo(visible(f"key {key.kid} of {', '.join(names)}: private in {out}, public in {path}"))
    click.echo(f"vote with `callgate approvals approve ID --key {out}`, or set CALLGATE_APPROVER_KEY_FILE")


@approvers.command("list")
@_keys
@json_option
def list_(keys: str | None, json_: bool) -> None:  # noqa: FBT001 - a flag
    """Every key that can sign, or could."""
    from callgate.approvers.keys import parse_keys

    path = _path(keys)
    found = parse_keys(_read(path), str(path))
    if json_:
        as_json([_shown(key) for key in found.values()])
        return
    rows = [
        (
            key.kid,
            ", ".join(key.approvers),
            key.issuer,
            "good" if key.revoked_at is None else f"revoked {moment(key.revoked_at)}",
        )
        for key in found.values()
    ]
    table(("kid", "approvers", "issuer", "standing"), rows, empty="There is no key yet.")


@approvers.command()
@click.argument("kid", metavar="KID")
@_keys
@click.option("--at", help="Since when it is not to count, like 2026-11-21T12:00:00+00:00; default: now.")
@json_option
def revoke(kid: str, keys: str | None, at: str | None, json_: bool) -> None:  # noqa: FBT001 - a flag
    """Refuse whatever KID signs from now on. What was counted before stays counted."""
    from callgate.approvers.keys import parse_keys, revoked

    path = _path(keys)
    document = revoked(_read(path), kid, _at(at), str(path))
    _replace(path, document)
    key = parse_keys(document, str(path))[kid]
    if json_:
        as_json(_shown(key))
        return
    assert key.revoked_at is not None
    click.echo(visible(f"{kid} of {', '.join(key.approvers)} is revoked since {moment(key.revoked_at)}"))


def _shown(key: ApproverKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "approvers": list(key.approvers),
        "issuer": key.issuer,
        "revoked_at": key.revoked_at,
    }


def _path(keys: str | None) -> Path:
    from callgate.approvers.fetching import is_address

    named = keys if keys is not None else os.environ.get("CALLGATE_APPROVAL_KEYS")
    if not named:
        raise BadInput(
            "--keys",
            "is missing, and CALLGATE_APPROVAL_KEYS is not set",
            "Name the approvers' JWKS, like --keys approvers.jwks",
        )
    if is_address(named):
        raise BadInput("--keys", "is an address", "Name the file from which it is served")
    return Path(named)


def _read(path: Path) -> bytes:
    from callgate.approvers.file import read

    return read(path)


def _at(text: str | None) -> float:
    if text is None:
        return time.time()
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput("--at", f"{text!r} is no moment", "Write it like 2026-11-21T12:00:00+00:00") from error
    if at.tzinfo is None:
        raise BadInput("--at", "names no time zone", "Write it like 2026-11-21T12:00:00+00:00")
    return at.timestamp()


def _write_private(path: Path, content: bytes) -> None:
    """A new file that only its owner can read. Never another's in its place: the key in it would be lost."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OURS)
    except FileExistsError:
        raise BadInput("--out", f"{path} is there already", "Name a new file; no key is overwritten") from None
    except OSError as error:
        raise BadInput("--out", f"{path} can't be written ({type(error).__name__})", "Name another") from error
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, content: bytes) -> None:
    """Another document in the place of the one there, at once: a service that reads it never sees half of it."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    try:
        handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(mode)
        Path(beside).replace(path)
    except OSError as error:
        raise BadInput("--keys", f"{path} can't be written ({type(error).__name__})", "Name another") from error
