"""`callgate ask`: the model is run for somebody at a terminal, with the tools behind the gate, and its answer shown."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Literal

import click
import orjson

from callgate.cli.fleet import tell_if_nobody_proposes
from callgate.cli.opening import json_option, log_option, on_log
from callgate.cli.printing import as_json
from callgate.cli.submitting import completed_turn, content_of, leave_unfinished, origin_of, show
from callgate.cli.wording import visible
from callgate.failures import BadInput

if TYPE_CHECKING:
    from callgate.client.client import Client
    from callgate.clock import Clock
    from callgate.events.turns import TurnCompleted, TurnOrigin
    from callgate.log.port import Log


@click.command()
@click.argument("said", metavar="TEXT|FILE.json|-")
@click.option("--model", required=True, help="The model's name, as its API knows it.")
@log_option
@json_option
@click.option("--instructions", help="What the model is told beforehand.")
@click.option("--options", default="{}", help="A JSON object of further fields of the request.")
@click.option("--rounds", type=click.IntRange(0, 1000), default=8, show_default=True, help="Rounds of tool calls.")
@click.option(
    "--pending",
    type=click.Choice(["wait", "tell"]),
    default="wait",
    show_default=True,
    help="While a call waits for a person: the turn waits too, or the model is told, and a follow-up turn is run.",
)
@click.option("--stream", is_flag=True, help="Show the text as it comes.")
@click.option("--tenant", default="default", show_default=True, help="Whose turn it is.")
@click.option("--session", help="The conversation; turns of one session keep their order. Default: a new one.")
@click.option("--turn", help="The turn's name: submitted twice in a session, it counts once. Default: a new one.")
@click.option("--agent", default="cli", show_default=True, help="Who acts.")
@click.option("--requester", help="On whose behalf; they may not approve it themselves.")
@click.option("--domain", help="BIGHUB domain, for tools that name none.")
@click.option("--timeout", type=click.FloatRange(0), default=300.0, show_default=True, help="Seconds to wait; then 3.")
def ask(  # noqa: PLR0913, PLR0917 - the options of a command
    said: str,
    model: str,
    address: str | None,
    json_: bool,  # noqa: FBT001 - a flag
    options: str,
    instructions: str | None,
    rounds: int,
    pending: Literal["wait", "tell"],
    stream: bool,  # noqa: FBT001 - a flag
    timeout: float,
    **about: str | None,
) -> None:
    """Run the model for a turn: TEXT is what the user says; a FILE.json holds a list of input items.

    A proposer with CALLGATE_MODEL_KEY must be running on the log, or `callgate dev`.
    """
    given = _given(said)
    further = _options(options, instructions, stream=stream)

    async def work(log: Log, clock: Clock) -> tuple[str, TurnOrigin, TurnCompleted | None]:
        from callgate.client.client import Client

        client = Client(log, clock, source="callgate-cli")
        origin = origin_of({key: value for key, value in about.items() if value is not None}, clock)
        key = await client.ask(
            origin, model=model, input_=given, options=further, max_tool_rounds=rounds, pending=pending
        )
        if not json_:
            click.echo(visible(f"session {origin.session}, turn {origin.turn}: {key}"), err=True)
            await tell_if_nobody_proposes(log, clock)
        showing = asyncio.create_task(_shown_as_it_comes(client, key)) if stream and not json_ else None
        try:
            return key, origin, await completed_turn(client, key, timeout, quiet=json_)
        finally:
            if showing is not None:
                await asyncio.wait((showing,), timeout=1.0)
                showing.cancel()
                with suppress(asyncio.CancelledError):
                    await showing

    key, origin, completed = on_log(address, work, make=True)
    if completed is None:
        if json_:
            as_json({"turn_key": key, "session": origin.session, "turn": origin.turn, "completed": None})
        leave_unfinished(origin, timeout)
    if json_ or completed.status == "refused" or orjson.loads(bytes(completed.execution))["events"]:
        show(completed, json_=json_)
    if not json_:
        _tell(completed, streamed=stream)
    if completed.status in ("failed", "refused"):
        sys.exit(1)


async def _shown_as_it_comes(client: Client, key: str) -> None:
    async with aclosing(client.stream(key)) as events:
        async for event in events:
            data = orjson.loads(bytes(event.data))
            if event.kind == "llm_delta":
                click.echo(visible(str(data.get("delta", ""))), nl=False)
            elif event.kind == "llm_text_done":
                click.echo()


def _tell(completed: TurnCompleted, *, streamed: bool) -> None:
    """The model's last word; it was shown already where it was streamed."""
    from callgate.client.shapes import text_of

    if not streamed and (text := text_of(orjson.loads(bytes(completed.llm_response)))):
        click.echo(visible(text))
    if completed.reason and completed.status != "refused":
        click.echo(visible(f"{completed.status}: {completed.reason}"), err=True)
    if completed.follow_up is not None:
        click.echo(f"A call waits for a person. The follow-up turn will be {completed.follow_up}", err=True)


def _given(said: str) -> Any:
    """The input: a text, or the items of a file."""
    if said != "-" and not said.endswith(".json"):
        return said
    content = content_of(said)
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        value = content.decode("utf-8", "replace") if said == "-" else None
    if not isinstance(value, str | list):
        raise BadInput(said, "is no list of input items", 'Write items like [{"role": "user", "content": "Hello"}]')
    return value


def _options(options: str, instructions: str | None, *, stream: bool) -> dict[str, Any]:
    try:
        value = orjson.loads(options)
    except orjson.JSONDecodeError as error:
        raise BadInput("--options", f"is not JSON ({error})", "Write it like '{\"temperature\": 0}'") from error
    if not isinstance(value, dict):
        raise BadInput("--options", "is not a JSON object", "Write it like '{\"temperature\": 0}'")
    if instructions is not None:
        value["instructions"] = instructions
    if stream:
        value["stream"] = True
    return value
