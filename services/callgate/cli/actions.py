"""`callgate actions`: what became of tool calls, and the whole life of one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import click

from callgate.cli.opening import json_option, log_option, on_log, pick
from callgate.cli.printing import as_json, table
from callgate.cli.telling import decision_shown, told
from callgate.cli.views import OPEN, ActionLife, Step, counts, in_order, masked_fault
from callgate.cli.wording import compact, moment, visible
from callgate.events import ids
from callgate.events.actions import Status

if TYPE_CHECKING:
    from callgate.clock import Clock
    from callgate.log.port import Log

_STANDINGS = (*get_args(Status), *OPEN, "open")


@click.group()
def actions() -> None:
    """Look at actions: every tool call is one."""


@actions.command("list")
@log_option
@json_option
@click.option("--tenant", help="Only this tenant's.")
@click.option("--session", help="Only this session's.")
@click.option("--tool", help="Only calls of this tool.")
@click.option("--status", type=click.Choice(_STANDINGS), help="Only those that stand so; `open` is all without an end.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
def list_(
    address: str | None,
    json_: bool,  # noqa: FBT001 - a flag
    tenant: str | None,
    session: str | None,
    tool: str | None,
    status: str | None,
    limit: int,
) -> None:
    """The newest actions, and how many stand where."""

    async def look(log: Log, _: Clock) -> dict[str, ActionLife]:
        from callgate.cli.reading import all_actions

        return await all_actions(log)

    lives = {
        identifier: life
        for identifier, life in on_log(address, look).items()
        if (tenant is None or life.proposed.ref.tenant == tenant)
        and (session is None or life.proposed.ref.session == session)
        and (tool is None or life.proposed.ref.tool == tool)
        and (status is None or life.standing == status or (status == "open" and life.standing in OPEN))
    }
    newest = sorted(lives.values(), key=lambda life: life.proposed.proposed_at, reverse=True)[:limit]
    if json_:
        as_json({"actions": [_shown(life) for life in newest], "by_status": counts(lives), "total": len(lives)})
        return
    table(
        ("id", "proposed", "tenant", "session", "tool", "status", "by"),
        [_row(life) for life in newest],
        empty="No actions.",
    )
    if newest:
        said = ", ".join(f"{count} {standing}" for standing, count in counts(lives).items())
        click.echo(f"\n{len(newest)} of {len(lives)} shown: {said}")


@actions.command()
@click.argument("action", metavar="ID")
@log_option
@json_option
def show(action: str, address: str | None, json_: bool) -> None:  # noqa: FBT001 - a flag
    """The whole life of one action, with topic, partition and offset of every step. ID may be any unique beginning."""

    async def look(log: Log, _: Clock) -> tuple[ActionLife, list[Step], list[str]]:
        from callgate.cli.custody import buried, parked_places
        from callgate.cli.reading import all_actions, life_of, one_action

        life = await one_action(log, action)
        if life is None:
            lives = await all_actions(log)
            life = lives[pick("action", action, list(lives))]
        steps = in_order(await life_of(log, life))
        about = {life.id, life.proposed.ref.turn_key}
        asides = [*await parked_places(log, life.id), *await buried(log, about)]
        return life, steps, asides

    life, steps, asides = on_log(address, look)
    if json_:
        as_json({**_shown(life), "arguments": masked_fault(life.proposed), "steps": _steps(steps), "asides": asides})
        return
    _print_head(life)
    click.echo()
    table(
        ("time", "what", "topic/partition/offset", "who says"),
        [(moment(step.at), *_what(step)) for step in steps],
        empty="No step can be read.",
    )
    for aside in asides:
        click.echo(f"\n{visible(aside)}")


def _what(step: Step) -> tuple[str, str, str]:
    what, detail = told(step.event)
    return what, step.place, detail


def _steps(steps: list[Step]) -> list[dict[str, Any]]:
    return [
        {
            "at": step.at,
            "what": told(step.event)[0],
            "detail": told(step.event)[1],
            "type": step.event.TYPE,
            "id": step.event.identity(),
            "topic": step.topic,
            "partition": step.partition,
            "offset": step.offset,
        }
        for step in steps
    ]


def _row(life: ActionLife) -> tuple[str, ...]:
    ref = life.proposed.ref
    by = life.decided.decision.by if life.decided is not None else ""
    return (
        ids.short(life.id),
        moment(life.proposed.proposed_at),
        ref.tenant,
        ref.session,
        ref.tool,
        life.standing,
        by,
    )


def _shown(life: ActionLife) -> dict[str, Any]:
    proposed, ref = life.proposed, life.proposed.ref
    finished = life.finished
    return {
        "id": life.id,
        "status": life.standing,
        "tenant": ref.tenant,
        "session": ref.session,
        "turn": ref.turn,
        "agent": ref.agent,
        "tool": ref.tool,
        "call_id": ref.call_id,
        "revision": ref.revision,
        "attempt": ref.attempt,
        "digest": ref.digest,
        "target": proposed.target,
        "proposed_at": proposed.proposed_at,
        "fault": proposed.fault.code if proposed.fault is not None else None,
        "decision": decision_shown(life.decided.decision) if life.decided is not None else None,
        "via": finished.via if finished is not None else None,
        "error": finished.error if finished is not None else None,
        "finished_at": finished.finished_at if finished is not None else None,
    }


def _print_head(life: ActionLife) -> None:
    proposed, ref = life.proposed, life.proposed.ref
    rows = [
        ("action", life.id),
        ("status", life.standing),
        ("tool", ref.tool + (f" on {proposed.target}" if proposed.target else "")),
        ("arguments", compact(masked_fault(proposed), 1000)),
        ("agent", f"{ref.agent} (tenant {ref.tenant}, session {ref.session}, turn {ref.turn}, call {ref.call_id})"),
        ("effect", proposed.effect + (f", key {proposed.effect_key}" if proposed.effect_key else "")),
        ("digest", ref.digest),
    ]
    if proposed.fault is not None:
        rows.append(("fault", f"{proposed.fault.code}: {proposed.fault.message}"))
    if proposed.suspicion is not None:
        rows.append(("suspicion", proposed.suspicion))
    if life.finished is not None and life.finished.error:
        rows.append(("error", life.finished.error))
    for name, text in rows:
        click.echo(f"{name:10} {visible(text)}")
