"""`callgate approvals watch`: questions, votes and results as they come, a line each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from callgate.cli.needing import commands
from callgate.cli.opening import json_option, log_option, on_log
from callgate.cli.printing import as_json
from callgate.cli.views import masked_fault
from callgate.cli.wording import compact, duration, visible
from callgate.events import ids, topics
from callgate.events.approvals import (
    ApprovalEscalated,
    ApprovalReminded,
    ApprovalRequested,
    ApprovalResolved,
    BallotCast,
)
from callgate.events.codec import Undecodable, decode
from callgate.events.event import Event

if TYPE_CHECKING:
    from callgate.clock import Clock
    from callgate.log.port import Log, LogUnavailable


@click.command()
@log_option
@json_option
@click.option("--tenant", help="Only this tenant's questions; votes name no tenant and are left out then.")
def watch(address: str | None, json_: bool, tenant: str | None) -> None:  # noqa: FBT001 - a flag
    """Follow what is asked and answered from now on, until Ctrl-C; also where the log was away meanwhile."""

    async def work(log: Log, clock: Clock) -> None:
        def said(event: Event) -> None:
            line = line_of(event, clock.now())
            if line is not None and json_:
                as_json({"event": event.TYPE, "said": line})
            elif line is not None:
                click.echo(visible(line))

        click.echo("What is open already: `callgate approvals list`. New words come here; Ctrl-C ends.", err=True)

        await follow_people(log, tenant, said)

    with suppress(KeyboardInterrupt):
        on_log(address, work)


async def follow_people(log: Log, tenant: str | None, said: Callable[[Event], None]) -> None:
    """Say what is asked and answered from now on, each event once, until cancelled."""
    from callgate.client.following import outlasting

    seen: set[str] = set()
    partitions = range(log.partitions)

    async def follow(topic: str) -> None:
        ends = await log.ends(topic)
        async for record in outlasting(lambda starts: log.follow(topic, partitions, starts), topic, ends, _tell):
            try:
                event = decode(record.value, record.headers).event
            except Undecodable:
                continue
            if event.identity() not in seen and _wanted(event, tenant):
                seen.add(event.identity())
                said(event)

    async with asyncio.TaskGroup() as group:
        for topic in (topics.BALLOTS, topics.RESOLVED):
            group.create_task(follow(topic.name))


def _tell(topic: str, failure: LogUnavailable) -> None:
    click.echo(visible(f"callgate: {topic}: {failure}; nothing is missed, this goes on once it is back"), err=True)


def line_of(event: Event, now: float) -> str | None:
    """What happened, in words; None for what is nobody's business here."""
    match event:
        case ApprovalRequested(action=action):
            about = f"{action.ref.tool}{f' on {action.target}' if action.target else ''}"
            asks = f"is asked for by {event.action.requester or event.action.ref.agent}"
            if event.doubt is not None:
                asks = f"is in doubt ({event.doubt.reason})"
            answers = "; ".join(commands(event)[:2])
            left = duration(event.deadline - now)
            given = compact(masked_fault(action), 200)
            return f"{_name(event.approval_id)}  {about} {asks}: {given}, {left} left; {answers}"
        case BallotCast(vote=vote):
            why = f", which does not count: {event.refusal}" if event.refusal else ""
            return f"{_name(event.approval_id)}  {vote.approver} says {vote.answer}{why}"
        case ApprovalResolved():
            people = f" by {', '.join(event.approvers)}" if event.approvers else ""
            return f"{_name(event.approval_id)}  is {event.resolution}{people}"
        case ApprovalReminded():
            return f"{_name(event.approval_id)}  still waits, {duration(event.deadline - now)} left"
        case ApprovalEscalated():
            return f"{_name(event.approval_id)}  may now be answered by {', '.join(event.eligible)} too"
        case _:
            return None


def _wanted(event: Event, tenant: str | None) -> bool:
    if tenant is None:
        return True
    match event:
        case ApprovalRequested(action=action):
            return action.ref.tenant == tenant
        case ApprovalResolved(action=ref) | ApprovalReminded(action=ref) | ApprovalEscalated(action=ref):
            return ref.tenant == tenant
        case _:
            return False


def _name(approval_id: str) -> str:
    return ids.short(approval_id)
