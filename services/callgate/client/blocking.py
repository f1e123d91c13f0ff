"""The client for programs that are not asynchronous: the same calls, each of which returns when it is done.

Its log and its readers live on an event loop in a thread of its own, so that they go on between two calls.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from callgate.client.answering import Callback
from callgate.client.asking import ApprovalOptions, Caller, Messages, RunOptions, TurnOptions
from callgate.client.checking import Evaluations
from callgate.client.client import Client
from callgate.client.hearing import Step
from callgate.client.opening import connected
from callgate.client.reading import Answer
from callgate.client.shapes import Response
from callgate.events.approvals import ApprovalVoted
from callgate.events.outcomes import OutcomeObserved
from callgate.failures import BadInput
from callgate.log.port import Position
from callgate.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from callgate.approvers.signing import SigningKey

T = TypeVar("T")


class SyncClient:
    """`Client` without `async`. Each method means what the one of that name means there, and raises the same.

    Made at a log's address; close it, or use it as a context manager. Its methods may be called from several threads.
    """

    def __init__(self, address: str | None = None, *, caller: Caller | None = None) -> None:
        """Open the log at `address`, else at CALLGATE_LOG. Raises BadInput, `LogUnavailable`."""
        _refuse_in_loop("SyncClient", "`callgate.client.opening.connected`")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="callgate-client", daemon=True)
        self._thread.start()
        self._open = AsyncExitStack()
        self._closed = False
        try:
            self._client = self._wait(self._open.enter_async_context(connected(address, caller)))
        except BaseException:
            self._end_loop()
            raise

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the log and end the thread. Turns go on. Idempotent."""
        if self._closed:
            return
        _refuse_in_loop("SyncClient.close", "`await Client.aclose()`")
        self._closed = True
        try:
            asyncio.run_coroutine_threadsafe(self._open.aclose(), self._loop).result()
        finally:
            self._end_loop()

    def run(self, messages: Messages, model: str, **options: Unpack[RunOptions]) -> Response:
        """See `Client.run`."""
        return self._call("run", lambda client: client.run(messages, model, **options))

    def run_stream(self, messages: Messages, model: str, **options: Unpack[RunOptions]) -> Iterator[Step]:
        """See `Client.run_stream`. Leaving it early ends the listening, not the turn."""
        self._check("run_stream")
        steps = self._client.run_stream(messages, model, **options)
        try:
            while (step := self._call("run_stream", lambda _: _next(steps))) is not None:
                yield step
        finally:
            if not self._closed:
                self._call("run_stream", lambda _: steps.aclose())

    def run_with_approval(
        self, messages: Messages, model: str, *, on_approval_required: Callback, **options: Unpack[ApprovalOptions]
    ) -> Response:
        """See `Client.run_with_approval`. The callback is called in another thread."""
        return self._call(
            "run_with_approval",
            lambda client: client.run_with_approval(
                messages, model, on_approval_required=on_approval_required, **options
            ),
        )

    def record(self, response: Answer, **options: Unpack[TurnOptions]) -> Response:
        """See `Client.record`, with the answer alone."""
        return self._call("record", lambda client: client.record(response, **options))

    def resume(self, turn_key: str, timeout: float = 60.0) -> Response:
        """See `Client.resume`."""
        return self._call("resume", lambda client: client.resume(turn_key, timeout))

    def check_tool(
        self, tool_name: str, arguments: Mapping[str, Any], *, toolbox: Toolbox, bighub: Evaluations | None = None
    ) -> dict[str, Any]:
        """See `Client.check_tool`."""
        return self._call(
            "check_tool", lambda client: client.check_tool(tool_name, arguments, toolbox=toolbox, bighub=bighub)
        )

    def vote(self, vote: ApprovalVoted, *, key: SigningKey | None = None) -> Position:
        """See `Client.vote`."""
        return self._call("vote", lambda client: client.vote(vote, key=key))

    def observe(self, outcome: OutcomeObserved) -> Position:
        """See `Client.observe`."""
        return self._call("observe", lambda client: client.observe(outcome))

    def _call(self, name: str, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        self._check(name)
        return self._wait(work(self._client))

    def _check(self, name: str) -> None:
        _refuse_in_loop(f"SyncClient.{name}", f"`await Client.{name}(…)`")
        if self._closed:
            raise BadInput(f"SyncClient.{name}", "was called after close", "Make another client")

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result; an interrupt (Ctrl-C) ends the work too, and not only the waiting for it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _end_loop(self) -> None:
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _next(steps: AsyncGenerator[Step, None]) -> Step | None:
    return await anext(steps, None)


def _refuse_in_loop(what: str, instead: str) -> None:
    """A call that waits on a running event loop would stop everything else on it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise BadInput(what, "was called inside a running event loop, which it would stop", f"Use {instead} there")
