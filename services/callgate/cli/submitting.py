"""`callgate submit`: a model's answer goes in from a terminal, and what became of its calls comes out."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import orjson

from callgate.cli.fleet import tell_if_nobody_proposes
from callgate.cli.opening import json_option, log_option, on_log
from callgate.cli.printing import as_json, table
from callgate.cli.wording import compact, visible
from callgate.events import ids
from callgate.failures import BadInput

if TYPE_CHECKING:
    from callgate.client.client import Client
    from callgate.clock import Clock
    from callgate.events.turns import ActionReply, TurnCompleted, TurnOrigin
    from callgate.log.port import Log

_WAYS = (
    'Give a Responses object, a Chat Completions message, or {"calls": [{"name": "my_tool", "arguments": {"x": 1}}]}'
)


@click.command()
@click.argument("file", metavar="FILE|-")
@log_option
@json_option
@click.option("--tenant", default="default", show_default=True, help="Whose turn it is.")
@click.option("--session", help="The conversation; turns of one session keep their order. Default: a new one.")
@click.option("--turn", help="The turn's name: submitted twice in a session, it counts once. Default: a new one.")
@click.option("--agent", default="cli", show_default=True, help="Who acts.")
@click.option("--requester", help="On whose behalf; they may not approve it themselves.")
@click.option("--domain", help="BIGHUB domain, for tools that name none.")
@click.option("--environment", help="production, staging, …")
@click.option("--context", default="{}", help="A JSON object of labels for BIGHUB.")
@click.option("--wait", is_flag=True, help="Wait for the turn's end and show it.")
@click.option("--timeout", type=click.FloatRange(0), default=60.0, show_default=True, help="Seconds to wait; then 3.")
def submit(
    file: str,
    address: str | None,
    json_: bool,  # noqa: FBT001 - a flag
    wait: bool,  # noqa: FBT001 - a flag
    timeout: float,
    **about: str | None,
) -> None:
    """Submit what a model answered: FILE holds a Responses object, a Chat Completions message, or just calls."""
    response, named = _response(content_of(file))

    async def work(log: Log, clock: Clock) -> tuple[str, TurnOrigin, TurnCompleted | None]:
        from callgate.client.client import Client

        client = Client(log, clock, source="callgate-cli")
        origin = origin_of({**named, **{key: value for key, value in about.items() if value is not None}}, clock)
        key = await client.record(origin, response)
        if not json_:
            click.echo(visible(f"session {origin.session}, turn {origin.turn}: {key}"), err=wait)
            await tell_if_nobody_proposes(log, clock)
        return key, origin, await completed_turn(client, key, timeout, quiet=json_) if wait else None

    key, origin, completed = on_log(address, work, make=True)
    if completed is None:
        if json_:
            as_json({"turn_key": key, "session": origin.session, "turn": origin.turn, "completed": None})
        if wait:
            leave_unfinished(origin, timeout)
        return
    show(completed, json_=json_)


def leave_unfinished(origin: TurnOrigin, timeout: float) -> NoReturn:
    """Say that the waiting has ended and the turn has not, and how to wait on; exit code 3."""
    again = shlex.join(("--session", origin.session, "--turn", origin.turn))
    click.echo(visible(f"The turn has not ended within {timeout:g} s. It goes on: `callgate actions list`."), err=True)
    click.echo(visible(f"The same command with {again} waits on, and asks for nothing anew."), err=True)
    sys.exit(3)


async def completed_turn(client: Client, key: str, timeout: float, *, quiet: bool) -> TurnCompleted | None:  # noqa: ASYNC109 - None is no error
    """The turn's end, telling meanwhile what it waits for."""
    import asyncio
    from contextlib import aclosing

    from callgate.events.turns import TurnCompleted

    told: set[tuple[str, str]] = set()
    try:
        async with asyncio.timeout(timeout), aclosing(client.replies(key)) as replies:
            async for reply in replies:
                if isinstance(reply, TurnCompleted):
                    return reply
                if not quiet and (reply.action_id, reply.status) not in told:
                    told.add((reply.action_id, reply.status))
                    click.echo(visible(_waiting(reply)), err=True)
    except TimeoutError:
        return None
    return None


