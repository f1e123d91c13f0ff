"""The composition edge: the one place that opens the edges of a process and puts services between them.

A process hosts any number of services on one log. It ends when it is told to, or with the first service that fails: a
process that goes on without one of its services would look alive and do half its work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import structlog

from callgate.clock import Clock
from callgate.control.view import ControlView
from callgate.failures import BadInput
from callgate.log.port import Log
from callgate.settings import Settings
from callgate.telemetry import probes
from callgate.telemetry.health import Health, together
from callgate.telemetry.metrics import Metrics
from callgate.tools.toolbox import Toolbox
from callgate.worker.host import Host
from callgate.worker.worker import Job, Worker

if TYPE_CHECKING:
    from callgate.proposer.openai_model import OpenaiModel

Service = Literal["proposer", "evaluator", "approvals", "executor", "reporter", "notifier"]

SERVICES: tuple[Service, ...] = tuple(service for service in get_args(Service) if service != "notifier")
"""The five without which no action comes to its end."""


def all_services(settings: Settings) -> tuple[Service, ...]:
    """What "all" means under these settings: the notifier only where there is somebody to tell."""
    from callgate.notifier.service import configured

    return (*SERVICES, "notifier") if configured(settings.notify) else SERVICES


NEEDS_TOOLS: frozenset[Service] = frozenset({"proposer", "executor"})
"""The services that can do nothing without user code."""

TAKES_TOOLS: frozenset[Service] = NEEDS_TOOLS | {"approvals"}
"""Those that import it where it is given: without it people can't edit calls."""

NEEDS_BIGHUB: frozenset[Service] = frozenset({"evaluator", "reporter"})

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hosted:
    """Services that run in this process."""

    host: Host
    workers: tuple[Worker, ...]
    running: asyncio.Task[None]
    """Ends with the first failure of any service; until then it runs."""
    probes: str | None
    """Base URL of the probes, if there are any."""

    def health(self) -> Health:
        """All services' health as one."""
        return _health(self.workers)


@asynccontextmanager
async def hosted(
    settings: Settings, log: Log, clock: Clock, services: Sequence[Service], toolbox: Toolbox | None
) -> AsyncIterator[Hosted]:
    """Run services until the context ends, then drain them. Raises BadInput for settings that can't be used.

    The log stays the caller's to close.
    """
    check_means(settings, services, toolbox)
    async with AsyncExitStack() as stack:
        metrics = Metrics(settings.telemetry)
        control = ControlView(log)
        await control.start()
        stack.push_async_callback(control.close)
        host = Host(log=log, clock=clock, settings=settings, metrics=metrics, control=control)
        jobs = await _jobs(host, services, toolbox, stack)
        workers = tuple(
            Worker(
                log,
                job,
                settings=settings.worker,
                clock=clock,
                metrics=metrics,
                epoch=lambda: control.switches.epoch,
            )
            for job in jobs
        )
        where = None
        if settings.telemetry.port:
            serving = probes.serve(settings.telemetry.host, settings.telemetry.port, metrics, lambda: _health(workers))
            where = await stack.enter_async_context(serving)
        stop = asyncio.Event()
        running = asyncio.create_task(_run_all(workers, stop))
        try:
            yield Hosted(host, workers, running, where)
        finally:
            stop.set()
            await asyncio.wait((running,))
        await running


def _health(workers: Sequence[Worker]) -> Health:
    return together(tuple(worker.health() for worker in workers))


def check_means(settings: Settings, services: Sequence[Service], toolbox: Toolbox | None) -> None:
    """Raise BadInput where a service lacks what it can't do without. Asked before anything is opened or made."""
    if NEEDS_BIGHUB & set(services) and not settings.bighub.key:
        raise BadInput(
            "CALLGATE_BIGHUB_KEY",
            "is not set, and without it nothing can be decided",
            "Set it, or CALLGATE_BIGHUB_KEY_FILE; to try things out without BIGHUB use `callgate dev`",
        )
    if "proposer" in services:
        from callgate.proposer.announcing import check as check_announcing

        check_announcing(settings.model)
    if "notifier" in services:
        from callgate.notifier.service import check as check_notices

        check_notices(settings.notify)
    if NEEDS_TOOLS & set(services) and toolbox is None:
        raise BadInput(
            "--tools", "is missing", "Name your toolbox, like --tools my_tools:toolbox, or set CALLGATE_TOOLS"
        )
    if "approvals" in services:
        from callgate.approvers.entrance import check as check_votes

        check_votes(settings.approval)


async def _run_all(workers: Sequence[Worker], stop: asyncio.Event) -> None:
    tasks = [asyncio.create_task(worker.run(stop)) for worker in workers]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        stop.set()
        await asyncio.wait(tasks)
    failures = [failure for task in tasks if (failure := task.exception()) is not None]
    for further in failures[1:]:
        # One is raised; every one is said, or whoever mends the first would learn of the next only then.
        _log.error("another service has failed as well", reason=str(further), failure=type(further).__name__)
    if failures:
        raise failures[0]


async def _jobs(
    host: Host, services: Sequence[Service], toolbox: Toolbox | None, stack: AsyncExitStack
) -> tuple[Job, ...]:
    bighub = None
    if asking := NEEDS_BIGHUB & set(services):
        from callgate.bighub.client import Bighub

        # Each service's worker bounds what it has in flight; a smaller pool would only hide that in a queue.
        connections = len(asking) * host.settings.worker.concurrency
        bighub = await stack.enter_async_context(Bighub(host.settings.bighub, connections=connections))
    jobs: list[Job] = []
    for service in services:
        match service:
            case "proposer":
                from callgate.proposer import announcing
                from callgate.proposer import service as proposer

                assert toolbox is not None
                model = await _model(host, stack)
                if model is not None:
                    await stack.enter_async_context(announcing.taking(host, model))
                jobs.extend(proposer.build(host, toolbox, model))
            case "evaluator":
                from callgate.evaluator import service as evaluator

                assert bighub is not None
                jobs.extend(evaluator.build(host, bighub))
            case "approvals":
                from callgate.approvals import service as approvals

                jobs.extend(approvals.build(host, toolbox))
            case "executor":
                from callgate.executor import service as executor

                assert toolbox is not None
                jobs.extend(executor.build(host, toolbox))
            case "reporter":
                from callgate.reporter import service as reporter

                assert bighub is not None
                jobs.extend(reporter.build(host, bighub))
            case "notifier":
                from callgate.notifier import service as notifier

                channels = await stack.enter_async_context(notifier.opened(host.settings.notify))
                jobs.extend(notifier.build(host, channels))
    return tuple(jobs)


async def _model(host: Host, stack: AsyncExitStack) -> OpenaiModel | None:
    """The model, where one is set up. Its SDK takes half a second to import, which nobody else should wait for."""
    if not host.settings.model.key:
        return None
    from callgate.proposer.openai_model import OpenaiModel

    return await stack.enter_async_context(OpenaiModel(host.settings.model, host.clock))
