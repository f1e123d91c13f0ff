"""The whole gate in one process: every service, the sandbox, tools that leave a mark, and people who answer."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson
from tests.support.log_engines import SESSION_SECONDS, clear, lay_out

from callgate.cli.checker.facts import gather
from callgate.cli.checker.judge import Expected, Violation, judge
from callgate.cli.hosting import SERVICES, Hosted, hosted
from callgate.cli.play.recorded import witness_file
from callgate.client.client import Client
from callgate.clock import SystemClock
from callgate.events import ids, topics
from callgate.events.actions import ActionFinished, ActionInDoubt, ActionProposed
from callgate.events.approvals import ApprovalRequested, ApprovalVoted
from callgate.events.codec import decode
from callgate.events.event import Event
from callgate.events.turns import TurnCompleted, TurnOrigin
from callgate.log.address import open_log
from callgate.log.port import Log
from callgate.log.sqlite.hostile import Hostility
from callgate.sandbox.model.script import parse_script
from callgate.sandbox.policy import parse_policy
from callgate.sandbox.service import Sandbox
from callgate.settings import (
    ApprovalSettings,
    BighubSettings,
    ExecutorSettings,
    KafkaSettings,
    ModelSettings,
    Secret,
    Settings,
    TopicSettings,
    WorkerSettings,
)
from callgate.tools.toolbox import Call, Toolbox

DEADLINE_SECONDS = 2.0
TIMEOUT_SECONDS = 3.0
"""The tools answer at once. A claim whose lease was lost is in doubt only after it, as the tool might still run."""
POLICY = """
[default]
decision = "allow"

[[rule]]
action = "drop"
decision = "block"

[[rule]]
action = ["pay", "grant", "credit"]
decision = "review"

[[rule]]
action = "close"
decision = "needs_context"

