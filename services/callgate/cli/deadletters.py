"""`callgate deadletters`: what services gave up, and giving it another try.

A redriven record is the raw record again, in the partition that it came from, with two headers of ours more: how often
it has been redriven, and from which dead letter. The second is how a repeat of the command knows what was done.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from callgate.cli.opening import json_option, log_option, on_log
from callgate.cli.printing import as_json, table
from callgate.cli.wording import compact, moment, visible
from callgate.events import topics
from callgate.failures import BadInput

if TYPE_CHECKING:
    from callgate.clock import Clock
    from callgate.log.port import Log
    from callgate.worker.deadletters import DeadLetter

COUNT = "callgate_redrive_count"
"""Header: how often the record has been given another try, this one included."""

SOURCE = "callgate_redriven_from"
"""Header: `partition/offset` of the dead letter that was redriven."""

_VALUE_SHOWN = 4000


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter with its place and what became of it."""

    partition: int
    offset: int
    dead: DeadLetter
    redriven: bool

    @property
    def place(self) -> str:
        """What people name it by."""
        return f"{self.partition}/{self.offset}"

    @property
    def origin(self) -> str:
        """Where the record came from."""
        return f"{self.dead.topic}/{self.dead.partition}/{self.dead.offset}"

    @property
    def tries(self) -> int:
        """How often it had been redriven before it died this time."""
        count = dict(self.dead.headers).get(COUNT, b"0")
        return int(count) if count.isdigit() else 0


@click.group()
def deadletters() -> None:
    """See what was given up, and give it another try."""


