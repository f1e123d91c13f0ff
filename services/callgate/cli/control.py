"""`callgate control`: stop, hold and lift, and whether everybody has heard.

A switch is one record of `control`; its offset is the epoch that every worker acknowledges. `stop` and `hold` wait
until all living workers have applied it, so that their exit code says whether it is in force.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from callgate.cli.fleet import living
from callgate.cli.opening import json_option, log_option, on_log
from callgate.cli.printing import as_json, table
from callgate.cli.wording import duration, moment, visible
from callgate.events import topics
from callgate.events.control import ControlChanged, WorkerReported
from callgate.failures import BadInput

if TYPE_CHECKING:
    from callgate.clock import Clock
    from callgate.control.scopes import Switches
    from callgate.log.port import Log

_LOOK_SECONDS = 0.2

_FIELDS = ("tenant", "agent", "tool", "domain")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which actions a switch covers; narrower with every field that is set."""

    tenant: str | None = None
    agent: str | None = None
    tool: str | None = None
    domain: str | None = None

    def words(self) -> str:
        """For people."""
        named = [f"{name} {getattr(self, name)}" for name in _FIELDS if getattr(self, name) is not None]
        return ", ".join(named) or "everything"


def _scoped(command: Any) -> Any:
    for name in reversed(_FIELDS):
        command = click.option(f"--{name}", help=f"Only calls of this {name}.")(command)
    return command


def _scope(fields: Mapping[str, str | None], *, all_: bool) -> Scope:
    """What the options mean; everything only where that was said."""
    scope = Scope(**fields)
    if all_ == (scope != Scope()):
        raise BadInput("--all", "or a scope is needed, not both", "Give --tenant, --agent, --tool, --domain or --all")
    return scope


@click.group()
def control() -> None:
    """Stop, hold and lift."""


