"""Everybody outside of Callgate: agents that submit turns and hear of them, and people who answer approvals."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import msgspec
from tests.chaos.plan import Plan, PlannedTurn

from callgate.clock import Clock
from callgate.events import topics
from callgate.events.approvals import ApprovalRequested, ApprovalVoted
from callgate.events.codec import Undecodable, decode, encode
from callgate.events.event import Event
from callgate.events.routing import address
from callgate.events.turns import ActionReply, TurnCompleted, TurnOrigin, TurnRecorded
from callgate.failures import TemporaryFailure
from callgate.log.port import CommitUnknown, Log, Outgoing, Record

AGENT = "chaos"
JUNK = 3
"""Records at the entrance that are no turns."""

_RETRY_SECONDS = 0.3


class Outside:
    """The outside world of one run."""

    def __init__(self, log: Log, clock: Clock, plan: Plan, seed: int, witness: Path) -> None:
        """`witness` is the file of effects, where people look what became of something in doubt."""
        self._witness = witness
        self._log = log
        self._clock = clock
        self._plan = plan
        self._all = plan.calls()
        self._turns = {turn.key: frozenset(call.action_id for call in turn.calls) for turn in plan.turns}
        self._chance = random.Random(f"outside {seed}")
        self._asked: set[str] = set()
        self._voting: set[asyncio.Task[None]] = set()
        self.settled: set[str] = set()
        """Actions that have ended or are in doubt, as their agents were told."""
        self.ended: set[str] = set()
        """Those of them that have ended."""
        self.enough = False
        """Set to submit no more."""
        self.sent: list[PlannedTurn] = []

    @property
    def told(self) -> bool:
        """Whether agents were told of every call that was submitted."""
        return len(self.settled) == self.submitted

    @property
    def submitted(self) -> int:
        """How many calls were submitted."""
        return sum(len(turn.calls) for turn in self.sent)

    def plan(self) -> Plan:
        """What was submitted of the plan."""
        return Plan(tuple(self.sent))

    async def submit(self, seconds: float, most: int) -> None:
        """Submit everything over about so many seconds, while at most so many calls are open."""
        junk = set(self._chance.sample(range(len(self._plan.turns)), JUNK))
        for number, turn in enumerate(self._plan.turns):
            while self.submitted - len(self.settled) > most and not self.enough:
                await self._clock.sleep(0.05)
            if self.enough:
                return
            # Noted before: whoever gives up in the middle has perhaps sent it.
            self.sent.append(turn)
            await self._send(turn)
            if number in junk:
                nothing = Outgoing("turns", self._chance.randrange(self._log.partitions), b"x", b"{", ())
                await self._publish(nothing)
            await self._clock.sleep(seconds / len(self._plan.turns))

    async def hear(self) -> None:
        """Follow the replies, for ever."""
        async for event in self._events(topics.REPLIES.name):
            if isinstance(event, TurnCompleted):
                self.settled |= self._turns.get(event.turn_key, frozenset())
                self.ended |= self._turns.get(event.turn_key, frozenset())
            elif isinstance(event, ActionReply) and event.action_id in self._all:
                if event.status == "approval_required":
                    continue
                self.settled.add(event.action_id)
                if event.status != "in_doubt":
                    self.ended.add(event.action_id)

    async def answer(self) -> None:
        """Answer approvals as planned, for ever."""
        async for event in self._events(topics.BALLOTS.name):
            if isinstance(event, ApprovalRequested) and event.approval_id not in self._asked:
                self._asked.add(event.approval_id)
                task = asyncio.create_task(self._vote(event))
                self._voting.add(task)
                task.add_done_callback(self._voting.discard)

    async def _vote(self, asked: ApprovalRequested) -> None:
        if asked.kind == "settle":
            await self._settle(asked)
            return
        said = self._all[asked.action.ref.id].answer
        match said:
            case "approve":
                await self._say(asked, "approve", "mia", times=2)
            case "reject":
                await self._say(asked, "reject", "mia")
            case "both":
                await self._say(asked, "approve", "mia")
                await self._say(asked, "reject", "ben")
            case "late":
                # By the log's time, that is this machine's, with something to spare for a slow append.
                await self._clock.sleep(max(0.0, asked.deadline - self._clock.now()) + 1.0)
                await self._say(asked, "approve", "mia")
            case "respond":
                await self._say(asked, "respond", "mia", response=msgspec.Raw(b'"No need."'))
            case "delegate":
                await self._say(asked, "delegate", "mia", delegate_to="tom")
                await self._say(asked, "approve", "tom", times=2)
            case "never":
                return

    async def _settle(self, asked: ApprovalRequested) -> None:
        """Somebody looks whether it happened. What left no trace may still happen, so of that they say nothing."""
        await self._clock.sleep(1.0)
        if self._witness.exists() and asked.action.ref.id in self._witness.read_text():
            await self._say(asked, "approve", "mia", times=2)

    async def _say(self, asked: ApprovalRequested, answer: str, who: str, times: int = 1, **content: Any) -> None:
        vote = ApprovalVoted(
            vote_id=f"{who}-{answer}",
            approval_id=asked.approval_id,
            digest=asked.action.ref.digest,
            answer=answer,  # type: ignore[arg-type] # the callers say only what there is
            approver=who,
            **content,
        )
        for _ in range(times):
            await self._publish(self._outgoing(vote))

    async def _send(self, turn: PlannedTurn) -> None:
        event = TurnRecorded(
            origin=TurnOrigin(tenant=turn.tenant, session=turn.session, turn=turn.turn, agent=AGENT),
            format="chat_completions",
            response=msgspec.Raw(turn.message()),
            submitted_at=self._clock.now(),
        )
        record = self._outgoing(event)
        await self._publish(record)
        if turn.again == "home":
            await self._publish(record)
        elif turn.again == "away":
            elsewhere = self._chance.randrange(self._log.partitions)
            await self._publish(Outgoing(record.topic, elsewhere, record.key, record.value, record.headers))

    def _outgoing(self, event: Event) -> Outgoing:
        at = address(event, self._log.partitions)
        value, headers = encode(event, source="chaos", time=self._clock.now())
        return Outgoing(at.topic, at.partition, at.key.encode(), value, headers)

    async def _publish(self, record: Outgoing) -> None:
        """As often as it takes, as any client does: a repeat is harmless."""
        while True:
            try:
                await self._log.publish([record])
            except (TemporaryFailure, CommitUnknown):
                await self._clock.sleep(_RETRY_SECONDS)
            else:
                return

    async def _events(self, topic: str) -> AsyncIterator[Event]:
        async with aclosing(self._records(topic)) as records:
            async for record in records:
                with suppress(Undecodable):
                    yield decode(record.value, record.headers).event

    async def _records(self, topic: str) -> AsyncGenerator[Record, None]:
        at: dict[int, int] = {}
        while True:
            try:
                async for record in self._log.follow(topic, range(self._log.partitions), at):
                    at[record.partition] = record.offset + 1
                    yield record
            except TemporaryFailure:
                await self._clock.sleep(_RETRY_SECONDS)
