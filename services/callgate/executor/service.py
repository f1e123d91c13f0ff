"""The executor's wiring."""

from __future__ import annotations

from pathlib import Path

from callgate.events import topics
from callgate.executor.handler import ExecutionHandler
from callgate.executor.questions import Questions
from callgate.executor.runner import Runner
from callgate.policy.file import PolicyFile
from callgate.tools.toolbox import Toolbox
from callgate.worker.host import Host
from callgate.worker.worker import Job


def build(host: Host, toolbox: Toolbox) -> tuple[Job, ...]:
    """The executor's one job: decisions at home, and the places where effects are claimed.

    Raises BadInput where the approval policy can't be used: it says who is asked of what is in doubt.
    """
    approval = host.settings.approval
    policy = PolicyFile(Path(approval.policy) if approval.policy else None)
    runner = Runner(
        toolbox,
        host.settings.executor,
        lambda: host.control.switches,
        host.metrics,
        Questions(policy.current, approval.settle_seconds),
    )
    return (
        Job(
            service="executor",
            group="executor",
            topics=(topics.DECIDED, topics.EFFECTS),
            handler=ExecutionHandler(runner, host.metrics),
            ready=lambda: None if host.control.ready else "the switches can't be read",
        ),
    )
