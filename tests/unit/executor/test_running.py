"""What a tool's run came to is told apart by what can be known of its effect."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from callgate.executor import running
from callgate.executor.running import Raised, Result, Returned, TimedOut
from callgate.tools.tool import Call, Tool

CALL = Call(action_id="act_000_x", tenant="t", session="s", agent="a", constraints={})
OBJECT: Mapping[str, Any] = {"type": "object"}


async def run(function: Any, arguments: Mapping[str, Any] | None = None, **options: Any) -> Result:
    """Run a function as a tool, for 50 ms at the most."""
    options.setdefault("takes_object", arguments is None)
    tool = Tool(name="tool", function=function, parameters=OBJECT, **options)
    return await running.run(tool, CALL, arguments or {}, seconds=0.05, output_bytes=100)


async def test_sync_and_async_tools_return_json() -> None:
    """Both kinds of function, and a sync one that returns an awaitable, give their output as JSON."""

    async def late(*_: object) -> dict[str, int]:
        return {"a": 1}

    for function in (lambda *_: {"a": 1}, late, lambda *_: late()):
        assert await run(function) == Returned(b'{"a":1}')


async def test_arguments_and_the_call_are_handed_over() -> None:
    """Arguments by name; the call itself where the tool asks for it."""

    def function(amount: int, call: Call) -> str:
        return f"{amount} {call.action_id}"

    assert await run(function, {"amount": 5}, takes_call=True) == Returned(b'"5 act_000_x"')


async def test_a_sync_tool_does_not_hold_up_the_loop() -> None:
    """It runs in a thread of its own."""
    assert await run(lambda *_: threading.current_thread() is threading.main_thread()) == Returned(b"false")


@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(), SystemExit(3), KeyboardInterrupt()])
async def test_whatever_a_sync_tool_raises_is_its_own_error(error: BaseException) -> None:
    """It ends neither the process nor the loop."""

    def function(*_: object) -> None:
        raise error

    result = await run(function)
    assert isinstance(result, Raised)
    assert type(error).__name__ in result.error


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
async def test_whatever_an_async_tool_raises_is_its_own_error(error: BaseException) -> None:
    """The same for coroutines."""

    async def function(*_: object) -> None:
        raise error

    result = await run(function)
    assert isinstance(result, Raised)
    assert type(error).__name__ in result.error


async def test_a_long_error_is_cut() -> None:
    """A message of megabytes does not reach the log."""

    def function(*_: object) -> None:
        raise ValueError("x" * 10_000)

    result = await run(function)
    assert isinstance(result, Raised)
    assert len(result.error) == 1000


async def test_an_async_tool_that_is_cut_off_has_not_outlived_its_limit() -> None:
    """It was cancelled: nothing of it runs any more."""
    cancelled: list[bool] = []

    async def function(*_: object) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    result = await run(function)
    assert isinstance(result, TimedOut)
    assert not result.outlived
    assert cancelled


async def test_a_thread_that_outlives_its_limit_is_said_to() -> None:
    """Nobody can stop it, so it may have its effect at any later time."""
    released = threading.Event()
    result = await run(lambda *_: released.wait(10))
    released.set()
    assert isinstance(result, TimedOut)
    assert result.outlived


async def test_an_error_of_a_tool_that_was_cut_off_is_a_time_out() -> None:
    """Libraries turn their cancelling into errors of their own: that is no word on the effect."""

    async def function(*_: object) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as cut:
            message = "connection closed"
            raise ConnectionError(message) from cut

    assert isinstance(await run(function), TimedOut)


async def test_a_tool_that_ends_well_although_cut_off_has_returned() -> None:
    """What a tool says of itself counts, also when it says it late."""

    async def function(*_: object) -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "done"
        return "slept"

    assert await run(function) == Returned(b'"done"')


async def test_a_tool_that_cancels_itself_is_in_doubt_and_stops_nobody() -> None:
    """A cancellation of the tool's own making says nothing of the effect, and is not taken for one of ours."""

    async def function(*_: object) -> None:
        raise asyncio.CancelledError

    assert isinstance(await run(function), TimedOut)


async def test_our_own_cancelling_goes_through() -> None:
    """Whoever cancels the run cancels the tool, and sees the cancellation."""
    begun = asyncio.Event()

    async def function(*_: object) -> None:
        begun.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(run(function))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("output", [object(), {1: 2}, 2**70, {"deep": {object()}}])
async def test_output_that_is_no_json_is_said_to_be_none(output: Any) -> None:
    """The tool ran: it has returned, without a usable output."""
    result = await run(lambda *_: output)
    assert isinstance(result, Returned)
    assert result.output is None
    assert "not JSON" in (result.error or "")


