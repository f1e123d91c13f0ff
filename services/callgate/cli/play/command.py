"""`callgate play`: recorded runs through the whole gate, a report, and the checker's word on it."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import click

from callgate.cli.checker.facts import gather
from callgate.cli.checker.judge import judge
from callgate.cli.hosting import SERVICES, hosted
from callgate.cli.opening import Place, open_own, place_of
from callgate.cli.play import corpora, recorded
from callgate.cli.play.custody import parked_actions
from callgate.cli.play.player import Player
from callgate.cli.play.report import Report, compile_report
from callgate.cli.play.voter import Says, answer_all
from callgate.cli.printing import as_json, show_report
from callgate.clock import Clock, SystemClock
from callgate.events.approvals import ApprovalRequested
from callgate.events.topics import TURNS
from callgate.failures import BadInput, CallgateError
from callgate.log.port import Log
from callgate.settings import ApprovalSettings, BighubSettings, ExecutorSettings, Secret, Settings
from callgate.telemetry import logs

Approvals = Literal["approve", "reject", "expire"]

EXPIRE_SECONDS = 2.0
"""How long a play waits for a person that it does not have."""

APPROVER = "play"
"""Who a play votes as."""

_PROGRESS_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What a play was asked to do."""

    files: tuple[Path, ...]
    place: Place
    beside: Path
    """The log's file; manifest, witness and sandbox state lie beside it."""
    name: str
    policy: Path | None
    approvals: Approvals
    concurrency: int
    timeout: float
    attach: bool
    report: Path


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--log", "address", help="Where to play; without it a fresh temporary file. The same --log and --id resume."
)
@click.option("--id", "name", default="play", show_default=True, help="The play's name; session ids come from it.")
@click.option("--policy", type=click.Path(path_type=Path), help="What the local BIGHUB decides; default: allow all.")
@click.option(
    "--approvals", type=click.Choice(["approve", "reject", "expire"]), default="expire", show_default=True,
    help="How approvals are answered, through the votes entrance.",
)  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1, 10_000), default=32, show_default=True, help="Sessions at once.")
@click.option(
    "--timeout", type=click.FloatRange(1), default=600.0, show_default=True, help="Seconds; then exit code 3."
)
@click.option("--attach", is_flag=True, help="Use services that run elsewhere on the same log.")
@click.option("--report", type=click.Path(path_type=Path), help="Where to write the report.")
@click.option("--json", "json_", is_flag=True, help="Print the report as JSON.")
def play(  # noqa: PLR0913, PLR0917 - one parameter per option
    files: tuple[str, ...],
    address: str | None,
    name: str,
    policy: Path | None,
    approvals: str,
    concurrency: int,
    timeout: float,
    attach: bool,  # noqa: FBT001 - a flag
    report: Path | None,
    json_: bool,  # noqa: FBT001 - a flag
) -> None:
    """Play recorded runs (*.runs.jsonl, *.turns.jsonl) through the gate, and check what came of them."""
    logs.configure("error" if json_ else "warning")
    if attach and address is None:
        raise BadInput("--attach", "needs a log to meet the services on", "Add --log")
    address = address or f"sqlite:///{Path(tempfile.mkdtemp(prefix='callgate-play-')) / 'play.db'}"
    place = place_of(address)
    beside = recorded.beside_of(address, place.topic.prefix)
    asked = Play(
        files=tuple(corpora.find(file) for file in files),
        place=place,
        beside=beside,
        name=name,
        policy=policy,
        approvals=cast("Approvals", approvals),
        concurrency=concurrency,
        timeout=timeout,
        attach=attach,
        report=report or beside.with_name(f"{beside.name}.report.json"),
    )
    outcome, finished = asyncio.run(run_play(asked, quiet=json_))
    if json_:
        as_json(outcome.shown())
    else:
        show_report(outcome)
    if outcome.violations:
        raise SystemExit(1)
    raise SystemExit(0 if finished else 3)


async def run_play(asked: Play, *, quiet: bool) -> tuple[Report, bool]:
    """Play, and write the report in every case that gets as far as playing. Whether everything came to rest."""
    recordings = [turn for file in asked.files for turn in corpora.read(file)]
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        log = await _opened(asked, clock)
        stack.push_async_callback(log.close)
        recorded.write_manifest(asked.beside, asked.name, list(asked.files), log.partitions)
        player = Player(log, clock, asked.name, recordings)
        paths = _paths(asked)
        finished, failure = False, None
        try:
            finished = await _played(asked, log, clock, player, paths, quiet=quiet)
        except* CallgateError as failures:
            failure = failures
        report = await _reported(asked, log, player, paths)
        if failure is not None:
            raise failure.exceptions[0]
        return report, finished


