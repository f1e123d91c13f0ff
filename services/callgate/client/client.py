"""The client for agents: turns in, replies out. It needs only the log; no service is called.

Waiting can stop and go on in another process: everything is found again by the turn key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

import msgspec
import orjson

from callgate.client.answering import Answering, Callback
from callgate.client.asking import Caller, Messages, Named, RunOptions, TurnOptions, check, request_options, seconds_of
from callgate.client.asking import named as naming
from callgate.client.checking import Evaluations, check_tool
from callgate.client.following import Followers, Subscription
from callgate.client.hearing import Step, outcome, steps
from callgate.client.hooks import Hook, no_hook
from callgate.client.reading import Answer, format_of, raw_of
from callgate.client.shapes import Response
from callgate.clock import Clock
from callgate.events import ids, topics
from callgate.events.approvals import ApprovalVoted
from callgate.events.codec import TooLarge, decode, encode
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
from callgate.log.port import CommitUnknown, Log, LogUnavailable, Outgoing, Position
from callgate.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from callgate.approvers.signing import SigningKey

Reply = ActionReply | TurnCompleted
"""What an agent hears of its turn: where each call stands, and at last the turn's end."""

_LAST = frozenset({"response_done", "response_failed"})
_SOMEBODY = Caller()
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts to submit a turn while the log can't be written."""