def _waiting(reply: ActionReply) -> str:
    if reply.status == "approval_required":
        return f"{reply.tool}: a person is asked; see `callgate approvals list`"
    if reply.status == "in_doubt":
        return (
            f"{reply.tool}: in doubt; it may have had its effect. Whoever knows can say so: `callgate approvals list`"
        )
    return f"{reply.tool}: {reply.status}"


def show(completed: TurnCompleted, *, json_: bool) -> None:
    """Print a turn's end; of one for which the model was run also what the model said and cost."""
    execution = orjson.loads(bytes(completed.execution))
    if json_:
        as_json(
            {
                "turn_key": completed.turn_key,
                "session": completed.session,
                "turn": completed.turn,
                "completed": completed.status,
                "reason": completed.reason,
                "execution": execution,
                "items": orjson.loads(bytes(completed.items)),
                **(_of_model(completed) if completed.rounds else {}),
            }
        )
        return
    if completed.status == "refused":
        click.echo(f"refused: {visible(completed.reason or '')}")
    table(("tool", "call", "status", "result"), [_row(event) for event in execution["events"]], empty="no calls")


def _row(event: dict[str, Any]) -> tuple[str, ...]:
    result = event.get("output")
    shown = (event.get("error") or "") if result is None else compact(result, 1000)
    return str(event.get("tool", "")), str(event.get("call_id", "")), str(event.get("status", "")), shown


def _of_model(completed: TurnCompleted) -> dict[str, Any]:
    return {
        "rounds": completed.rounds,
        "usage": orjson.loads(bytes(completed.usage)) if completed.usage is not None else None,
        "llm_response": orjson.loads(bytes(completed.llm_response)),
        "follow_up": completed.follow_up,
    }


def content_of(file: str) -> bytes:
    """What a file holds, or standard input for `-`."""
    if file == "-":
        if sys.stdin.isatty():
            click.echo("reading from the terminal; end with Ctrl-D", err=True)
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise BadInput("FILE", f"{file!r} can't be read ({error.strerror})", "Name a readable file, or -") from error


def _response(content: bytes) -> tuple[bytes, dict[str, str]]:
    """The model's answer, and what the file itself says of whose turn it is."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise BadInput("FILE", f"is not JSON ({error})", _WAYS) from error
    if isinstance(value, dict) and "calls" in value:
        names = ("tenant", "session", "turn", "agent", "requester", "domain", "environment")
        named = {name: value[name] for name in names if name in value}
        for name, given in named.items():
            if not isinstance(given, str):
                raise BadInput(f"FILE: {name}", "is not a text", "Write it in quotes")
        return _message(value["calls"]), named
    return content, {}


def _message(calls: object) -> bytes:
    """The assistant message that makes these calls."""
    if not isinstance(calls, list):
        raise BadInput("FILE: calls", "is not a list", _WAYS)
    made = []
    for position, call in enumerate(calls):
        where = f"FILE: call {position}"
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            raise BadInput(where, "has no name", _WAYS)
        arguments = call.get("arguments", {})
        text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        identifier = call.get("call_id") or call.get("id") or f"call_{position}"
        made.append({"id": identifier, "type": "function", "function": {"name": call["name"], "arguments": text}})
    return orjson.dumps({"role": "assistant", "content": None, "tool_calls": made})


def origin_of(about: dict[str, str], clock: Clock) -> TurnOrigin:
    """Whose turn it is; a session or turn that nobody named gets a name that no other has."""
    import msgspec

    from callgate.events.turns import TurnOrigin

    fresh = ids.fingerprint("submit", os.getpid(), repr(clock.now()))[:8]
    context = about.get("context", "{}")
    try:
        if not isinstance(orjson.loads(context), dict):
            raise BadInput("--context", "is not a JSON object", 'Give one such as {"ticket": "T-1"}')
    except orjson.JSONDecodeError as error:
        raise BadInput("--context", f"is not JSON ({error})", 'Give an object such as {"ticket": "T-1"}') from error
    return TurnOrigin(
        tenant=about["tenant"],
        session=about.get("session", f"cli-{fresh}"),
        turn=about.get("turn", fresh),
        agent=about["agent"],
        requester=about.get("requester"),
        domain=about.get("domain"),
        environment=about.get("environment"),
        context=msgspec.Raw(context.encode()),
    )