async def _opened(asked: Play, clock: Clock) -> Log:
    log = await open_own(asked.place, clock)
    if asked.place.on_kafka and not any((await log.ends(TURNS.name)).values()):
        recorded.set_aside(asked.beside, state=not asked.attach)
    return log


async def _played(
    asked: Play, log: Log, clock: Clock, player: Player, paths: Mapping[str, str], *, quiet: bool
) -> bool:
    async with AsyncExitStack() as stack:
        others: list[asyncio.Task[None]] = []
        if not asked.attach:
            settings = await _sandboxed(asked, stack, paths)
            toolbox = recorded.recorded_toolbox(recorded.Recordings(asked.beside))
            services = await stack.enter_async_context(hosted(settings, log, clock, SERVICES, toolbox))
            others.append(services.running)
        if asked.approvals != "expire":
            said = asked.approvals

            def answer(request: ApprovalRequested) -> Says | None:
                return said if request.action.ref.turn_key in player.turn_keys else None

            others.append(asyncio.create_task(answer_all(log, clock, APPROVER, answer)))
        playing = asyncio.create_task(player.run(asked.concurrency))
        showing = asyncio.create_task(_show_progress(player, clock, quiet=quiet))
        stopped = _stop_signal()
        try:
            await asyncio.wait({playing, stopped, *others}, timeout=asked.timeout, return_when=asyncio.FIRST_COMPLETED)
            for task in (playing, *others):
                if task.done():
                    task.result()
            return playing.done()
        finally:
            for task in (playing, showing, stopped, *others[1 if not asked.attach else 0 :]):
                task.cancel()
                with suppress(asyncio.CancelledError, CallgateError):
                    await task


async def _sandboxed(asked: Play, stack: AsyncExitStack, paths: Mapping[str, str]) -> Settings:
    """A local BIGHUB whose state lies beside the log, and the settings to use it: the environment's have no say."""
    from callgate.sandbox.policy import load_policy
    from callgate.sandbox.service import Sandbox

    policy = load_policy(asked.policy) if asked.policy is not None else None
    sandbox = await stack.enter_async_context(Sandbox("127.0.0.1", 0, policy=policy, state=Path(paths["sandbox"])))
    return sandbox_settings(sandbox.url, asked.place.address, EXPIRE_SECONDS if asked.approvals == "expire" else 60.0)


def sandbox_settings(url: str, address: str, deadline_seconds: float) -> Settings:
    """Settings of a process that meets nobody but the sandbox. Horizons are short, as its tools answer at once."""
    plain = Settings(log=address)
    return replace(
        plain,
        bighub=BighubSettings(url=url, key=Secret("sandbox")),
        executor=ExecutorSettings(start_seconds=2.0, skew_seconds=0.5),
        approval=ApprovalSettings(trusted=True, deadline_seconds=deadline_seconds),
    )


async def _reported(asked: Play, log: Log, player: Player, paths: Mapping[str, str]) -> Report:
    facts = await gather(log, Path(paths["witness"]), player.turn_keys)
    violations = judge(facts, player.expected)
    parked = await parked_actions(log)
    report = compile_report(facts, player.expected, parked, violations, paths)
    report.write(asked.report)
    return report


def _paths(asked: Play) -> dict[str, str]:
    return {
        "log": asked.place.address if asked.place.on_kafka else str(asked.beside),
        "witness": str(recorded.witness_file(asked.beside)),
        "report": str(asked.report),
        "sandbox": str(recorded.sandbox_file(asked.beside)),
    }


async def _show_progress(player: Player, clock: Clock, *, quiet: bool) -> None:
    if quiet or not sys.stderr.isatty():
        return
    while True:
        settled, total = player.progress
        click.echo(f"\r{settled} of {total} actions", nl=False, err=True)
        await clock.sleep(_PROGRESS_SECONDS)


def _stop_signal() -> asyncio.Task[None]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)

    async def wait() -> None:
        await stop.wait()

    return asyncio.create_task(wait())
