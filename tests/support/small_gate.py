"""The whole gate on an embedded log with tools of the test's own, a sandbox that can be looked into, and no people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.support.whole import settings_for

from callgate.cli.hosting import SERVICES, hosted
from callgate.client.asking import Caller
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.events import topics
from callgate.events.codec import decode
from callgate.events.event import Event
from callgate.log.address import open_log
from callgate.log.port import Log
from callgate.sandbox.faults import parse_faults
from callgate.sandbox.model.script import parse_script
from callgate.sandbox.policy import parse_policy
from callgate.sandbox.service import Sandbox
from callgate.tools.toolbox import Toolbox

CALLER = Caller(tenant="acme", agent="bot", approver="zoe")
ALLOW = '[default]\ndecision = "allow"\n'
REVIEW = '[default]\ndecision = "review"\n'


@dataclass(frozen=True, slots=True)
class SmallGate:
    """A running gate."""

    log: Log
    client: Client
    sandbox: Sandbox

    async def events(self, topic: topics.Topic) -> list[Event]:
        """Everything on a topic."""
        return [
            decode(record.value, record.headers).event
            for partition in range(self.log.partitions)
            async for record in self.log.scan(topic.name, partition)
        ]

    def asked(self) -> list[dict[str, Any]]:
        """What BIGHUB was asked."""
        return [dict(body) for _, body, _ in self.sandbox.store.requests()]

    def outcomes(self) -> list[tuple[str, str]]:
        """Request id and status of each outcome that BIGHUB has."""
        return sorted((str(each["request_id"]), str(each["status"])) for each in self.sandbox.store.outcomes())


def counting(ran: list[int], **options: Any) -> Toolbox:
    """A tool `act` that leaves its number in `ran`, declared with these options."""
    box = Toolbox()

    @box.tool(name="act", **options)
    def act(n: int) -> int:
        ran.append(n)
        return n

    return box


@asynccontextmanager
async def small_gate(
    path: Path,
    toolbox: Toolbox,
    *,
    policy: str = ALLOW,
    script: str = "",
    faults: str = "",
    services: Sequence[Any] = SERVICES,
    **approval: Any,
) -> AsyncIterator[SmallGate]:
    """All services in this process; `approval` are changes to how people are asked."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        box = Sandbox(policy=parse_policy(policy), script=parse_script(script), faults=parse_faults(faults))
        sandbox = await stack.enter_async_context(box)
        log = await open_log(f"sqlite:///{path / 'log.db'}", clock=clock)
        stack.push_async_callback(log.close)
        settings = settings_for(sandbox.url, 900.0)
        settings = replace(settings, approval=replace(settings.approval, **approval))
        await stack.enter_async_context(hosted(settings, log, clock, services, toolbox))
        client = await stack.enter_async_context(Client(log, clock, caller=CALLER))
        yield SmallGate(log, client, sandbox)


async def until(so: Callable[[], bool], seconds: float = 20.0) -> None:
    """Until something is so, which must happen."""
    async with asyncio.timeout(seconds):
        while not so():  # noqa: ASYNC110 - the sandbox tells nobody, it is looked at
            await asyncio.sleep(0.02)


def statuses(response: dict[str, Any]) -> list[str]:
    """How the calls of a response ended, in their order."""
    return [event["status"] for event in response["execution"]["events"]]
