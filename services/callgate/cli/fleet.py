"""Who lives on the log: the workers that have lately said so."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from callgate.events import topics
from callgate.events.control import WorkerReported
from callgate.failures import CallgateError

if TYPE_CHECKING:
    from callgate.clock import Clock
    from callgate.log.port import Log

_SILENT_SECONDS = 15.0
"""A worker not heard of for so long is gone: three of its reports are missing."""


async def living(log: Log, now: float) -> list[WorkerReported]:
    """The last report of every worker that lives."""
    from callgate.cli.reading import read

    last: dict[tuple[str, str], WorkerReported] = {}
    for step in await read(log, (topics.FLEET,)):
        if isinstance(step.event, WorkerReported):
            last[step.event.service, step.event.member] = step.event
    found = [each for each in last.values() if now - each.reported_at < _SILENT_SECONDS]
    return sorted(found, key=lambda each: (each.service, each.member))


async def tell_if_nobody_proposes(log: Log, clock: Clock) -> None:
    """Say on standard error that a turn will lie there: nothing runs, or not on this log."""
    with suppress(CallgateError):  # who may write turns need not be allowed to read who lives
        if not any(each.service == "proposer" for each in await living(log, clock.now())):
            click.echo("No proposer is heard of on this log: the turn waits until one runs.", err=True)