class Client:
    """What an agent, an approver's program or an observer does with the log.

    What is written is checked first as its reader will check it: `BadInput` names the field, and nothing is written.
    Writing raises `LogUnavailable` where nothing was written, and `CommitUnknown` where that can't be known; writing
    the same turn, vote or outcome again is harmless in both cases. Waiting goes on where it was when the log has been
    away: only its time ends it. It raises `LogUnavailable` where it could not begin.
    """

    def __init__(self, log: Log, clock: Clock, *, source: str = "callgate-client", caller: Caller = _SOMEBODY) -> None:
        """`source` stands in the `ce_source` header of what this client writes; `caller` says whose turns it runs.

        The log stays yours to close. As a context manager the client keeps its readers from one call to the next.
        """
        self._log = log
        self._clock = clock
        self._source = source
        self._caller = caller
        self._followers = Followers(log)

    async def __aenter__(self) -> Self:
        """Itself, keeping its readers."""
        self._followers.keep()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()

    async def aclose(self) -> None:
        """End the client's readers. Turns go on. Idempotent."""
        await self._followers.aclose()

    async def run(self, messages: Messages, model: str, **options: Unpack[RunOptions]) -> Response:
        """Run the model for a turn, its tool calls behind the gate, and wait for the end. See `client.shapes`.

        Where the turn has not ended after `timeout` seconds, say because a person is asked, the response's `status` is
        `waiting`, and `resume` with its `turn_key` waits on, from any process.
        """
        named, turn = self._asked(messages, model, options)
        return await self._outcome(named, turn, options)

    async def run_stream(
        self, messages: Messages, model: str, **options: Unpack[RunOptions]
    ) -> AsyncGenerator[Step, None]:
        """Run the model for a turn, and tell each step. The last is `response_done`, `response_failed` or `waiting`.

        Text is best effort; `execution_event`, `final_response` and what follows it are certain.
        """
        no_hook(options, "take `execution_event` from the stream")
        named, turn = self._asked(messages, model, options, stream=True)
        seconds, key = seconds_of(options), self.turn_key(named.origin)
        async with self._hearing(named) as replies, self._hearing(named, topics.STREAM.name) as stream:
            await self._submit_surely(turn, seconds)
            async with aclosing(steps(replies, stream, key, seconds)) as told:
                async for step in told:
                    yield step

    async def run_with_approval(
        self,
        messages: Messages,
        model: str,
        *,
        on_approval_required: Callback,
        approver: str | None = None,
        callback_timeout: float = 300.0,
        key: SigningKey | None = None,
        **options: Unpack[RunOptions],
    ) -> Response:
        """`run`, where a callback is asked about each call that waits for a person. See `client.answering`.

        Its answer is cast as a vote of `approver`, or of the client's `Caller.approver`, signed with `key` if there is
        one. No answer, an error or `callback_timeout` seconds without one is no vote, and never a yes. `approvals` in
        the response says what became of each question.
        """
        voter = approver or self._caller.approver
        if not voter:
            raise BadInput("approver", "is not given", "Say in whose name the callback answers")
        if key is not None and voter not in key.approvers:
            names = ", ".join(key.approvers)
            raise BadInput("approver", f"the key can't sign for {voter}", f"It signs for {names}")
        cast = partial(self.vote, key=key)
        named, turn = self._asked(messages, model, options)
        answering = Answering(self._followers, cast, on_approval_required, approver=voter, seconds=callback_timeout)
        starts = await self._log.ends(topics.BALLOTS.name) if named.fresh else {}
        try:
            response = await self._outcome(
                named,
                turn,
                {**options, "wait_for_people": True},
                lambda reply: answering.hear(reply, self._log.partitions, starts),
            )
        finally:
            await answering.aclose()
        return {**response, "approvals": [asdict(each) for each in answering.asked]}

    async def resume(self, turn_key: str, timeout: float = 60.0) -> Response:  # noqa: ASYNC109 - it is no error
        """Wait on for a turn that `run` or `record` has left `waiting`, in any process."""
        async with self._followers.subscribed(topics.REPLIES.name, self._partition(turn_key), turn_key) as replies:
            return await outcome(replies, turn_key, timeout)

    async def check_tool(
        self, tool_name: str, arguments: Mapping[str, Any], *, toolbox: Toolbox, bighub: Evaluations | None = None
    ) -> dict[str, Any]:
        """What BIGHUB would say of a call, without the call; asked by `bighub`, else by the environment's settings.

        It permits nothing. See `client.checking`.
        """
        return await check_tool(tool_name, arguments, toolbox=toolbox, bighub=bighub, caller=self._caller)

    @overload
    async def record(
        self, origin: TurnOrigin, response: Answer, /, *, format_: ResponseFormat | None = None
    ) -> str: ...

    @overload
    async def record(
        self, response: Answer, /, *, format_: ResponseFormat | None = None, **options: Unpack[TurnOptions]
    ) -> Response: ...

    async def record(
        self,
        given: TurnOrigin | Answer,
        response: Answer | None = None,
        /,
        *,
        format_: ResponseFormat | None = None,
        **options: Unpack[TurnOptions],
    ) -> str | Response:
        """Hand in a model's answer, so that the calls in it are gated and run.

        With an origin of your own: submits, and returns the turn key. With the answer alone: waits as `run` does; the
        response's `items` are what answers the calls in your next request, after the model's own items.

        The answer is a Responses object or a Chat Completions message or completion, typed, decoded or as JSON.
        """
        if isinstance(given, TurnOrigin):
            if response is None:
                raise BadInput("response", "is missing", "Give the model's answer after the origin")
            return await self.submit(self._recorded(given, response, format_))
        check(options, TurnOptions)
        named = naming(self._caller, options)
        return await self._outcome(named, self._recorded(named.origin, given, format_), options)

    def _recorded(self, origin: TurnOrigin, response: Answer, format_: ResponseFormat | None) -> TurnRecorded:
        raw = raw_of(response)
        return TurnRecorded(
            origin=origin,
            format=format_ or format_of(raw),
            response=msgspec.Raw(raw),
            submitted_at=self._clock.now(),
        )

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
        turn = self._submitted(origin, model, input_, options or {}, max_tool_rounds)
        return await self.submit(msgspec.structs.replace(turn, pending=pending))

    def _submitted(
        self, origin: TurnOrigin, model: str, input_: object, options: Mapping[str, Any], max_tool_rounds: int
    ) -> TurnSubmitted:
        try:
            given, further = orjson.dumps(input_), orjson.dumps(dict(options))
        except TypeError as error:
            raise BadInput("input", f"is not JSON ({error})", "Give a text, or a list of items") from error
        if not isinstance(input_, str | list):
            raise BadInput("input", "is neither a text nor a list", "Give what the Responses API takes as `input`")
        if not model:
            raise BadInput("model", "is empty", "Name the model, as its API does")
        return TurnSubmitted(
            origin=origin,
            model=model,
            input=msgspec.Raw(given),
            options=msgspec.Raw(further),
            max_tool_rounds=max_tool_rounds,
            submitted_at=self._clock.now(),
        )

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

    def _asked(
        self, messages: Messages, model: str, options: RunOptions, *, stream: bool = False
    ) -> tuple[Named, TurnSubmitted]:
        check(options, RunOptions)
        seconds_of(options)
        named = naming(self._caller, options)
        rounds = options.get("max_tool_rounds", 8)
        further = request_options(options, stream=stream)
        input_ = messages if isinstance(messages, str | Mapping) else list(messages)
        return named, self._submitted(named.origin, model, input_, further, rounds)

    async def _outcome(
        self,
        named: Named,
        turn: TurnRecorded | TurnSubmitted,
        options: TurnOptions | RunOptions,
        on_reply: Callable[[ActionReply], None] | None = None,
    ) -> Response:
        """Submit a turn and hear what becomes of it."""
        seconds, people = seconds_of(options), options.get("wait_for_people", True)
        hook = Hook(options)

        def hear(reply: ActionReply) -> None:
            hook.hear(reply)
            if on_reply is not None:
                on_reply(reply)

        async with self._hearing(named) as replies:
            await self._submit_surely(turn, seconds)
            response = await outcome(replies, self.turn_key(named.origin), seconds, hear, people=people)
        # A turn of which nothing has been heard yet can only be named here.
        return {**response, "session": named.origin.session, "turn": named.origin.turn}

    def _hearing(self, named: Named, topic: str = topics.REPLIES.name) -> AbstractAsyncContextManager[Subscription]:
        """What is said of a turn from now on; of one that may have been submitted before, from the beginning."""
        key = self.turn_key(named.origin)
        return self._followers.subscribed(topic, self._partition(key), key, start=None if named.fresh else 0)

    async def _submit_surely(self, turn: TurnRecorded | TurnSubmitted, seconds: float) -> None:
        """Write a turn, again where it is not known to be written: nobody else could do that under the same name."""
        until = self._clock.monotonic() + seconds
        for pause in _PAUSES:
            try:
                await self.submit(turn)
            except (CommitUnknown, LogUnavailable) as failure:
                if self._clock.monotonic() + pause >= until:
                    failure.add_note(f"turn key {self.turn_key(turn.origin)}: it may have been submitted; resume it")
                    raise
                await self._clock.sleep(pause)
            else:
                return
        await self.submit(turn)

    async def _of_turn(self, topic: str, turn_key: str) -> AsyncGenerator[Event, None]:
        """The events of one turn on a topic, for ever."""
        async with (
            self._followers.subscribed(topic, self._partition(turn_key), turn_key) as subscription,
            aclosing(subscription.events()) as events,
        ):
            async for event in events:
                yield event

    def _partition(self, turn_key: str) -> int:
        partition = ids.partition_of(turn_key)
        if partition is None or partition >= self._log.partitions:
            raise BadInput("turn_key", f"{turn_key!r} is no turn of this log", "Use what `submit` returned")
        return partition

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