async def test_output_over_the_limit_is_left_out() -> None:
    """At the limit it is taken, one byte over it is not."""
    assert await run(lambda *_: "x" * 98) == Returned(b'"' + b"x" * 98 + b'"')
    result = await run(lambda *_: "x" * 99)
    assert isinstance(result, Returned)
    assert result.output is None
    assert "101 bytes" in (result.error or "")


@pytest.mark.parametrize(("said", "found"), [(True, True), (False, False), (None, None), ("yes", None), (1, None)])
async def test_a_probe_says_yes_or_no_or_nothing(said: Any, found: Any) -> None:
    """Only a plain True or False is an answer."""

    async def late(*_: object) -> Any:
        return said

    for probe in (lambda *_: said, late):
        tool = Tool(name="tool", function=print, parameters=OBJECT, effect="verifiable", probe=probe)
        assert await running.probe(tool, CALL, {}) is found


async def test_a_probe_that_fails_or_hangs_has_found_out_nothing() -> None:
    """No probe, an error and a time-out are all no answer."""

    async def hang(*_: object) -> bool:
        await asyncio.sleep(60)
        return False

    def fail(*_: object) -> bool:
        raise OSError

    for probe in (None, hang, fail):
        tool = Tool(
            name="tool", function=print, parameters=OBJECT, effect="verifiable", probe=probe, timeout_seconds=0.02
        )
        assert await running.probe(tool, CALL, {}) is None


SECRETS: Mapping[str, Any] = {
    "card": {"number": "4111222233334444", "cvc": 737},
    "apiKey": ["sk-live-1", "line\nbreak"],
    "note": "4111 is no secret here",
}


def _complaint() -> str:
    return f"refused {SECRETS['card']['number']} / {SECRETS['card']['cvc']} with {SECRETS['apiKey']!r}: sk-live-1"


def _raise_it(**_: object) -> None:
    raise ValueError(_complaint())


def _time_out(**_: object) -> None:
    raise TimeoutError(_complaint())


@pytest.mark.parametrize("function", [_raise_it, _time_out])
async def test_an_error_does_not_repeat_what_is_sensitive(function: Any) -> None:
    """A tool's own message is told to BIGHUB, people and logs: no value under a sensitive name is left in it."""
    result = await run(function, SECRETS, sensitive=("card",))
    assert isinstance(result, Raised | TimedOut)
    said = result.error if isinstance(result, Raised) else result.reason
    for secret in ("4111222233334444", "737", "sk-live", "break"):
        assert secret not in said
    assert "refused ***" in said


async def test_a_long_error_is_cut_after_it_was_masked() -> None:
    """A secret at the place where a message is cut leaves no half of itself."""

    def function(**_: object) -> None:
        raise ValueError("x" * 985 + "4111222233334444")

    result = await run(function, {"card": "4111222233334444"}, sensitive=("card",))
    assert isinstance(result, Raised)
    assert "4111" not in result.error


class Speechless(Exception):  # noqa: N818 - it is what it is
    """An error that can't say what it is."""

    def __str__(self) -> str:
        """See the class."""
        raise RuntimeError


@pytest.mark.parametrize("threaded", [True, False])
async def test_an_error_that_can_not_be_shown_is_an_error(*, threaded: bool) -> None:
    """Whatever a tool raises ends its run: one that nobody can read is named by its class."""

    def function(*_: object) -> None:
        raise Speechless

    async def late(*_: object) -> None:
        function()

    assert await run(function if threaded else late) == Raised("Speechless")


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(1), Speechless()])
@pytest.mark.parametrize("threaded", [True, False])
async def test_whatever_a_probe_raises_it_has_found_out_nothing(error: BaseException, *, threaded: bool) -> None:
    """It ends neither the process nor the settling, which would begin again and again with the same end."""

    def ask(*_: object) -> bool:
        raise error

    async def late(*_: object) -> bool:
        return ask()

    tool = Tool(name="t", function=late, parameters=OBJECT, effect="verifiable", probe=ask if threaded else late)
    assert await running.probe(tool, CALL, {}) is None


async def test_a_probe_that_is_cut_off_passes_it_on() -> None:
    """Whoever ends the worker is not mistaken for the probe's own cancelling."""

    async def late(*_: object) -> bool:
        await asyncio.sleep(60)
        return True

    tool = Tool(name="t", function=late, parameters=OBJECT, effect="verifiable", probe=late)
    task = asyncio.create_task(running.probe(tool, CALL, {}))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
