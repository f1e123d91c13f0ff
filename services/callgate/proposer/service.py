"""The proposer's wiring."""

from __future__ import annotations

from collections.abc import Callable

from callgate.events import topics
from callgate.proposer.asking import Model
from callgate.proposer.conversing import Conversing
from callgate.proposer.handler import ProposerHandler
from callgate.proposer.proposing import Proposals
from callgate.tools.toolbox import Toolbox
from callgate.worker.host import Host
from callgate.worker.worker import Job


def build(host: Host, toolbox: Toolbox, model: Model | None = None) -> tuple[Job, ...]:
    """The proposer's one job. It reads decisions only to tell agents which calls wait for a person.

    Without a `model` turns that ask for it are refused. The service is unready while the model refuses the key.
    """

    def converse(tell: Callable[[Proposals], None]) -> Conversing:
        assert model is not None
        return Conversing(
            model,
            toolbox,
            host.settings,
            host.metrics,
            log=host.log,
            switches=lambda: host.control.switches,
            tell=tell,
        )

    return (
        Job(
            service="proposer",
            group="proposer",
            topics=(topics.TURNS, topics.DECIDED, topics.FINISHED),
            handler=ProposerHandler(
                toolbox, host.settings.proposer, host.metrics, converse if model is not None else None
            ),
            ready=lambda: model.refused if model is not None else None,
        ),
    )