@deadletters.command("list")
@log_option
@json_option
@click.option("--service", help="Only what this service gave up.")
@click.option("--open", "open_", is_flag=True, help="Only what was not redriven yet.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
def list_(address: str | None, json_: bool, service: str | None, open_: bool, limit: int) -> None:  # noqa: FBT001 - flags
    """The newest dead letters, each with the place by which `show` and `redrive` know it."""
    letters = [
        letter
        for letter in on_log(address, _all)
        if service in {None, letter.dead.service} and not (open_ and letter.redriven)
    ]
    newest = sorted(letters, key=lambda letter: letter.dead.died_at, reverse=True)[:limit]
    if json_:
        as_json({"deadletters": [_shown(letter) for letter in newest], "total": len(letters)})
        return
    table(
        ("place", "died", "service", "origin", "about", "tries", "redriven", "reason"),
        [_row(letter) for letter in newest],
        empty="No dead letters.",
    )
    if newest:
        click.echo(f"\n{len(newest)} of {len(letters)} shown. Mend the cause, then: callgate deadletters redrive PLACE")


@deadletters.command()
@click.argument("place")
@log_option
@json_option
def show(place: str, address: str | None, json_: bool) -> None:  # noqa: FBT001 - a flag
    """One dead letter, with its raw value. PLACE is as in the list: partition/offset.

    The value is shown as it is, unmasked: what can't be read can't be looked through.
    """
    (letter,) = _named(on_log(address, _all), (place,))
    if json_:
        value = letter.dead.value
        raw = None if value is None else base64.b64encode(value).decode()
        headers = [[name, content.decode(errors="replace")] for name, content in letter.dead.headers]
        as_json({**_shown(letter), "headers": headers, "value_base64": raw})
        return
    for name, text in _shown(letter).items():
        click.echo(visible(f"{name:10} {moment(text) if name == 'died_at' else text}"))
    for name, content in letter.dead.headers:
        click.echo(visible(f"{'header':10} {name}: {content.decode(errors='backslashreplace')}"))
    value = letter.dead.value or b""
    click.echo(f"{'value':10} {compact(value.decode(errors='backslashreplace'), _VALUE_SHOWN)}")


@deadletters.command()
@click.argument("places", nargs=-1, metavar="PLACE…")
@log_option
@json_option
@click.option("--all", "all_", is_flag=True, help="Everything that was not redriven yet.")
@click.option("--service", help="With --all: only what this service gave up.")
@click.option("--again", is_flag=True, help="Also what was redriven before.")
def redrive(
    places: tuple[str, ...],
    address: str | None,
    json_: bool,  # noqa: FBT001 - a flag
    all_: bool,  # noqa: FBT001 - a flag
    service: str | None,
    again: bool,  # noqa: FBT001 - a flag
) -> None:
    """Send records again to where they came from. Everyone tolerates repeats, so a redrive too many does no harm."""
    if all_ == bool(places):
        raise BadInput("PLACE", "is needed, or --all", "Give places as in `callgate deadletters list`, or --all")

    async def work(log: Log, clock: Clock) -> list[dict[str, Any]]:
        letters = await _all(log, clock)
        if places:
            wanted = _named(letters, places)
        else:
            wanted = [each for each in letters if service in {None, each.dead.service} and (again or not each.redriven)]
        return [await _redrive(log, clock, letter, again=again) for letter in wanted]

    results = on_log(address, work)
    refused = [each for each in results if not each["redriven"]]
    if json_:
        as_json(results)
    else:
        for each in results:
            click.echo(visible(f"{each['place']}: {each['said']}"), err=not each["redriven"])
        if not results:
            click.echo("Nothing to redrive.")
    raise SystemExit(1 if refused else 0)


async def _redrive(log: Log, clock: Clock, letter: Letter, *, again: bool) -> dict[str, Any]:
    from callgate.log.port import Outgoing

    dead, refusal = letter.dead, None
    if letter.redriven and not again:
        refusal = "was redriven before; give --again to do it once more"
    elif clock.now() - dead.timestamp > topics.IDENTITY_WINDOW:
        # Claims and results are forgotten by then, so a second effect could not be prevented.
        refusal = f"is older than the identity window of {topics.IDENTITY_WINDOW / topics.DAY:.0f} days"
    elif dead.topic not in topics.BY_NAME or not 0 <= dead.partition < log.partitions:
        refusal = f"comes from {letter.origin}, which is no place of this log"
    if refusal is not None:
        return {"place": letter.place, "redriven": False, "said": refusal}
    kept = tuple((name, content) for name, content in dead.headers if name not in {COUNT, SOURCE})
    headers = (*kept, (COUNT, str(letter.tries + 1).encode()), (SOURCE, letter.place.encode()))
    (position,) = await log.publish([Outgoing(dead.topic, dead.partition, dead.key, dead.value, headers)])
    to = f"{position.topic}/{position.partition}/{position.offset}"
    return {"place": letter.place, "redriven": True, "to": to, "said": f"sent again as {to}"}


async def _all(log: Log, _: Clock) -> list[Letter]:
    from callgate.worker.deadletters import read

    found = []
    for partition in range(log.partitions):
        async for record in log.scan(topics.DEADLETTERS.name, partition):
            dead = read(record)
            if dead is not None:
                found.append((record, dead))
    done = await _redriven(log, [dead for _, dead in found])
    return [
        Letter(record.partition, record.offset, dead, f"{record.partition}/{record.offset}" in done)
        for record, dead in found
    ]


async def _redriven(log: Log, letters: Sequence[DeadLetter]) -> frozenset[str]:
    """The places that some record on the log says it was redriven from: read only behind the letters' origins."""
    starts: dict[tuple[str, int], int] = {}
    for dead in letters:
        if dead.topic in topics.BY_NAME and 0 <= dead.partition < log.partitions:
            origin = (dead.topic, dead.partition)
            starts[origin] = min(starts.get(origin, dead.offset), dead.offset)
    done: set[str] = set()
    for (topic, partition), start in starts.items():
        async for record in log.scan(topic, partition, start):
            done.update(content.decode(errors="replace") for name, content in record.headers if name == SOURCE)
    return frozenset(done)


def _named(letters: Sequence[Letter], places: Sequence[str]) -> list[Letter]:
    known = {letter.place: letter for letter in letters}
    for place in places:
        if place not in known:
            raise BadInput("PLACE", f"{place!r} is no dead letter", "`callgate deadletters list` shows their places")
    return [known[place] for place in dict.fromkeys(places)]


def _row(letter: Letter) -> tuple[str, ...]:
    dead = letter.dead
    return (
        letter.place,
        moment(dead.died_at),
        dead.service,
        letter.origin,
        dead.subject,
        str(letter.tries),
        "yes" if letter.redriven else "no",
        dead.reason,
    )


def _shown(letter: Letter) -> dict[str, Any]:
    dead = letter.dead
    return {
        "place": letter.place,
        "reason": dead.reason,
        "service": dead.service,
        "origin": letter.origin,
        "about": dead.subject,
        "attempts": dead.attempts,
        "tries": letter.tries,
        "redriven": letter.redriven,
        "died_at": dead.died_at,
    }
