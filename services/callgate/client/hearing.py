"""From a turn's replies to what its caller is given: the whole, or step by step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import orjson

from callgate.client import shapes
from callgate.client.following import Subscription
from callgate.events.event import Event
from callgate.events.turns import ActionReply, ReplyStreamed, TurnCompleted

STRAGGLERS_SECONDS = 1.0
"""How long the last pieces of a stream are waited for when the turn has ended; it is best effort."""

_SAID_BY_REPLIES = frozenset({"final_response", "response_done", "response_failed"})
_LAST = frozenset({"response_done", "response_failed"})
_FAILED = frozenset({"failed", "refused"})

Step = dict[str, Any]
"""One step of a streamed run: `type`, and what belongs to it."""


async def outcome(
    replies: Subscription,
    turn_key: str,
    seconds: float,
    on_reply: Callable[[ActionReply], None] | None = None,
    *,
    people: bool = True,
) -> shapes.Response:
    """The turn's response; where it has not ended after `seconds`, how far it has come. Time is no failure.

    Without `people`, also how far it has come when a call waits for a person.
    """
    heard: list[ActionReply] = []
    try:
        async with asyncio.timeout(seconds), aclosing(replies.events()) as events:
            async for event in events:
                if isinstance(event, TurnCompleted):
                    return shapes.ended(event)
                if isinstance(event, ActionReply):
                    heard.append(event)
                    if on_reply is not None:
                        on_reply(event)
                    if not people and event.status == "approval_required":
                        break
    except TimeoutError:
        pass
    return shapes.waiting(turn_key, heard)


async def steps(
    replies: Subscription, stream: Subscription, turn_key: str, seconds: float
) -> AsyncGenerator[Step, None]:
    """A turn step by step. What must not be missed comes from the replies; the stream is best effort.

    Ends with `final_response` and `response_done` or `response_failed`; or with `waiting`, after `seconds`.
    """
    told = _Told()
    now = asyncio.get_running_loop().time
    until = now() + seconds
    async with _merged(replies, stream) as events:
        while not told.over:
            try:
                # No time-out around a `yield`: it would strike the caller, in whatever it does between two steps.
                # What has been heard already is told, however long the caller took.
                event = await asyncio.wait_for(events.get(), until - now()) if events.empty() else events.get_nowait()
            except TimeoutError:
                break
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, TurnCompleted) and told.completed is None:
                until = now() + STRAGGLERS_SECONDS
            step = told.hear(event)
            if step is not None:
                yield step
    for step in _end(turn_key, told):
        yield step


class _Told:
    """What has been heard of a turn so far."""

    def __init__(self) -> None:
        self.replies: list[ActionReply] = []
        self.completed: TurnCompleted | None = None
        self._streamed = False
        self._calls: set[tuple[str, str]] = set()
        self._ended: set[str] = set()

    @property
    def over(self) -> bool:
        """Whether the turn and its stream have both ended."""
        return self.completed is not None and self._streamed

    def hear(self, event: Event) -> Step | None:
        """The step that an event is; None for what was told before, or is told at the end."""
        if isinstance(event, TurnCompleted):
            self.completed = event
        elif isinstance(event, ActionReply):
            self.replies.append(event)
            return self._standing(shapes.call_event(event))
        elif isinstance(event, ReplyStreamed):
            self._streamed = self._streamed or event.kind in _LAST
            if event.kind == "execution_event":
                # In its place between the texts; the replies tell it in any case, if need be later.
                return self._standing(orjson.loads(bytes(event.data)))
            if event.kind not in _SAID_BY_REPLIES:
                return _step(event)
        return None

    def _standing(self, call: dict[str, Any]) -> Step | None:
        """Where a call stands, unless that was told, or its end was."""
        name, status = str(call.get("action_id") or call.get("call_id")), str(call.get("status"))
        if (name, status) in self._calls or name in self._ended:
            return None
        self._calls.add((name, status))
        if status not in shapes.WAITS:
            self._ended.add(name)
        return {"type": "execution_event", "event": call}


def _step(event: ReplyStreamed) -> Step:
    return {
        **orjson.loads(bytes(event.data)),
        "type": event.kind,
        "round": event.round,
        "sequence": event.sequence,
    }


def _end(turn_key: str, told: _Told) -> list[Step]:
    completed = told.completed
    if completed is None:
        return [{"type": "waiting", "response": shapes.waiting(turn_key, told.replies)}]
    last: Step = {"type": "response_done"}
    if completed.status in _FAILED:
        last = {"type": "response_failed", "error": completed.reason or completed.status}
    return [{"type": "final_response", "response": shapes.ended(completed)}, last]


@asynccontextmanager
async def _merged(*subscriptions: Subscription) -> AsyncIterator[asyncio.Queue[Event | BaseException]]:
    """The events of several subscriptions in one queue, in the order in which they are heard."""
    queue: asyncio.Queue[Event | BaseException] = asyncio.Queue()

    async def pump(subscription: Subscription) -> None:
        try:
            async with aclosing(subscription.events()) as events:
                async for event in events:
                    queue.put_nowait(event)
        except Exception as failure:  # noqa: BLE001 - the reader of the queue raises it
            queue.put_nowait(failure)

    async with AsyncExitStack() as stack:
        for subscription in subscriptions:
            task = asyncio.create_task(pump(subscription))
            stack.push_async_callback(_cancelled, task)
        yield queue


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))