[[rule]]
action = "restart"
decision = "constrain"
constraints = { max_percentage = 10 }
"""
ANSWERS: Mapping[str, Literal["approve", "reject"]] = {"pay": "approve", "transfer": "approve", "grant": "reject"}
"""What people say, by tool; nobody answers for `credit`."""


@dataclass(slots=True)
class Marks:
    """What the tools did; also a line for each effect at the witness, for the checker."""

    witness: Path
    effects: Counter[str] = field(default_factory=Counter)
    """Starts by action id."""
    running: int = 0
    most_running: int = 0
    """The most `together` calls that ran at once."""
    constraints: list[Mapping[str, Any]] = field(default_factory=list)

    def effect(self, action_id: str) -> None:
        """The tool has its effect."""
        self.effects[action_id] += 1
        with self.witness.open("ab") as lines:
            lines.write(orjson.dumps({"action_id": action_id, "pid": os.getpid()}) + b"\n")


def toolbox_of(marks: Marks) -> Toolbox:
    """A tool for every end."""
    box = Toolbox()

    def plain(name: str, **options: Any) -> None:
        def function(n: int, *, call: Call) -> int:
            marks.effect(call.action_id)
            return n

        box.tool(function, name=name, timeout_seconds=TIMEOUT_SECONDS, **options)

    for name in ("act", "drop", "pay", "grant", "credit", "close", "transfer"):
        plain(name)
    plain("refund", effect_key_from_args=lambda arguments: f"refund:{arguments['n']}")

    @box.tool(honours=("max_percentage",), timeout_seconds=TIMEOUT_SECONDS)
    def restart(n: int, *, call: Call) -> int:
        marks.effect(call.action_id)
        marks.constraints.append(call.constraints)
        return n

    @box.tool(timeout_seconds=TIMEOUT_SECONDS)
    def fail(n: int, *, call: Call) -> int:
        marks.effect(call.action_id)
        message = f"no {n} here"
        raise LookupError(message)

    @box.tool(timeout_seconds=0.3)
    async def hang(n: int, *, call: Call) -> int:
        marks.effect(call.action_id)
        await asyncio.sleep(60)
        return n

    @box.tool(parallel=True, timeout_seconds=TIMEOUT_SECONDS)
    async def together(n: int, *, call: Call) -> int:
        marks.effect(call.action_id)
        marks.running += 1
        marks.most_running = max(marks.most_running, marks.running)
        try:
            await asyncio.sleep(0.3)
        finally:
            marks.running -= 1
        return n

    return box


def message(*calls: tuple[str, Any]) -> dict[str, Any]:
    """An assistant message with these calls; arguments that are a text are sent as they are."""
    made = [
        {
            "id": f"c{position}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": given if isinstance(given, str) else orjson.dumps(given).decode(),
            },
        }
        for position, (name, given) in enumerate(calls)
    ]
    return {"role": "assistant", "content": None, "tool_calls": made}


@dataclass(frozen=True, slots=True)
class Whole:
    """A running gate."""

    log: Log
    client: Client
    services: Hosted
    marks: Marks
    expected: dict[str, Expected] = field(default_factory=dict)
    """What was submitted, as the checker must find it, by action id."""

    async def submit(self, session: str, *calls: tuple[str, Any], turn: str = "1") -> str:
        """Submit a turn of these calls; returns its key."""
        origin = TurnOrigin(tenant="acme", session=session, turn=turn, agent="agent")
        key = await self.client.record(origin, message(*calls))
        for position, (_, given) in enumerate(calls):
            output = orjson.dumps(given["n"]) if isinstance(given, dict) and "n" in given else None
            action = ids.action_id(key, 0, position, f"c{position}")
            self.expected.setdefault(action, Expected(key, position, f"c{position}", output))
        return key

    async def ask(self, session: str, said: object, *, rounds: int = 8, turn: str = "1", **options: Any) -> str:
        """Have the model run for a turn; returns its key. The sandbox's model calls what `said` tells it to."""
        origin = TurnOrigin(tenant="acme", session=session, turn=turn, agent="agent")
        pending = options.pop("pending", "wait")
        return await self.client.ask(
            origin, model="sandbox", input_=said, options=options, max_tool_rounds=rounds, pending=pending
        )

    async def violations(self) -> list[Violation]:
        """What the checker says of the log and the witness: it believes no service, and must find nothing."""
        return judge(await gather(self.log, self.marks.witness), self.expected)

    async def completed(self, key: str, seconds: float = 30.0) -> TurnCompleted:
        """The turn's end, which must come."""
        completed = await self.client.wait(key, seconds)
        assert completed is not None, f"{key} has not ended; {await self.ends(key)}"
        return completed

    async def statuses(self, key: str, seconds: float = 30.0) -> list[str]:
        """How the turn's calls ended, in their order, as the agent is told."""
        execution = orjson.loads(bytes((await self.completed(key, seconds)).execution))
        return [event["status"] for event in execution["events"]]

    async def events(self, topic: topics.Topic) -> list[Event]:
        """Everything on a topic."""
        return [
            decode(record.value, record.headers).event
            for partition in range(self.log.partitions)
            async for record in self.log.scan(topic.name, partition)
        ]

    async def actions(self, key: str) -> list[ActionProposed]:
        """The actions of a turn, in their order, each once."""
        proposed = {
            event.ref.id: event
            for event in await self.events(topics.PROPOSED)
            if isinstance(event, ActionProposed) and event.ref.turn_key == key
        }
        return sorted(proposed.values(), key=lambda action: action.ref.position)

    async def ends(self, key: str) -> list[tuple[int, str]]:
        """Every end and doubt of a turn's actions that stands on the log."""
        found = [
            (event.action.ref.position, event.status if isinstance(event, ActionFinished) else "in_doubt")
            for event in await self.events(topics.FINISHED)
            if isinstance(event, ActionFinished | ActionInDoubt) and event.action.ref.turn_key == key
        ]
        return sorted(found)


