"""The client for agents: turns in, replies out. It needs only the log; no service is called.

Waiting can stop and go on in another process: everything is found again by the turn key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import orjson

from callgate.clock import Clock
from callgate.events import ids, topics
from callgate.events.approvals import ApprovalVoted
from callgate.events.codec import Undecodable, decode, encode
from callgate.events.event import Event
from callgate.events.home import home
from callgate.events.outcomes import OutcomeObserved
from callgate.events.routing import address
from callgate.events.turns import ActionReply, ResponseFormat, TurnCompleted, TurnOrigin, TurnRecorded
from callgate.failures import BadInput
from callgate.log.port import Log, Outgoing, Position


class Client:
    """What an agent, an approver's program or an observer does with the log."""

    def __init__(self, log: Log, clock: Clock, *, source: str = "callgate-client") -> None:
        """`source` stands in the `ce_source` header of what this client writes. The log stays the caller's to close."""
        self._log = log
        self._clock = clock
        self._source = source

    async def record(
        self, origin: TurnOrigin, response: Mapping[str, Any] | bytes, *, format_: ResponseFormat | None = None
    ) -> str:
        """Submit a model's answer; returns the turn key. Submitting the same turn again is harmless.

        `response` is a Responses object or a Chat Completions message or completion, decoded or as JSON. Raises
        BadInput where it is neither, `LogUnavailable` where nothing was written.
        """
        raw = response if isinstance(response, bytes) else orjson.dumps(dict(response))
        event = TurnRecorded(
            origin=origin,
            format=format_ or format_of(raw),
            response=msgspec.Raw(raw),
            submitted_at=self._clock.now(),
        )
        return await self.submit(event)

    async def submit(self, turn: TurnRecorded) -> str:
        """Write a turn; returns its key, under which its replies are found."""
        await self._publish(turn)
        return self.turn_key(turn.origin)

    def turn_key(self, origin: TurnOrigin) -> str:
        """The key of a turn on this log."""
        where = home(origin.tenant, origin.session, self._log.partitions)
        return ids.turn_key(where, origin.tenant, origin.session, origin.turn)

    async def vote(self, vote: ApprovalVoted) -> Position:
        """Cast a vote. Whether it counts is decided by the tally and shown in `approvals.resolved`."""
        return await self._publish(vote)

    async def observe(self, outcome: OutcomeObserved) -> Position:
        """Report what happened in the world after an action."""
        if outcome.action_id is None and outcome.request_id is None and outcome.external_ref is None:
            raise BadInput("outcome", "names no action", "Give action_id, request_id or external_ref")
        return await self._publish(outcome)

    async def replies(self, turn_key: str) -> AsyncIterator[ActionReply | TurnCompleted]:
        """Every reply of a turn from the beginning, as they come; ends after `TurnCompleted`."""
        partition = ids.partition_of(turn_key)
        if partition is None or partition >= self._log.partitions:
            raise BadInput("turn_key", f"{turn_key!r} is no turn of this log", "Use what `submit` returned")
        async for record in self._log.follow(topics.REPLIES.name, [partition], {}):
            try:
                event = decode(record.value, record.headers).event
            except Undecodable:
                continue
            if isinstance(event, ActionReply | TurnCompleted) and event.turn_key == turn_key:
                yield event
                if isinstance(event, TurnCompleted):
                    return

    async def wait(self, turn_key: str, timeout: float) -> TurnCompleted | None:  # noqa: ASYNC109 - part of the API
        """The completed turn, or None after `timeout` seconds. None is not a failure: the turn goes on; wait again."""
        try:
            async with asyncio.timeout(timeout):
                async for reply in self.replies(turn_key):
                    if isinstance(reply, TurnCompleted):
                        return reply
        except TimeoutError:
            return None
        return None

    async def _publish(self, event: Event) -> Position:
        at = address(event, self._log.partitions)
        value, headers = encode(event, source=self._source, time=self._clock.now())
        (position,) = await self._log.publish([Outgoing(at.topic, at.partition, at.key.encode(), value, headers)])
        return position


def format_of(response: bytes) -> ResponseFormat:
    """Which of the two shapes a model's answer has. Raises BadInput."""
    try:
        value = orjson.loads(response)
    except orjson.JSONDecodeError as error:
        raise BadInput("response", "is not JSON", "Give the model's answer as its API returned it") from error
    if isinstance(value, dict):
        if isinstance(value.get("output"), list):
            return "responses"
        if "choices" in value or value.get("role") == "assistant":
            return "chat_completions"
    raise BadInput(
        "response",
        "is neither a Responses object (with `output`) nor an assistant message or chat completion",
        "Give the model's answer as its API returned it",
    )
