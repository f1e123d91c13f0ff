"""`callgate check`: says in words what is wrong, and how to mend it, before anything is started.

It exits as `callgate run` would: 2 where something was given that can't be used, 1 where something does not answer.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from callgate.cli.opening import address_of, json_option
from callgate.cli.printing import as_json
from callgate.cli.wording import visible
from callgate.failures import BadInput, CallgateError

if TYPE_CHECKING:
    from callgate.settings import Settings

Grade = Literal["ok", "note", "bad", "failed"]
"""`note` is worth knowing and stops nothing; `bad` is input that can't be used; `failed` does not answer."""

_MARKS: dict[Grade, str] = {"ok": "ok    ", "note": "note  ", "bad": "BAD   ", "failed": "FAILED"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    grade: Grade
    said: str


@click.command()
@click.option("--log", "address", help="The log's address; default: CALLGATE_LOG.")
@click.option("--tools", help="Your toolbox, as module:attribute; default: CALLGATE_TOOLS.")
@click.option("--policy", type=click.Path(path_type=Path), help="A policy of the local BIGHUB to look at too.")
@click.option("--online", is_flag=True, help="Also ask BIGHUB itself, with the key.")
@json_option
def check(
    address: str | None,
    tools: str | None,
    policy: Path | None,
    online: bool,  # noqa: FBT001 - a flag
    json_: bool,  # noqa: FBT001 - a flag
) -> None:
    """Look at settings, log, keys, tools and policy, and say what is wrong. Changes nothing."""
    findings = list(_all(address, tools, policy, online=online))
    if json_:
        as_json([{"what": each.what, "grade": each.grade, "said": each.said} for each in findings])
    else:
        for each in findings:
            click.echo(f"{_MARKS[each.grade]} {each.what:10} {visible(each.said)}")
    grades = {each.grade for each in findings}
    sys.exit(2 if "bad" in grades else 1 if "failed" in grades else 0)


def _all(address: str | None, tools: str | None, policy: Path | None, *, online: bool) -> Iterator[Finding]:
    from callgate.environment import BadSettings, load, unknown
    from callgate.settings import Settings

    try:
        settings = load(os.environ)
        yield Finding("settings", "ok", "every variable can be used")
    except BadSettings as bad:
        for fault in bad.faults:
            yield Finding("settings", "bad", str(fault))
        settings = Settings(log=address_of(None))
    strange = unknown(os.environ)
    if strange is not None:
        yield Finding("settings", "note", strange)
    settings = replace(settings, log=address or settings.log, tools=tools or settings.tools)
    yield from _log_looked(settings)
    yield from _looked("tools", lambda: _tools(settings.tools))
    if policy is not None:
        yield from _looked("policy", lambda: _policy(policy))
    yield from _looked("bighub", lambda: _bighub(settings, online=online))
    yield from _looked("model", lambda: _model(settings))
    yield from _looked("approvals", lambda: _approvals(settings))


def _looked(what: str, look: Callable[[], tuple[Grade, str]]) -> Iterator[Finding]:
    try:
        grade, said = look()
    except BadInput as bad:
        yield Finding(what, "bad", str(bad))
    except CallgateError as failure:
        yield Finding(what, "failed", str(failure))
    else:
        yield Finding(what, grade, said)


def _log_looked(settings: Settings) -> Iterator[Finding]:
    found: list[Finding] = []

    def look() -> tuple[Grade, str]:
        from callgate.cli.opening import on_kafka

        if not on_kafka(settings.log):
            return _log(settings.log)
        grade, said, more = _cluster(settings)
        found.extend(more)
        return grade, said

    yield from _looked("log", look)
    yield from found


def _cluster(settings: Settings) -> tuple[Grade, str, list[Finding]]:
    from callgate.cli.layout import look_over
    from callgate.cli.opening import Place
    from callgate.telemetry import logs

    logs.configure("error")
    n, seen = asyncio.run(look_over(Place(settings.log, settings.kafka, settings.topic)))
    found = [Finding("log", "failed" if each.serious else "note", str(each)) for each in seen]
    if any(each.serious for each in seen):
        return "note", f"{settings.log} answers, and not all there is as it should be", found
    return "ok", f"{settings.log} answers, its topics are as they should be, N is {n}", found


def _log(address: str) -> tuple[Grade, str]:
    from callgate.clock import SystemClock
    from callgate.log.address import PARTITIONS, file_of, open_log
    from callgate.telemetry import logs

    logs.configure("error")
    path = file_of(address)
    assert path is not None
    if path == ":memory:":
        return "note", f"{address} lives in one process's memory: for `run --all` only, and gone with it"
    if not Path(path).exists():
        if not os.access(Path(path).parent, os.W_OK):
            raise BadInput("CALLGATE_LOG", f"{path} can't be made there", "Name a file in a folder that you may write")
        return "ok", f"{path} will be made, with {PARTITIONS} partitions"

    async def look() -> int:
        log = await open_log(address, clock=SystemClock())
        try:
            return log.partitions
        finally:
            await log.close()

    return "ok", f"{path} opens, N is {asyncio.run(look())}"


def _tools(address: str) -> tuple[Grade, str]:
    if not address:
        return "note", "none are named: the proposer and the executor need --tools module:toolbox, or CALLGATE_TOOLS"
    from callgate.tools.load import load_toolbox

    toolbox = load_toolbox(address)
    effects = ", ".join(f"{tool.name} ({tool.effect})" for tool in toolbox)
    return "ok", f"{address}: {len(toolbox)} tools{': ' if effects else ''}{effects}"


def _policy(path: Path) -> tuple[Grade, str]:
    from callgate.sandbox.policy import load_policy

    policy = load_policy(path)
    return "ok", f"{path}: {len(policy.rules)} rules, else {policy.default.decision}"


def _bighub(settings: Settings, *, online: bool) -> tuple[Grade, str]:
    if not settings.bighub.key:
        raise BadInput(
            "CALLGATE_BIGHUB_KEY",
            "is not set: the evaluator and the reporter will not start",
            "Set it, or CALLGATE_BIGHUB_KEY_FILE; `callgate dev` needs none",
        )
    from callgate.bighub.client import Bighub

    async def ask() -> bool | None:
        async with Bighub(settings.bighub) as bighub:
            return await bighub.kill_switch_status() if online else None

    stopped = asyncio.run(ask())
    if stopped is None:
        return "ok", f"{settings.bighub.url}, a key is there (not asked; --online asks)"
    if stopped:
        return "note", f"{settings.bighub.url} takes the key; a kill switch of its own is active, or may be"
    return "ok", f"{settings.bighub.url} takes the key, and no kill switch of its own is active"


def _model(settings: Settings) -> tuple[Grade, str]:
    if not settings.model.key:
        return "note", "none: turns that ask for the model to be run are refused (CALLGATE_MODEL_KEY is not set)"
    from callgate.proposer.announcing import PATH
    from callgate.proposer.announcing import check as check_announcing
    from callgate.proposer.openai_model import checked_host

    host, model = checked_host(settings.model), settings.model
    check_announcing(model)
    notices = f"; its notices are taken at {model.webhook_host}:{model.webhook_port}{PATH}"
    told = notices if model.webhook_port else ""
    return "ok", f"turns that ask for it are run at {host}; it was not asked{told}"


def _approvals(settings: Settings) -> tuple[Grade, str]:
    from callgate.approvers.entrance import check as check_entrance
    from callgate.approvers.entrance import described
    from callgate.policy.file import PolicyFile

    named = settings.approval.policy
    digest = PolicyFile(Path(named) if named else None).current().digest()
    policy = f"policy {named}, digest {digest[:8]}; " if named else ""
    if settings.approval.trusted:
        check_entrance(settings.approval)
        return "note", f"{policy}votes are believed unsigned: whoever can write to the log can approve"
    return "ok", f"{policy}votes need proof: {described(settings.approval)}"
