"""The proposer's wiring."""

from __future__ import annotations

from callgate.events import topics
from callgate.proposer.handler import ProposerHandler
from callgate.tools.toolbox import Toolbox
from callgate.worker.host import Host
from callgate.worker.worker import Job


def build(host: Host, toolbox: Toolbox) -> tuple[Job, ...]:
    """The proposer's one job. It reads decisions only to tell agents which calls wait for a person."""
    return (
        Job(
            service="proposer",
            group="proposer",
            topics=(topics.TURNS, topics.DECIDED, topics.FINISHED),
            handler=ProposerHandler(toolbox, host.settings.proposer, host.metrics),
        ),
    )