@asynccontextmanager
async def whole(
    path: Path,
    *,
    seed: int | None = None,
    services: Sequence[Any] = SERVICES,
    policy: str = POLICY,
    url: str | None = None,
    evaluator_seconds: float = 900.0,
    kafka: str | None = None,
    prefix: str = "",
    script: str = "",
    approval_policy: str = "",
) -> AsyncIterator[Whole]:
    """All services on a log, hostile where a seed is given, with people who answer by `ANSWERS`.

    They ask a sandbox of their own, unless `url` names one that is the test's to stop and start. The log is the file
    `path`, unless `kafka` names brokers: then it has the topics of that `prefix` there, which are laid out.
    """
    clock, marks = SystemClock(), Marks(witness_file(path))
    async with AsyncExitStack() as stack:
        if url is None:
            url = (
                await stack.enter_async_context(Sandbox(policy=parse_policy(policy), script=parse_script(script)))
            ).url
        hostile = None if seed is None else Hostility(seed=seed)
        address = f"sqlite:///{path}" if kafka is None else f"kafka://{kafka}"
        if kafka is not None:
            await lay_out(address, prefix)
        log = await open_log(
            address,
            clock=clock,
            hostile=hostile,
            kafka=KafkaSettings(session_seconds=SESSION_SECONDS),
            topic=TopicSettings(prefix=prefix),
        )
        stack.push_async_callback(log.close)
        settings = settings_for(url, evaluator_seconds, approval_policy)
        running = await stack.enter_async_context(hosted(settings, log, clock, services, toolbox_of(marks)))
        gate = Whole(log, Client(log, clock), running, marks)
        people = asyncio.create_task(_answer(gate))
        try:
            yield gate
        finally:
            people.cancel()
            with suppress(asyncio.CancelledError):
                await people


@asynccontextmanager
async def on_kafka(bootstrap: str, folder: Path, *, prefix: str = "", **options: Any) -> AsyncIterator[Whole]:
    """The same on a broker, on topics of its own that are gone afterwards; the folder holds the witness."""
    prefix = prefix or f"t{secrets.token_hex(6)}."
    try:
        async with whole(folder / "log.db", kafka=bootstrap, prefix=prefix, **options) as gate:
            yield gate
    finally:
        await clear(f"kafka://{bootstrap}", prefix)


def settings_for(url: str, evaluator_seconds: float, approval_policy: str = "") -> Settings:
    """Settings under which waiting takes seconds: short deadlines, horizons, retries and times aside."""
    return Settings(
        bighub=BighubSettings(url=url, key=Secret("any"), evaluator_seconds=evaluator_seconds),
        model=ModelSettings(
            url=f"{url}/v1",
            key=Secret("any"),
            patience_seconds=5,
            breaker_seconds=0.2,
            background_seconds=20,
            poll_seconds=0.1,
        ),
        executor=ExecutorSettings(start_seconds=1.0, skew_seconds=0.2),
        approval=ApprovalSettings(trusted=True, deadline_seconds=DEADLINE_SECONDS, policy=approval_policy),
        worker=WorkerSettings(
            retry_seconds=1.0, retry_first_seconds=0.05, retry_most_seconds=0.3, park_seconds=0.5, drain_seconds=5
        ),
    )


async def _answer(gate: Whole) -> None:
    follow = gate.log.follow(topics.BALLOTS.name, range(gate.log.partitions), {})
    async with aclosing(follow) as records:  # type: ignore[type-var]
        async for record in records:
            event = decode(record.value, record.headers).event
            if not isinstance(event, ApprovalRequested) or event.kind != "action":
                continue
            if answer := ANSWERS.get(event.action.ref.tool):
                vote = ApprovalVoted(
                    vote_id=f"v-{event.approval_id}",
                    approval_id=event.approval_id,
                    digest=event.action.ref.digest,
                    answer=answer,
                    approver="mia",
                )
                await gate.client.vote(vote)
