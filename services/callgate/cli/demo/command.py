"""`callgate demo`: the whole gate in one process on a fresh log, with scripted turns, shown live.

It meets nobody but its own sandbox: no setting of the environment is read.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

import click
import msgspec
import orjson

from callgate.cli.checker.facts import Facts, gather
from callgate.cli.checker.judge import Expected, judge
from callgate.cli.demo import people, script
from callgate.cli.demo.live import Live
from callgate.cli.demo.tools import demo_toolbox
from callgate.cli.hosting import SERVICES, hosted
from callgate.cli.opening import Place, open_own, place_of
from callgate.cli.play import recorded
from callgate.cli.play.command import sandbox_settings
from callgate.cli.play.custody import parked_actions
from callgate.cli.play.player import publish
from callgate.cli.play.report import Report, compile_report
from callgate.cli.printing import show_report
from callgate.client.client import Client
from callgate.clock import Clock, SystemClock
from callgate.events import ids
from callgate.events.turns import TurnCompleted, TurnOrigin, TurnRecorded, TurnSubmitted
from callgate.log.port import Log
from callgate.settings import ModelSettings, Secret, TelemetrySettings
from callgate.telemetry import logs

DEADLINE_SECONDS = 3.0
"""How long the demo's people have; nobody answers for one of its calls."""

MOST_SECONDS = 60.0
"""After this the demo gives up, and its report shows what is unfinished."""


@click.command()
@click.option("--report", type=click.Path(path_type=Path), help="Where to write the report.")
def demo(report: Path | None) -> None:
    """Play scripted turns through sandbox and services, on a fresh embedded log. Exits 0 if no promise was broken."""
    logs.configure("error")
    found = asyncio.run(run_demo(report))
    click.echo()
    show_report(found)
    _say_what_next(found)
    if found.violations:
        raise SystemExit(1)
    raise SystemExit(3 if found.unfinished else 0)


async def run_demo(report: Path | None, place: Place | None = None) -> Report:
    """Run it; the report is written in every case. `place` is a log that nobody has used; without one, a new file."""
    folder = Path(tempfile.mkdtemp(prefix="callgate-demo-"))
    beside = folder / "demo.db"
    place = place or place_of(f"sqlite:///{beside}")
    report = report or folder / "demo.report.json"
    paths = {
        "log": place.address if place.on_kafka else str(beside),
        "witness": str(recorded.witness_file(beside)),
        "report": str(report),
    }
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        from callgate.sandbox.model.script import parse_script
        from callgate.sandbox.policy import parse_policy
        from callgate.sandbox.service import Sandbox

        log = await open_own(place, clock)
        stack.push_async_callback(log.close)
        policy = parse_policy(script.POLICY, "the demo's policy")
        said = parse_script(script.MODEL_SCRIPT, "the demo's model")
        sandbox = await stack.enter_async_context(Sandbox(policy=policy, script=said))
        (folder / "approvals.toml").write_text(script.APPROVALS)
        settings = sandbox_settings(sandbox.url, place.address, DEADLINE_SECONDS)
        settings = replace(
            settings,
            telemetry=TelemetrySettings(),
            approval=replace(settings.approval, policy=str(folder / "approvals.toml")),
            model=ModelSettings(url=sandbox.model_url, key=Secret("sandbox")),
        )
        testify = recorded.Recordings(beside).testify
        async with hosted(settings, log, clock, SERVICES, demo_toolbox(testify)) as services:
            await _play(log, clock, services.running)
        expected = _expected(log)
        facts = await gather(log, Path(paths["witness"]))
        violations = judge(facts, expected)
        compiled = compile_report(facts, expected, await parked_actions(log), violations, paths)
        compiled = replace(compiled, turns=_turns(facts))
        compiled.write(report)
        return compiled


async def _play(log: Log, clock: Clock, running: asyncio.Task[None]) -> None:
    client = Client(log, clock, source="callgate-demo")
    showing = asyncio.create_task(Live(log, clock).run())
    voting = asyncio.create_task(people.answer(log, clock))
    turns = [asyncio.create_task(_submit(client, log, clock, turn)) for turn in script.turns()]
    try:
        played = asyncio.create_task(_all_of(turns))
        await asyncio.wait({played, running}, timeout=MOST_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        if not played.done():
            click.echo(f"the demo did not come to rest within {MOST_SECONDS:.0f} s", err=True)
    finally:
        for task in (showing, voting, *turns):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _all_of(turns: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*turns)


async def _submit(client: Client, log: Log, clock: Clock, turn: script.DemoTurn) -> None:
    """Submit a turn, and wait until each of its calls has ended or is in doubt."""
    event = _event(turn, clock.now())
    for _ in range(turn.times):
        await publish(log, clock, event)
    doubted: set[str] = set()
    async for reply in client.replies(client.turn_key(event.origin)):
        if isinstance(reply, TurnCompleted):
            return
        if reply.status == "in_doubt" and not any(says.kind == "settle" for says in turn.answers):
            doubted.add(reply.action_id)
            if len(doubted) == len(turn.calls):
                return


def _event(turn: script.DemoTurn, now: float) -> TurnRecorded | TurnSubmitted:
    origin = TurnOrigin(
        tenant=script.TENANT, session=turn.session, turn="1", agent=script.AGENT, requester="demo-customer"
    )
    if turn.said is None:
        return TurnRecorded(origin=origin, format=turn.format, response=msgspec.Raw(turn.response), submitted_at=now)
    return TurnSubmitted(
        origin=origin,
        model=script.MODEL,
        input=msgspec.Raw(orjson.dumps(turn.said)),
        options=msgspec.Raw(b'{"stream": true}'),
        submitted_at=now,
    )


def _expected(log: Log) -> dict[str, Expected]:
    """Every call of the script by its action id; what its tools return is known to nobody beforehand."""
    expected: dict[str, Expected] = {}
    client = Client(log, SystemClock())
    for turn in script.turns():
        key = client.turn_key(TurnOrigin(tenant=script.TENANT, session=turn.session, turn="1", agent=script.AGENT))
        for call in turn.calls:
            action_id = ids.action_id(key, call.round, call.position, call.call_id)
            expected[action_id] = Expected(key, call.position, call.call_id, None)
    return expected


def _turns(facts: Facts) -> int:
    """Turns that were taken in: also one that calls nothing."""
    called = {event.ref.turn_key for action in facts.actions.values() for event in action.proposed}
    return len(called | facts.turns.keys())


def _say_what_next(report: Report) -> None:
    log = report.paths["log"]
    click.echo("\nNothing outside this machine was contacted. Next:")
    click.echo(f"  callgate actions list --log sqlite:///{log}")
    click.echo(f"  callgate actions show <id from the list> --log sqlite:///{log}")
    click.echo('  put your own tool behind the gate: README, "Your own tool behind the gate"')
