"""The player: submits recorded turns as agents would, sessions side by side, the turns of a session in order.

It waits for each turn to be completed before it submits the session's next one; what is in doubt is not waited for,
since only a person or a probe can end it. Turns that the log shows as completed are not submitted again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
import orjson

from callgate.cli.checker.judge import Expected
from callgate.cli.play import corpora, recorded
from callgate.clock import Clock
from callgate.events import topics
from callgate.events.codec import Undecodable, decode, encode
from callgate.events.event import Event
from callgate.events.routing import address
from callgate.events.turns import ActionReply, TurnCompleted, TurnOrigin, TurnRecorded
from callgate.failures import TemporaryFailure
from callgate.log.port import CommitUnknown, Log, Outgoing, Record

SOURCE = "callgate-play"
_RETRY_SECONDS = 0.2


@dataclass(slots=True)
class _Turn:
    """One turn to be played, and how far it is."""

    recording: corpora.RecordedTurn
    session: str
    key: str
    actions: frozenset[str]
    settled: set[str] = field(default_factory=set)
    """Actions that have ended or are in doubt."""
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Player:
    """One play on one log."""

    def __init__(self, log: Log, clock: Clock, play: str, recordings: Iterable[corpora.RecordedTurn]) -> None:
        """Lay out the sessions. A turn that the files hold twice is submitted twice, and counts once."""
        self._log = log
        self._clock = clock
        self._sessions: dict[str, list[_Turn]] = {}
        self._turns: dict[str, _Turn] = {}
        self.expected: dict[str, Expected] = {}
        for recording in recordings:
            session = recording.session(play)
            key = recorded.key_of(recording, play, log.partitions)
            actions = {
                recorded.action_of(key, position, call): (position, call)
                for position, call in enumerate(recording.calls)
            }
            turn = self._turns.get(key) or _Turn(recording, session, key, frozenset(actions))
            self._turns[key] = turn
            self._sessions.setdefault(session, []).append(turn)
            for identifier, (position, call) in actions.items():
                call_id = call.call_id or f"call_{position}"
                self.expected[identifier] = Expected(key, position, call_id, call.output)

    @property
    def turn_keys(self) -> frozenset[str]:
        """The turns of this play."""
        return frozenset(self._turns)

    @property
    def progress(self) -> tuple[int, int]:
        """Actions that have ended or are in doubt, and all actions."""
        return sum(len(turn.settled) for turn in self._turns.values()), len(self.expected)

    async def run(self, concurrency: int) -> None:
        """Play everything; returns when every action has ended or is in doubt."""
        ends = await self._log.ends(topics.REPLIES.name)
        for partition in range(self._log.partitions):
            async for record in self._log.scan(topics.REPLIES.name, partition):
                self._note(record)
        listener = asyncio.create_task(self._listen(ends))
        gate = asyncio.Semaphore(concurrency)
        try:
            async with asyncio.TaskGroup() as group:
                for turns in self._sessions.values():
                    group.create_task(self._play(turns, gate, listener))
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener

    async def _play(self, turns: Sequence[_Turn], gate: asyncio.Semaphore, listener: asyncio.Task[None]) -> None:
        async with gate:
            for turn in turns:
                if not turn.over.is_set():
                    await self._submit(turn)
                over = asyncio.create_task(turn.over.wait())
                await asyncio.wait({over, listener}, return_when=asyncio.FIRST_COMPLETED)
                if listener.done():
                    over.cancel()
                    listener.result()

    async def _submit(self, turn: _Turn) -> None:
        event = TurnRecorded(
            origin=TurnOrigin(
                tenant=recorded.TENANT,
                session=turn.session,
                turn=turn.recording.turn,
                agent=turn.recording.corpus[:256],
                context=msgspec.Raw(orjson.dumps(dict(turn.recording.labels))),
            ),
            format="chat_completions",
            response=msgspec.Raw(turn.recording.message()),
            submitted_at=self._clock.now(),
        )
        await publish(self._log, self._clock, event)

    async def _listen(self, start: Mapping[int, int]) -> None:
        async for record in self._log.follow(topics.REPLIES.name, range(self._log.partitions), start):
            self._note(record)

    def _note(self, record: Record) -> None:
        try:
            event = decode(record.value, record.headers).event
        except Undecodable:
            return
        if not isinstance(event, ActionReply | TurnCompleted):
            return
        turn = self._turns.get(event.turn_key)
        if turn is None:
            return
        if isinstance(event, TurnCompleted):
            turn.settled.update(turn.actions)
        elif event.status != "approval_required":
            turn.settled.add(event.action_id)
        if turn.actions <= turn.settled:
            turn.over.set()


async def publish(log: Log, clock: Clock, event: Event) -> None:
    """Write one event as an outside client does, as often as it takes: its id makes a repeat harmless."""
    at = address(event, log.partitions)
    value, headers = encode(event, source=SOURCE, time=clock.now())
    record = Outgoing(at.topic, at.partition, at.key.encode(), value, headers)
    while True:
        try:
            await log.publish([record])
        except (TemporaryFailure, CommitUnknown):
            await clock.sleep(_RETRY_SECONDS)
        else:
            return
