"""The demonstration: each of its turns ends as its title says, and no promise is broken."""

from __future__ import annotations

import secrets
from collections import defaultdict
from pathlib import Path

from tests.support.log_engines import clear

from callgate.cli.checker.facts import gather
from callgate.cli.demo import script
from callgate.cli.demo.command import run_demo
from callgate.cli.opening import Place, open_as_it_is, place_of
from callgate.clock import SystemClock
from callgate.settings import KafkaSettings, TopicSettings

ENDS = {
    "support-1": ["executed"],
    "support-1b": ["executed"],
    "support-2": ["not_executed"],
    "support-3": ["expired"],
    "support-4": ["needs_context"],
    "support-5": ["tool_error"],
    "support-6": ["expired"],
    "payments-1": ["executed", "refused", "refused", "refused", "refused"],
    "payments-2": ["executed"],
    "payments-3": ["expired"],
    "payments-4": ["expired"],
    "ops-1": ["executed"],
    "ops-2": ["blocked"],
    "ops-3": ["rejected"],
    "ops-4": ["in_doubt"],
    "ops-5": ["executed", "executed", "executed"],
    "ops-6": ["refused"],
    "ops-7": ["refused"],
    "ops-8": ["executed"],
    "ops-9": ["executed"],
    "ops-10": ["executed"],
    "support-7": ["responded"],
    "ops-11": ["executed"],
    "ops-12": ["executed"],
    "chat-1": ["executed", "executed"],
    "chat-2": ["blocked"],
    "chat-3": [],
}
"""How the calls of each session end."""


async def played(place: Place, folder: Path) -> dict[str, list[str]]:
    """Play the demo on a fresh log; how the calls of each session have ended."""
    report = await run_demo(folder / "report.json", place)
    assert (report.violations, report.unfinished) == ((), 0)
    log = await open_as_it_is(place, SystemClock())
    facts = await gather(log, Path(report.paths["witness"]))
    await log.close()
    ends: dict[str, list[str]] = defaultdict(list, {turn.session: [] for turn in script.turns()})
    for action in facts.actions.values():
        session = action.proposed[0].ref.session
        ends[session].extend(event.status for _, event in action.ends)
        ends[session].extend("in_doubt" for _ in action.doubts if not action.ends)
    return {session: sorted(statuses) for session, statuses in ends.items()}


async def test_every_turn_of_the_demo_ends_as_it_says(tmp_path: Path) -> None:
    """The demo must end each call as its script promises, in any order of the services, with nothing left over."""
    assert await played(place_of(f"sqlite:///{tmp_path}/demo.db"), tmp_path) == ENDS


async def test_every_turn_of_the_demo_ends_alike_on_kafka(kafka: str, tmp_path: Path) -> None:
    """The same turns must have the same ends on a real broker, whoever is asked in them."""
    topic = TopicSettings(prefix=f"t{secrets.token_hex(6)}.", partitions=4, replicas=1)
    place = Place(f"kafka://{kafka}", KafkaSettings(), topic)
    try:
        assert await played(place, tmp_path) == ENDS
    finally:
        await clear(place.address, topic.prefix)
