"""What short commands have in common at their edges: the log that they look at, and how they are asked for JSON.

A command that only looks never makes a log: a misspelt address would show an empty world instead of an error.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from callgate.failures import BadInput

if TYPE_CHECKING:
    from callgate.clock import Clock
    from callgate.log.port import Log

T = TypeVar("T")

log_option = click.option(
    "--log", "address", help="The log's address; default: CALLGATE_LOG, else sqlite:///callgate.db."
)

json_option = click.option("--json", "json_", is_flag=True, help="JSON for programs.")


def address_of(address: str | None) -> str:
    """The log's address: what was said, else the environment's, else the default. Reads no other setting."""
    return address or os.environ.get("CALLGATE_LOG") or "sqlite:///callgate.db"


@asynccontextmanager
async def opened(address: str | None, clock: Clock, *, make: bool = False) -> AsyncIterator[Log]:
    """The log, closed at the end. Raises BadInput where there is none yet, unless it may be made."""
    from callgate.log.address import file_of, open_log
    from callgate.telemetry import logs

    logs.configure("error")
    where = address_of(address)
    path = file_of(where)
    field = "--log" if address else "CALLGATE_LOG"
    if path == ":memory:":
        raise BadInput(field, f"{where} is in one process's memory, where no other sees it", "Name a file")
    if not make and not Path(path).exists():  # noqa: ASYNC240 - one look before anything else runs
        raise BadInput(field, f"there is no log at {path} yet", "Start the services, or name the log with --log")
    log = await open_log(where, clock=clock)
    try:
        yield log
    finally:
        await log.close()


def on_log(address: str | None, work: Callable[[Log, Clock], Coroutine[Any, Any, T]], *, make: bool = False) -> T:
    """Do some work on the log and close it."""
    from callgate.clock import SystemClock

    async def run() -> T:
        clock = SystemClock()
        async with opened(address, clock, make=make) as log:
            return await work(log, clock)

    return asyncio.run(run())


def pick(what: str, given: str, ids: Callable[[], list[str]] | list[str]) -> str:
    """The one id that `given` is, or is an unambiguous beginning of: of the whole id, or of its short form.

    Raises BadInput where there is none or more than one.
    """
    known = ids() if callable(ids) else ids
    wanted = given.strip()
    if wanted in known:
        return wanted
    found = [each for each in known if wanted and (each.startswith(wanted) or _hash(each).startswith(wanted))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadInput(what, f"none begins with {given!r}", f"`callgate {what}s list` shows them")
    shown = ", ".join(_hash(each)[:12] for each in sorted(found)[:5])
    raise BadInput(what, f"{given!r} is the beginning of {len(found)}", f"Write more of it: {shown}")


def _hash(identifier: str) -> str:
    return identifier.rsplit("_", 1)[-1]
