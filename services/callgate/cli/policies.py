"""`callgate approvals policy`: what the approval policy says, before anybody depends on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callgate.cli.opening import json_option
from callgate.cli.printing import as_json
from callgate.cli.wording import duration, visible
from callgate.failures import BadInput

if TYPE_CHECKING:
    from callgate.policy.choosing import Choice
    from callgate.policy.document import Policy, Terms

_file = click.argument("file", required=False, type=click.Path(path_type=Path))


@click.group()
def policy() -> None:
    """Look into the approval policy. FILE is by default that of CALLGATE_APPROVAL_POLICY."""


@policy.command()
@_file
@json_option
def check(file: Path | None, json_: bool) -> None:  # noqa: FBT001 - a flag
    """Hold a policy file to its form; exit 2 and name the field where it can't be used."""
    path, found = _read(file)
    if json_:
        as_json({"file": str(path), "digest": found.digest(), "rules": [rule.name for rule in found.rules]})
        return
    click.echo(visible(f"{path} can be used: {len(found.rules)} rules, {len(found.groups)} groups."))
    click.echo(f"digest {found.digest()}")


@policy.command()
@_file
@json_option
@click.option("--tool", default="", help="The tool's name.")
@click.option("--domain", default="", help="The tool's domain.")
@click.option("--tenant", default="", help="Whose action it is.")
@click.option("--agent", default="", help="Which agent asks.")
@click.option("--environment", default="", help="Where it would act.")
@click.option("--risk", default="", help="The tool's declared risk class.")
@click.option("--effect", type=click.Choice(["read", "idempotent", "verifiable", "unsafe"]), default="unsafe")
@click.option("--value", type=float, default=None, help="What is at stake; unknown unless given.")
@click.option("--risk-score", type=float, default=None, help="BIGHUB's score; unknown unless given.")
def explain(file: Path | None, json_: bool, **given: Any) -> None:  # noqa: FBT001 - a flag
    """Which rule would speak for such an action, why not those before it, and what it would take."""
    from callgate.policy.choosing import Facts, choose

    _, found = _read(file)
    choice = choose(found, Facts(**given))
    if json_:
        as_json(_shown(found, choice))
        return
    for name, why in choice.passed_over:
        click.echo(visible(f"{'passed over':12} {name}: {why}"))
    click.echo(visible(f"{'rule':12} {choice.rule or 'none matches: the default'}"))
    for label, text in _rows(found, choice.terms):
        click.echo(visible(f"{label:12} {text}"))


def _read(file: Path | None) -> tuple[Path, Policy]:
    from callgate.policy.file import read

    named = os.environ.get("CALLGATE_APPROVAL_POLICY")
    path = file or (Path(named) if named else None)
    if path is None:
        raise BadInput("FILE", "is missing, and CALLGATE_APPROVAL_POLICY is not set", "Name a policy file")
    return path, read(path)


def _rows(found: Policy, terms: Terms) -> list[tuple[str, str]]:
    people = ", ".join(found.people(terms)) or "whoever the entrance accepts"
    rows = [("quorum", str(max(terms.quorum, len(terms.one_from_each)))), ("approvers", people)]
    rows += [("one from", f"{group}: {', '.join(found.groups[group])}") for group in terms.one_from_each]
    rows.append(("requester", "may answer" if terms.requester_may_answer else "may not answer"))
    rows.append(("answers", ", ".join(terms.answers)))
    given = terms.deadline_seconds
    rows.append(("deadline", "CALLGATE_APPROVAL_DEADLINE_SECONDS" if given is None else duration(given)))
    if terms.reminders:
        rows.append(("reminders", ", ".join(_after(each) for each in terms.reminders)))
    for level in terms.escalation:
        rows.append(("escalation", f"after {duration(level.after_seconds)}: {', '.join(found.named(level.approvers))}"))
    return rows


def _after(reminder: float) -> str:
    return duration(reminder) if reminder >= 1 else f"at {reminder:.0%} of the deadline"


def _shown(found: Policy, choice: Choice) -> dict[str, Any]:
    from callgate.policy.document import plain

    return {
        "digest": found.digest(),
        "rule": choice.rule,
        "passed_over": [{"rule": name, "why": why} for name, why in choice.passed_over],
        "eligible": list(found.people(choice.terms)),
        **plain(choice.terms),
    }
