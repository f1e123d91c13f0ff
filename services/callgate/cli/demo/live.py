"""What happens in the demo, a line each, as it happens."""

from __future__ import annotations

import asyncio

import click
import orjson

from callgate.cli.demo.script import turns
from callgate.clock import Clock
from callgate.events import topics
from callgate.events.actions import ActionDecided, ActionFinished, ActionInDoubt
from callgate.events.approvals import ApprovalVoted
from callgate.events.codec import Undecodable, decode
from callgate.events.event import Event
from callgate.events.turns import ReplyStreamed
from callgate.log.port import Log

_FOLLOWED = (topics.DECIDED, topics.FINISHED, topics.VOTES, topics.STREAM)

_HOLD_SECONDS = 0.15
"""How long a line waits for earlier ones of other topics: what is read side by side is shown in the order of time."""


class Live:
    """Follows what happens and prints it in order, until closed."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._titles = {turn.session: turn.title for turn in turns()}
        self._lines: list[tuple[float, str]] = []

    async def run(self) -> None:
        """Print until cancelled; what is still held back then is printed at once."""
        try:
            async with asyncio.TaskGroup() as group:
                for topic in _FOLLOWED:
                    group.create_task(self._follow(topic.name))
                while True:
                    await self._clock.sleep(_HOLD_SECONDS)
                    self._print(self._clock.now() - _HOLD_SECONDS)
        finally:
            self._print(float("inf"))

    async def _follow(self, topic: str) -> None:
        async for record in self._log.follow(topic, range(self._log.partitions), {}):
            try:
                envelope = decode(record.value, record.headers)
            except Undecodable:
                continue
            line = _line(envelope.event, self._titles)
            if line is not None:
                self._lines.append((envelope.time, line))

    def _print(self, before: float) -> None:
        self._lines.sort(key=lambda line: line[0])
        while self._lines and self._lines[0][0] <= before:
            click.echo(self._lines.pop(0)[1])


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
        case ReplyStreamed(kind="llm_text_done"):
            return f"+ {'(the model)':16} {'says':13} {titles.get(event.session, '')}: {_text(event)}"
        case ActionInDoubt():
            ref = event.action.ref
            return f"? {ref.tool:16} {'in doubt':13} {titles.get(ref.session, '')} ({event.reason})"
        case _:
            return None


def _text(event: ReplyStreamed) -> str:
    data = orjson.loads(bytes(event.data))
    return str(data.get("text", "")) if isinstance(data, dict) else ""


def _mark(event: ActionFinished) -> str:
    return "+" if event.status == "executed" else "-"
