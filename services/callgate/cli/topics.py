"""`callgate topics`: what is on the log, how far the services have come, and laying the topics out on Kafka."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from callgate.cli.opening import address_of, json_option, log_option, on_log, place_of
from callgate.cli.printing import as_json, table
from callgate.cli.wording import duration

if TYPE_CHECKING:
    from callgate.clock import Clock
    from callgate.log.port import Log, Progress

_LOOKED_AT = 100
"""So many offsets are looked at; beyond, commits that stand among the records make no difference to what is said."""


@click.group()
def topics() -> None:
    """Look at the log's topics, and lay them out on Kafka."""


@topics.command()
@log_option
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option(
    "--partitions", type=click.IntRange(1, 1024), help="N of a new log; default: CALLGATE_TOPIC_PARTITIONS, 8."
)
@click.option(
    "--replicas", type=click.IntRange(0, 9), help="Copies of each new topic; default: CALLGATE_TOPIC_REPLICAS."
)
@json_option
def apply(
    address: str | None,
    dry_run: bool,  # noqa: FBT001 - a flag
    partitions: int | None,
    replicas: int | None,
    json_: bool,  # noqa: FBT001 - a flag
) -> None:
    """Make the topics on Kafka, and set what of them is not as it should be. Never shrinks or deletes anything."""
    from callgate.telemetry import logs

    logs.configure("error")
    place = place_of(address_of(address))
    if not place.on_kafka:
        _show_applied(place.address, [], json_=json_, said="an embedded log lays itself out: nothing to do")
        return
    from callgate.cli.layout import lay_out

    # A number that somebody has said is meant, and refused where it is not the log's; our own default is not.
    asked = partitions or (place.topic.partitions if "CALLGATE_TOPIC_PARTITIONS" in os.environ else None)
    laid = asyncio.run(lay_out(place, partitions=asked, replicas=replicas, dry_run=dry_run))
    done = "would change" if dry_run else "changed"
    said = f"{len(laid.changes)} {done}" if laid.changes else "all as they should be, nothing to do"
    said = f"{laid.topics} topics, N is {laid.partitions}: {said}"
    _show_applied(place.address, [str(change) for change in laid.changes], json_=json_, said=said)


@topics.command("list")
@log_option
@json_option
def list_(address: str | None, json_: bool) -> None:  # noqa: FBT001 - a flag
    """Every topic: how much was written, who reads it, and how many records its readers have not done."""
    n, rows = on_log(address, _look)
    if json_:
        as_json({"partitions": n, "topics": rows})
        return
    table(
        ("topic", "written", "not done", "kept", "written by", "read by"),
        [_row(each) for each in rows],
        empty="No topics.",
    )
    click.echo(f"\n{n} partitions. `written` counts offsets; old records may be gone.")


def _show_applied(address: str, changes: list[str], *, json_: bool, said: str) -> None:
    if json_:
        as_json({"log": address, "changes": changes})
        return
    for change in changes:
        click.echo(change)
    click.echo(said)


async def _look(log: Log, _: Clock) -> tuple[int, list[dict[str, Any]]]:
    from callgate.cli.play.custody import GROUPS, OPTIONAL_GROUPS
    from callgate.events.topics import CATALOGUE

    progress = {group: await log.progress(group) for group in (*GROUPS, *OPTIONAL_GROUPS)}
    # Nobody waits for a service that was never there.
    groups = [*GROUPS, *(group for group in OPTIONAL_GROUPS if progress[group])]
    rows: list[dict[str, Any]] = []
    for topic in CATALOGUE:
        ends = await log.ends(topic.name)
        lag = {
            group: sum(
                [
                    await _not_done(log, topic.name, number, progress[group].get((topic.name, number)), end)
                    for number, end in ends.items()
                ]
            )
            for group in groups
            if group in topic.read_by and _reads(progress[group], topic.name)
        }
        rows.append(
            {
                "name": topic.name,
                "entrance": topic.entrance,
                "compacted": topic.compacted,
                "retention_seconds": None if topic.compacted else topic.retention_seconds,
                "ends": {str(number): end for number, end in ends.items()},
                "lag": lag,
                "written_by": list(topic.written_by),
                "read_by": list(topic.read_by),
            }
        )
    return log.partitions, rows


def _reads(progress: Mapping[tuple[str, int], Progress], topic: str) -> bool:
    """Whether a group reads a topic: one that has come to others and never to this one does not, in this version."""
    return not progress or any(name == topic for name, _ in progress)


async def _not_done(log: Log, topic: str, number: int, progress: Progress | None, end: int) -> int:
    """Records that a group has not done. Few offsets are looked at one by one: on Kafka some hold no record."""
    left = _left(progress, end)
    if progress is None or not 0 < left <= _LOOKED_AT:
        return left
    done = [range(start, stop) for start, stop in progress.done]
    found = [each.offset async for each in log.scan(topic, number, progress.next_offset)]
    return sum(1 for offset in found if offset < end and not any(offset in each for each in done))


def _left(progress: Progress | None, end: int) -> int:
    """Offsets before `end` that are not done."""
    if progress is None:
        return end
    done = sum(min(stop, end) - min(start, end) for start, stop in progress.done)
    return max(0, end - progress.next_offset - done)


def _row(topic: dict[str, Any]) -> tuple[str, ...]:
    lag = ", ".join(f"{group} {left}" for group, left in topic["lag"].items() if left)
    kept = "last per key" if topic["compacted"] else duration(topic["retention_seconds"])
    return (
        topic["name"] + (" (entrance)" if topic["entrance"] else ""),
        str(sum(topic["ends"].values())),
        lag or ("0" if topic["lag"] else "-"),
        kept,
        ", ".join(topic["written_by"]),
        ", ".join(topic["read_by"]),
    )