def _switching(kind: Literal["stop", "hold"], what: str) -> click.Command:
    @click.command(kind, help=what)
    @_scoped
    @click.option("--all", "all_", is_flag=True, help="Everything: needed where no scope is given.")
    @click.option("--reason", required=True, help="Why. Operators see it; models do not.")
    @click.option("--wait", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds for all to hear.")
    @log_option
    @json_option
    def command(
        all_: bool,  # noqa: FBT001 - a flag
        reason: str,
        wait: float,
        address: str | None,
        json_: bool,  # noqa: FBT001 - a flag
        **fields: str | None,
    ) -> None:
        scope = _scope(fields, all_=all_)

        async def work(log: Log, clock: Clock) -> tuple[int, list[WorkerReported]]:
            epoch = await _publish(log, clock, kind, scope, reason, active=True)
            return epoch, await _heard(log, clock, epoch, wait)

        # A switch may be set before anything runs: the services will find it.
        _say(kind, scope, *on_log(address, work, make=True), json_=json_)

    return command


control.add_command(_switching("stop", "Nothing in scope starts any more, and what waits is ended as killed."))
control.add_command(_switching("hold", "Nothing in scope starts until it is lifted; what waits goes on waiting."))


@control.command()
@_scoped
@click.option("--all", "all_", is_flag=True, help="The switches over everything.")
@click.option("--reason", default="", help="Why.")
@click.option("--wait", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds for all to hear.")
@log_option
@json_option
def lift(
    all_: bool,  # noqa: FBT001 - a flag
    reason: str,
    wait: float,
    address: str | None,
    json_: bool,  # noqa: FBT001 - a flag
    **fields: str | None,
) -> None:
    """Lift the stop and the hold of exactly this scope. Wider and narrower ones stay in force."""
    scope = _scope(fields, all_=all_)

    async def work(log: Log, clock: Clock) -> tuple[int, list[WorkerReported]] | None:
        switches = await _switches(log)
        kinds = [each.kind for each in switches.active.values() if _scope_of(each) == scope]
        epoch = -1
        for kind in kinds:
            assert kind != "partitions"
            epoch = await _publish(log, clock, kind, scope, reason, active=False)
        return (epoch, await _heard(log, clock, epoch, wait)) if kinds else None

    lifted = on_log(address, work)
    if lifted is None:
        click.echo(f"Nothing is stopped or held for {visible(scope.words())}: see `callgate control show`.", err=True)
        raise SystemExit(1)
    _say("lift", scope, *lifted, json_=json_)


@control.command()
@log_option
@json_option
def show(address: str | None, json_: bool) -> None:  # noqa: FBT001 - a flag
    """What is in force, and which workers have applied it."""

    async def work(log: Log, clock: Clock) -> tuple[Switches, list[WorkerReported], float]:
        return await _switches(log), await living(log, clock.now()), clock.now()

    switches, fleet, now = on_log(address, work)
    active = sorted(switches.active.values(), key=lambda each: each.changed_at)
    if json_:
        as_json(
            {
                "epoch": switches.epoch,
                "switches": [{"kind": each.kind, "scope": _scope_of(each).words(), **_by(each)} for each in active],
                "workers": [_worker(each, switches.epoch) for each in fleet],
            }
        )
        return
    table(
        ("kind", "scope", "since", "by", "reason"),
        [(x.kind, _scope_of(x).words(), moment(x.changed_at), x.changed_by, x.reason) for x in active],
        empty="Nothing is stopped or held.",
    )
    click.echo()
    table(
        ("service", "member", "leases", "epoch", "has it", "ready", "heard"),
        [_worker_row(each, switches.epoch, now) for each in fleet],
        empty="No worker is heard of.",
    )


async def _publish(
    log: Log, clock: Clock, kind: Literal["stop", "hold"], scope: Scope, reason: str, *, active: bool
) -> int:
    """Write the switch; returns its epoch."""
    from callgate.events.codec import encode
    from callgate.events.routing import address
    from callgate.log.port import Outgoing

    now = clock.now()
    event = ControlChanged(
        kind=kind,
        active=active,
        tenant=scope.tenant,
        agent=scope.agent,
        tool=scope.tool,
        domain=scope.domain,
        reason=reason,
        changed_by=os.environ.get("CALLGATE_APPROVER") or getpass.getuser(),
        changed_at=now,
    )
    at = address(event, log.partitions)
    value, headers = encode(event, source="callgate-cli", time=now)
    (position,) = await log.publish([Outgoing(at.topic, at.partition, at.key.encode(), value, headers)])
    return position.offset


async def _switches(log: Log) -> Switches:
    from callgate.cli.reading import read
    from callgate.control.scopes import Switches

    switches = Switches()
    for step in await read(log, (topics.CONTROL,)):
        if isinstance(step.event, ControlChanged):
            switches = switches.apply(step.event, step.offset)
    return switches


async def _heard(log: Log, clock: Clock, epoch: int, wait: float) -> list[WorkerReported]:
    """The living workers once all of them have said that they have applied the epoch, or after `wait` seconds."""
    until = clock.monotonic() + wait
    while True:
        fleet = await living(log, clock.now())
        if all(each.epoch >= epoch for each in fleet) or clock.monotonic() >= until:
            return fleet
        await clock.sleep(_LOOK_SECONDS)


def _say(done: str, scope: Scope, epoch: int, fleet: list[WorkerReported], *, json_: bool) -> None:
    unheard = [each for each in fleet if each.epoch < epoch]
    if json_:
        missing = [f"{each.service}/{each.member}" for each in unheard]
        as_json({"done": done, "scope": scope.words(), "epoch": epoch, "workers": len(fleet), "unheard": missing})
    else:
        click.echo(f"{done}: {visible(scope.words())}, epoch {epoch}")
        for each in unheard:
            click.echo(f"{each.service} {each.member} has not applied it yet (epoch {each.epoch})", err=True)
        if not fleet:
            click.echo("No worker is heard of; whoever starts will find it.")
        elif not unheard:
            click.echo(f"All {len(fleet)} workers have applied it.")
    raise SystemExit(3 if unheard else 0)


def _scope_of(change: ControlChanged) -> Scope:
    return Scope(change.tenant, change.agent, change.tool, change.domain)


def _by(change: ControlChanged) -> dict[str, Any]:
    return {"by": change.changed_by, "at": change.changed_at, "reason": change.reason}


def _worker(report: WorkerReported, epoch: int) -> dict[str, Any]:
    return {
        "service": report.service,
        "member": report.member,
        "version": report.version,
        "leases": list(report.leases),
        "epoch": report.epoch,
        "applied": report.epoch >= epoch,
        "ready": report.ready,
        "reported_at": report.reported_at,
    }


def _worker_row(report: WorkerReported, epoch: int, now: float) -> tuple[str, ...]:
    return (
        report.service,
        report.member,
        ", ".join(map(str, report.leases)) or "none",
        str(report.epoch),
        "yes" if report.epoch >= epoch else "no",
        "yes" if report.ready else "no",
        f"{duration(now - report.reported_at)} ago",
    )
