"""Running one tool: what came of it, told apart by what can be known of its effect.

A sync function runs in a thread of its own that dies with the process, so that a tool that hangs holds up neither the
others nor the end of the process. A thread can't be stopped: one that outlives its time-out has no horizon.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from callgate.tools.masking import scrubbed
from callgate.tools.tool import Call, Tool

_ERROR_LENGTH = 1000
_LOOKED_THROUGH = 10 * _ERROR_LENGTH


@dataclass(frozen=True, slots=True)
class Returned:
    """The tool came back. `error` says why its output could not be used, where it could not."""

    output: bytes | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Raised:
    """The tool came back with an error of its own."""

    error: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """Nobody knows whether it had its effect."""

    reason: str
    outlived: bool
    """Whether it may still be running, in a thread that nobody can stop."""


Result = Returned | Raised | TimedOut


async def run(tool: Tool, call: Call, arguments: Mapping[str, Any], *, seconds: float, output_bytes: int) -> Result:
    """Run it once, within so many seconds. Cancelling cancels an async tool; raises only that CancelledError."""
    threaded = not inspect.iscoroutinefunction(tool.function)
    given = {**arguments, "call": call} if tool.takes_call else dict(arguments)

    def start() -> Any:
        return tool.function(call, arguments) if tool.takes_object else tool.function(**given)

    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            value = await (_in_thread(start) if threaded else start())
            if inspect.isawaitable(value):
                value = await value
    except asyncio.CancelledError:
        if _cancelling():
            raise
        return TimedOut("the tool cancelled its own call", outlived=False)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's tool raises is its own error
        # A tool that is cut off may raise anything on its way out; only the limit itself knows that it was cut off.
        if limit.expired():
            return TimedOut(f"the tool did not answer within {seconds:g} s", outlived=threaded)
        if isinstance(error, TimeoutError):
            told = _told(tool, arguments, error)
            return TimedOut(f"the tool says that its own call timed out: {told}", outlived=False)
        return Raised(_told(tool, arguments, error))
    return _returned(value, output_bytes)


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def probe(tool: Tool, call: Call, arguments: Mapping[str, Any]) -> bool | None:
    """Whether the effect happened, as the tool's probe says; None where it can't tell, fails or takes too long."""
    ask = tool.probe
    if ask is None:
        return None
    try:
        async with asyncio.timeout(tool.timeout_seconds):
            found = await _in_thread(lambda: ask(call, arguments))
            if inspect.isawaitable(found):
                found = await found
    except asyncio.CancelledError:
        if _cancelling():
            raise
        return None
    except (Exception, SystemExit):  # noqa: BLE001 - a probe that fails has found out nothing
        return None
    return found if isinstance(found, bool) else None


async def _in_thread(work: Callable[[], Any]) -> Any:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def tell(value: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(value)

    def body() -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = work()
        except (StopIteration, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit) as raised:
            # A future can't carry the first, and whoever waits would take the others for its own.
            error = RuntimeError(f"the tool raised {_named(raised)}")
        except BaseException as raised:  # noqa: BLE001 - handed over to whoever waits
            error = raised
        try:
            loop.call_soon_threadsafe(tell, value, error)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    threading.Thread(target=body, name="callgate-tool", daemon=True).start()
    return await done


def _returned(value: Any, output_bytes: int) -> Returned:
    try:
        output = orjson.dumps(value)
    except TypeError as error:
        return Returned(None, f"the tool ran, but its output is not JSON: {_named(error)}")
    if len(output) > output_bytes:
        return Returned(None, f"the tool ran, but its output of {len(output)} bytes is over {output_bytes}")
    return Returned(output)


def _told(tool: Tool, arguments: Mapping[str, Any], error: BaseException) -> str:
    """The tool's own words without what is sensitive in its call: BIGHUB, people and logs will see them too."""
    return scrubbed(_named(error), arguments, tool.sensitive)[:_ERROR_LENGTH]  # not cut before: half a secret is one


def _named(error: BaseException) -> str:
    try:
        # File names and what programs print may hold bytes that are no Unicode, which no event could carry.
        text = str(error)[:_LOOKED_THROUGH].encode("utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001 - the user's code too; what is raised here would leave the run without an end
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
