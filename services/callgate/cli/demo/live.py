"""What happens in the demo, a line each, as it happens."""

from __future__ import annotations

import asyncio

import click

from callgate.cli.demo.script import turns
from callgate.events import topics
from callgate.events.actions import ActionDecided, ActionFinished, ActionInDoubt
from callgate.events.approvals import ApprovalVoted
from callgate.events.codec import Undecodable, decode
from callgate.events.event import Event
from callgate.log.port import Log

_FOLLOWED = (topics.DECIDED, topics.FINISHED, topics.VOTES)


async def show(log: Log) -> None:
    """Print until cancelled."""
    titles = {turn.session: turn.title for turn in turns()}
    async with asyncio.TaskGroup() as group:
        for topic in _FOLLOWED:
            group.create_task(_follow(log, topic.name, titles))


async def _follow(log: Log, topic: str, titles: dict[str, str]) -> None:
    async for record in log.follow(topic, range(log.partitions), {}):
        try:
            event = decode(record.value, record.headers).event
        except Undecodable:
            continue
        line = _line(event, titles)
        if line is not None:
            click.echo(line)


def _line(event: Event, titles: dict[str, str]) -> str | None:
    match event:
        case ActionDecided() if event.decision.verdict in {"review", "allow"}:
            ref = event.action.ref
            what = "asks a person" if event.decision.verdict == "review" else f"allowed by {event.decision.by}"
            return f"  {ref.tool:16} {what}"
        case ApprovalVoted():
            return f"  {'':16} {event.approver} says {event.answer}"
        case ActionFinished():
            ref = event.action.ref
            note = f" ({event.error})" if event.error and event.status != "executed" else ""
            return f"{_mark(event)} {ref.tool:16} {event.status:13} {titles.get(ref.session, '')}{note}"
        case ActionInDoubt():
            ref = event.action.ref
            return f"? {ref.tool:16} {'in doubt':13} {titles.get(ref.session, '')} ({event.reason})"
        case _:
            return None


def _mark(event: ActionFinished) -> str:
    return "+" if event.status == "executed" else "-"
