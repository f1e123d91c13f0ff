"""The client for agents: turns in, replies out. It needs only the log; no service is called.

Waiting can stop and go on in another process: everything is found again by the turn key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import orjson

from callgate.client.reading import format_of
from callgate.clock import Clock
from callgate.events import ids, topics
from callgate.events.approvals import ApprovalVoted
from callgate.events.codec import TooLarge, Undecodable, decode, encode
from callgate.events.event import Event
from callgate.events.home import home
from callgate.events.outcomes import OutcomeObserved
from callgate.events.routing import address
from callgate.events.turns import (
    ActionReply,
    ReplyStreamed,
    ResponseFormat,
    TurnCompleted,
    TurnOrigin,
    TurnRecorded,
    TurnSubmitted,
)
from callgate.failures import BadInput
from callgate.log.port import Log, Outgoing, Position, Record

if TYPE_CHECKING:
    from callgate.approvers.signing import SigningKey

Reply = ActionReply | TurnCompleted
"""What an agent hears of its turn: where each call stands, and at last the turn's end."""

_LAST = frozenset({"response_done", "response_failed"})


class Client:
    """What an agent, an approver's program or an observer does with the log.

    What is written is checked first as its reader will check it: `BadInput` names the field, and nothing is written.
    Writing raises `LogUnavailable` where nothing was written, and `CommitUnknown` where that can't be known; writing
    the same turn, vote or outcome again is harmless in both cases.
    """

    def __init__(self, log: Log, clock: Clock, *, source: str = "callgate-client") -> None:
        """`source` stands in the `ce_source` header of what this client writes. The log stays the caller's to close."""
        self._log = log
        self._clock = clock
        self._source = source

    async def record(
        self, origin: TurnOrigin, response: Mapping[str, Any] | bytes, *, format_: ResponseFormat | None = None
    ) -> str:
        """Submit a model's answer; returns the turn key.

        `response` is a Responses object or a Chat Completions message or completion, decoded or as JSON.
        """
        try:
            raw = response if isinstance(response, bytes) else orjson.dumps(dict(response))
        except TypeError as error:
            raise BadInput("response", f"is not JSON ({error})", "Give the answer as its API returned it") from error
        event = TurnRecorded(
            origin=origin,
            format=format_ or format_of(raw),
            response=msgspec.Raw(raw),
            submitted_at=self._clock.now(),
        )
        return await self.submit(event)

    async def ask(
        self,
        origin: TurnOrigin,
        *,
        model: str,
        input_: object,
        options: Mapping[str, Any] | None = None,
        max_tool_rounds: int = 8,
        pending: Literal["wait", "tell"] = "wait",
    ) -> str:
        """Have the model run for a turn: rounds of model and tools until its last word. Returns the turn key.

        `input_` and `options` are those of the Responses API; `options={"stream": True}` gives `stream` something to
        tell. `TurnCompleted.items` is what to append to the input for the next turn. With
        `pending="tell"` the turn doesn't wait for people: where its `TurnCompleted` names a `follow_up`, wait for that.
        """
        try:
            given, further = orjson.dumps(input_), orjson.dumps(dict(options or {}))
        except TypeError as error:
            raise BadInput("input", f"is not JSON ({error})", "Give a text, or a list of items") from error
        if not isinstance(input_, str | list):
            raise BadInput("input", "is neither a text nor a list", "Give what the Responses API takes as `input`")
        if not model:
            raise BadInput("model", "is empty", "Name the model, as its API does")
        event = TurnSubmitted(
            origin=origin,
            model=model,
            input=msgspec.Raw(given),
            options=msgspec.Raw(further),
            max_tool_rounds=max_tool_rounds,
            pending=pending,
            submitted_at=self._clock.now(),
        )
        return await self.submit(event)

    async def stream(self, turn_key: str) -> AsyncGenerator[ReplyStreamed, None]:
        """The steps of a turn that asked for them, from the beginning; ends after the turn's last.

        Best effort: pieces may be missing, and a round that begins anew (`llm_started`) takes back what came of it. Use
        `replies` or `wait` for what must not be missed, and leave this one when the turn has ended there.
        """
        async with aclosing(self._of_turn(topics.STREAM.name, turn_key)) as events:
            async for event in events:
                if isinstance(event, ReplyStreamed):
                    yield event
                    if event.kind in _LAST:
                        return

    async def submit(self, turn: TurnRecorded | TurnSubmitted) -> str:
        """Write a turn; returns its key, under which its replies are found."""
        await self._publish(turn, "turn")
        return self.turn_key(turn.origin)

    def turn_key(self, origin: TurnOrigin) -> str:
        """The key of a turn on this log."""
        where = home(origin.tenant, origin.session, self._log.partitions)
        return ids.turn_key(where, origin.tenant, origin.session, origin.turn)

    async def vote(self, vote: ApprovalVoted, *, key: SigningKey | None = None) -> Position:
        """Cast a vote, signed with `key` if there is one (`approvers.signing.read_key`): then it must be the voter's.

        Whether it counts is decided by the tally and shown in `approvals.resolved`.
        """
        return await self._publish(vote if key is None else key.signed(vote, self._clock.now()), "vote")

    async def observe(self, outcome: OutcomeObserved) -> Position:
        """Report what happened in the world after an action."""
        if not (outcome.action_id or outcome.request_id or outcome.external_ref):
            raise BadInput("outcome", "names no action", "Give action_id, request_id or external_ref")
        return await self._publish(outcome, "outcome")

    async def replies(self, turn_key: str) -> AsyncGenerator[Reply, None]:
        """Every reply of a turn from the beginning, as they come; ends after `TurnCompleted`.

        A reply may come twice. Close the generator (`contextlib.aclosing`) when leaving it early.
        """
        async with aclosing(self._of_turn(topics.REPLIES.name, turn_key)) as events:
            async for event in events:
                if isinstance(event, Reply):
                    yield event
                    if isinstance(event, TurnCompleted):
                        return

    async def wait(self, turn_key: str, timeout: float) -> TurnCompleted | None:  # noqa: ASYNC109 - None is no error
        """The completed turn, or None after `timeout` seconds. None is not a failure: the turn goes on; wait again."""
        try:
            async with asyncio.timeout(timeout), aclosing(self.replies(turn_key)) as replies:
                async for reply in replies:
                    if isinstance(reply, TurnCompleted):
                        return reply
        except TimeoutError:
            return None
        return None

    async def _of_turn(self, topic: str, turn_key: str) -> AsyncGenerator[Event, None]:
        """The events of one turn on a topic, for ever. What can't be read is for operators, not for agents."""
        partition = ids.partition_of(turn_key)
        if partition is None or partition >= self._log.partitions:
            raise BadInput("turn_key", f"{turn_key!r} is no turn of this log", "Use what `submit` returned")
        async with aclosing(_closable(self._log.follow(topic, [partition], {}))) as records:
            async for record in records:
                try:
                    event = decode(record.value, record.headers).event
                except Undecodable:
                    continue
                if isinstance(event, Reply | ReplyStreamed) and event.turn_key == turn_key:
                    yield event

    async def _publish(self, event: Event, what: str) -> Position:
        try:
            value, headers = encode(event, source=self._source, time=self._clock.now())
            decode(value, headers)
            at = address(event, self._log.partitions)
        except TooLarge as error:
            raise BadInput(what, str(error), "Send less in it") from error
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise BadInput(what, f"would not be understood ({error})", "Mend the field that is named") from error
        (position,) = await self._log.publish([Outgoing(at.topic, at.partition, at.key.encode(), value, headers)])
        return position


async def _closable(records: AsyncIterator[Record]) -> AsyncGenerator[Record, None]:
    """The same records; closing this closes an engine's generator too, at once and not when it is collected."""
    try:
        async for record in records:
            yield record
    finally:
        if isinstance(records, AsyncGenerator):
            await records.aclose()
