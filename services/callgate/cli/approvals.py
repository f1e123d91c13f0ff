"""`callgate approvals`: what people are asked, and answering it from a terminal.

A vote is only cast here. Whether it counts is decided by the tally, so a command that has voted waits for what the log
says came of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from callgate.cli.answering import COMMANDS, find
from callgate.cli.asked import print_question, row, shown
from callgate.cli.comparing import differences, last_such
from callgate.cli.needing import commands, so_far
from callgate.cli.opening import json_option, log_option, on_log
from callgate.cli.policies import policy
from callgate.cli.printing import as_json, table
from callgate.cli.views import Question, changed
from callgate.cli.votes import print_votes, tally_of, votes_of
from callgate.cli.watching import watch
from callgate.cli.wording import visible
from callgate.events import ids

if TYPE_CHECKING:
    from callgate.clock import Clock
    from callgate.log.port import Log


class Seen(NamedTuple):
    """What the log tells of one question."""

    question: Question
    votes: list[dict[str, Any]]
    now: float
    outdated: str | None
    """Why an answer would change nothing any more."""
    earlier: Question | None
    """The last question about the same target."""


@click.group()
def approvals() -> None:
    """See and answer what people are asked."""


@approvals.command("list")
@log_option
@json_option
@click.option("--tenant", help="Only this tenant's.")
@click.option("--all", "all_", is_flag=True, help="Also what has been answered or has expired.")
def list_(address: str | None, json_: bool, tenant: str | None, all_: bool) -> None:  # noqa: FBT001 - flags
    """What waits for an answer, by the time that is left."""

    async def look(log: Log, clock: Clock) -> tuple[list[Question], float]:
        from callgate.cli.reading import all_questions

        return list((await all_questions(log)).values()), clock.now()

    questions, now = on_log(address, look)
    listed = [
        each
        for each in sorted(questions, key=lambda each: each.request.deadline)
        if (all_ or each.resolved is None) and tenant in {None, each.request.action.ref.tenant}
    ]
    if json_:
        as_json([shown(each, now) for each in listed])
        return
    columns = ("id", "left", "who", "tool", "target", "arguments", "risk", "reason", "answer with")
    table(columns, [row(each, now) for each in listed], empty="Nothing waits for an answer.")
    if any(each.standing(now) == "open" for each in listed):
        click.echo("\n`callgate approvals show ID` says more, and every way to answer.")


@approvals.command()
@click.argument("approval", metavar="ID")
@log_option
@json_option
def show(approval: str, address: str | None, json_: bool) -> None:  # noqa: FBT001 - a flag
    """What exactly is asked, and what has been said. ID may be any unique beginning."""

    async def look(log: Log, clock: Clock) -> Seen:
        from callgate.cli.reading import all_questions, one_action

        question = await find(log, approval)
        life = await one_action(log, question.request.action.ref.id)
        votes = votes_of(question, await tally_of(log, question.request.approval_id))
        earlier = last_such(question, (await all_questions(log)).values())
        return Seen(question, votes, clock.now(), changed(question, life), earlier)

    question, votes, now, outdated, earlier = on_log(address, look)
    since: dict[str, Any] | None = None
    if earlier is not None:
        lines = differences(earlier.request.action, question.request.action)
        since = {"approval_id": earlier.request.approval_id, "standing": earlier.standing(now), "changed": lines}
    if json_:
        as_json({**shown(question, now), "outdated": outdated, "since": since, "votes": votes})
        return
    print_question(question, now)
    if since is not None:
        click.echo(f"{'since':10} {ids.short(since['approval_id'])}, the last about this target: {since['standing']}")
        for line in since["changed"] or ["nothing in the arguments"]:
            click.echo(f"{'changed':10} {visible(line)}")
    if outdated is not None and question.resolved is None:
        click.echo(f"{'outdated':10} {outdated}")
    print_votes(votes)
    if question.standing(now) == "open":
        if (progress := so_far(question.request, votes)) is not None:
            click.echo(visible(f"{'so far':10} {progress}"))
        for command in commands(question.request):
            click.echo(f"{'answer':10} {command}")


for _command in (*COMMANDS, watch, policy):
    approvals.add_command(_command)
