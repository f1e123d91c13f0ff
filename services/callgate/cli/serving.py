"""`callgate run`, `dev` and `sandbox`: processes that serve until they are told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from callgate.failures import BadInput

if TYPE_CHECKING:
    from callgate.cli.hosting import Service
    from callgate.settings import Settings
    from callgate.tools.toolbox import Toolbox

_SERVICES: tuple[Service, ...] = ("proposer", "evaluator", "approvals", "executor", "reporter", "notifier")
_LOG = click.option("--log", "address", help="The log's address; default: CALLGATE_LOG, else sqlite:///callgate.db.")
_TOOLS = click.option("--tools", help="Your toolbox, as module:attribute; default: CALLGATE_TOOLS.")

_PLACE = ("CALLGATE_LOG", "CALLGATE_TOPIC_", "CALLGATE_KAFKA_")
"""What the settings begin with that say which log it is, and how it is reached."""

_SCRIPT = click.option(
    "--model-script", type=click.Path(path_type=Path), help="What the local model says; default: what it is told to."
)


@click.command()
@click.argument("service", required=False, type=click.Choice(_SERVICES))
@click.option("--all", "all_", is_flag=True, help="All services in this process.")
@_LOG
@_TOOLS
def run(service: str | None, all_: bool, address: str | None, tools: str | None) -> None:  # noqa: FBT001 - a flag
    """Run one SERVICE, or --all of them, until SIGTERM. Proposer, executor and approvals import your tools.

    The notifier is one of all where a channel is set up.
    """
    if all_ == (service is not None):
        raise BadInput("SERVICE", "is needed, or --all", f"Name one of {', '.join(_SERVICES)}, or give --all")
    _leave_when_told()
    from callgate.cli.hosting import TAKES_TOOLS, all_services
    from callgate.environment import load

    settings = load(os.environ)
    _name_unknown()
    services = all_services(settings) if service is None else (cast("Service", service),)
    settings = replace(settings, log=address or settings.log, tools=tools or settings.tools)
    toolbox = None
    if TAKES_TOOLS & set(services) and settings.tools:
        from callgate.tools.load import load_toolbox

        toolbox = load_toolbox(settings.tools)
    asyncio.run(_serve(settings, services, toolbox))


@click.command()
@_LOG
@_TOOLS
@click.option("--policy", type=click.Path(path_type=Path), help="What the local BIGHUB decides; default: allow all.")
@click.option("--faults", type=click.Path(path_type=Path), help="How the local BIGHUB misbehaves.")
@_SCRIPT
def dev(
    address: str | None, tools: str | None, policy: Path | None, faults: Path | None, model_script: Path | None
) -> None:
    """Everything in one process, with a local stand-in for BIGHUB; votes are trusted. For development only."""
    _leave_when_told()
    from callgate.environment import load
    from callgate.settings import BighubSettings, Secret
    from callgate.tools.load import load_toolbox

    environment = {key: value for key, value in os.environ.items() if not key.startswith("CALLGATE_BIGHUB_")}
    settings = load(environment)
    _name_unknown()
    settings = replace(
        settings,
        log=address or settings.log,
        tools=tools or settings.tools,
        bighub=BighubSettings(key=Secret("sandbox")),
        approval=replace(settings.approval, trusted=True, keys="", oidc_issuer=""),
    )
    if not settings.tools:
        raise BadInput(
            "--tools", "is missing", "Name your toolbox, like --tools my_tools:toolbox; README has one to copy"
        )
    toolbox = load_toolbox(settings.tools)
    asyncio.run(_develop(settings, toolbox, address, policy, faults, model_script))


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65_535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--policy", type=click.Path(path_type=Path), help="What it decides; default: allow all.")
@click.option("--faults", type=click.Path(path_type=Path), help="How it misbehaves.")
@click.option("--state", type=click.Path(path_type=Path), help="Keep its state in this file.")
@_SCRIPT
def sandbox(
    host: str, port: int, policy: Path | None, faults: Path | None, state: Path | None, model_script: Path | None
) -> None:
    """A local BIGHUB and model that the real SDKs accept, with any key. Prints one JSON line when it is ready."""
    from callgate.sandbox.service import run_sandbox

    serving = run_sandbox(
        host=host, port=port, policy=policy, faults=faults, state=state, script=model_script, announce=click.echo
    )
    asyncio.run(serving)


def _leave_when_told() -> None:
    """Until the services run there is nothing to drain: whoever stops a process that is just starting gets a 0 too."""
    for each in (signal.SIGTERM, signal.SIGINT):
        # No exception: it would be raised inside the user's own module, and be taken for a fault of that.
        signal.signal(each, lambda *_: os._exit(0))


def _name_unknown() -> None:
    from callgate.environment import unknown

    strange = unknown(os.environ)
    if strange is not None:
        click.echo(f"callgate: {strange}", err=True)


async def _serve(
    settings: Settings, services: Sequence[Service], toolbox: Toolbox | None, *, own: bool = False
) -> None:
    from callgate.cli.collecting import collect_seldom
    from callgate.cli.hosting import check_means, hosted
    from callgate.cli.opening import Place, open_as_it_is, open_own
    from callgate.clock import SystemClock
    from callgate.telemetry import logs

    logs.configure(settings.telemetry.log_level)
    check_means(settings, services, toolbox)
    collect_seldom()
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        place = Place(settings.log, settings.kafka, settings.topic)
        log = await (open_own(place, clock) if own else open_as_it_is(place, clock))
        stack.push_async_callback(log.close)
        running = await stack.enter_async_context(hosted(settings, log, clock, services, toolbox))
        if running.probes is not None:
            click.echo(f"probes on {running.probes}", err=True)
        await until_stopped(running.running)


async def _develop(
    settings: Settings,
    toolbox: Toolbox,
    address: str | None,
    policy: Path | None,
    faults: Path | None,
    script: Path | None,
) -> None:
    from callgate.cli.hosting import all_services
    from callgate.cli.play.recorded import beside_of, sandbox_file
    from callgate.log.address import MEMORY
    from callgate.sandbox.faults import load_faults
    from callgate.sandbox.model.script import load_script
    from callgate.sandbox.policy import load_policy
    from callgate.sandbox.service import Sandbox
    from callgate.settings import Secret

    beside = None if settings.log == MEMORY else beside_of(settings.log, settings.topic.prefix)
    box = Sandbox(
        policy=load_policy(policy) if policy is not None else None,
        faults=load_faults(faults) if faults is not None else None,
        # It must remember what it has decided as long as the log does, or outcomes of earlier days would be refused.
        state=None if beside is None else sandbox_file(beside),
        script=load_script(script) if script is not None else None,
    )
    async with box:
        if not settings.model.key:
            settings = replace(settings, model=replace(settings.model, url=box.model_url, key=Secret("sandbox")))
        click.echo(
            f"log: {settings.log}\nlocal BIGHUB: {box.url} ({policy or 'allows all'})\n"
            f"model: {settings.model.url}\n"
            "votes are trusted: development only"
        )
        _say_what_next(address)
        settings = replace(settings, bighub=replace(settings.bighub, url=box.url))
        await _serve(settings, all_services(settings), toolbox, own=True)


def _say_what_next(address: str | None) -> None:
    """Commands to copy. The other terminal has not what is exported in this one."""
    here = ", ".join(sorted(name for name in os.environ if name.startswith(_PLACE)))
    click.echo(f"\nnow, in another terminal{f' with the same {here}' if here else ''}:")
    for command in ("submit turn.json --session s1", "actions list", "approvals list"):
        click.echo(f"  callgate {command}{f' --log {address}' if address else ''}")
    click.echo("\nCtrl-C stops.")


async def until_stopped(running: asyncio.Task[None]) -> None:
    """Wait for SIGTERM or SIGINT, or for the first failure of what runs, which is raised."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if running.done():
        running.result()
