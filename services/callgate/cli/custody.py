"""What lies aside: records that a service has parked, and dead letters, as far as they are about one action."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from callgate.cli.play.custody import GROUPS, OPTIONAL_GROUPS
from callgate.cli.wording import moment
from callgate.events import topics
from callgate.log.port import Log
from callgate.worker import deadletters, parking


async def parked_places(log: Log, action: str) -> list[str]:
    """A sentence for each parked record about an action: who has put it aside, and until when."""
    found: list[str] = []
    for group in (*GROUPS, *OPTIONAL_GROUPS):
        async for _, key, value in log.tables(group):
            if not key.startswith(parking.PREFIX):
                continue
            parked = parking.decode(value)
            if action.encode() in (parked.value or b""):
                place = f"{parked.topic}/{parked.partition}/{parked.offset}"
                tried = f"tried {parked.attempt} times" if parked.attempt else "not tried yet"
                until = moment(parked.not_before) if parked.not_before else "those before it are done"
                found.append(f"parked by the {group}: {place}, {tried}, waits until {until}")
    return found


async def buried(log: Log, about: AbstractSet[str]) -> list[str]:
    """A sentence for each dead letter about one of these ids."""
    found: list[str] = []
    for partition in range(log.partitions):
        async for record in log.scan(topics.DEADLETTERS.name, partition):
            letter = deadletters.read(record)
            if letter is not None and letter.subject in about:
                origin = f"{letter.topic}/{letter.partition}/{letter.offset}"
                place = f"{record.partition}/{record.offset}"
                found.append(f"dead letter {place} of the {letter.service}: {origin}, {letter.reason}")
    return found
