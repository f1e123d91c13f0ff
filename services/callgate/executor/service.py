"""The executor's wiring."""

from __future__ import annotations

from callgate.events import topics
from callgate.executor.handler import ExecutionHandler
from callgate.executor.runner import Runner
from callgate.tools.toolbox import Toolbox
from callgate.worker.host import Host
from callgate.worker.worker import Job


def build(host: Host, toolbox: Toolbox) -> tuple[Job, ...]:
    """The executor's one job: decisions at home, and the places where effects are claimed."""
    runner = Runner(toolbox, host.settings.executor, lambda: host.control.switches, host.metrics)
    return (
        Job(
            service="executor",
            group="executor",
            topics=(topics.DECIDED, topics.EFFECTS),
            handler=ExecutionHandler(runner, host.metrics),
            ready=lambda: None if host.control.ready else "the switches can't be read",
        ),
    )
