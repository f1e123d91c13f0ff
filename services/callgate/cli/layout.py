"""The topics of a log on Kafka, as the command line lays them out and looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from callgate.cli.opening import Place
from callgate.cli.play.custody import GROUPS, OPTIONAL_GROUPS
from callgate.failures import BadInput
from callgate.log.address import bootstrap_of
from callgate.log.kafka import cluster
from callgate.log.kafka.connection import client_options
from callgate.log.kafka.layout import Change, Finding, desired
from callgate.log.kafka.names import Names


@dataclass(frozen=True, slots=True)
class Laid:
    """What a layout came to."""

    partitions: int
    topics: int
    changes: Sequence[Change]


async def lay_out(
    place: Place, *, partitions: int | None = None, replicas: int | None = None, dry_run: bool = False
) -> Laid:
    """Lay the topics out, with `partitions` where they were asked for; else with those that the log has already."""
    options, names = _connection(place)
    n = partitions or await cluster.known_partitions(options, names) or place.topic.partitions
    copies = place.topic.replicas if replicas is None else replicas
    if copies and place.topic.min_insync > copies:
        raise BadInput(
            "CALLGATE_TOPIC_MIN_INSYNC",
            f"{place.topic.min_insync} is more than the {copies} copies that there will be",
            "Nothing could be written: take one fewer than there are copies",
        )
    wanted = desired(replace(place.topic, partitions=n, replicas=copies), (*GROUPS, *OPTIONAL_GROUPS))
    return Laid(n, len(wanted), await cluster.apply(options, names, wanted, dry_run=dry_run))


async def look_over(place: Place) -> tuple[int, tuple[Finding, ...]]:
    """N, and everything on the cluster that is not as it should be. Changes nothing."""
    options, names = _connection(place)
    n = await cluster.known_partitions(options, names) or place.topic.partitions
    wanted = desired(replace(place.topic, partitions=n), (*GROUPS, *OPTIONAL_GROUPS))
    return n, await cluster.survey(options, names, wanted, kafka=place.kafka)


def _connection(place: Place) -> tuple[dict[str, object], Names]:
    return client_options(bootstrap_of(place.address), place.kafka), Names(place.topic.prefix)
