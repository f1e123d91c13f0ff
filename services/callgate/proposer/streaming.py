"""The answer as it comes: text and steps to `replies.stream`, best effort.

It is written outside any unit, so it costs the turn nothing when it fails; whoever needs certainty reads `replies`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson
import structlog

from callgate.clock import Clock
from callgate.events.codec import TooLarge, encode
from callgate.events.routing import address
from callgate.events.turns import ReplyStreamed
from callgate.failures import CallgateError
from callgate.log.port import Log, Outgoing
from callgate.proposer.state import TurnEntry

SOURCE = "callgate/proposer"

_EVERY_SECONDS = 0.05
"""How long pieces of text are gathered: a write for each would cost the log more than the whole turn."""

_log = structlog.get_logger(__name__)

_PASSED_ON: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "response.output_text.delta": ("llm_delta", ("delta", "item_id", "output_index")),
    "response.output_text.done": ("llm_text_done", ("text", "item_id", "output_index")),
    "response.function_call_arguments.delta": ("function_call_args_delta", ("delta", "item_id", "output_index")),
    "response.function_call_arguments.done": ("function_call_args_done", ("arguments", "item_id", "output_index")),
    "response.refusal.delta": ("refusal_delta", ("delta", "item_id", "output_index")),
    "response.refusal.done": ("refusal_done", ("refusal", "item_id", "output_index")),
}


class Strand:
    """What is said of one turn in one step of its work."""

    def __init__(self, log: Log, clock: Clock, key: str, entry: TurnEntry) -> None:
        """Go on where the turn's entry says that the last committed step has ended."""
        self._log = log
        self._clock = clock
        self._key = key
        self._entry = entry
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._since = 0.0
        self.sequence = entry.streamed

    @property
    def end(self) -> int:
        """Where the next step goes on, once everything that waits is written."""
        return self.sequence + len(self._waiting)

    async def hear(self, event: Mapping[str, Any]) -> None:
        """Pass one event of the model's stream on, perhaps later together with those that follow it."""
        kind = event.get("type")
        item = event.get("item")
        if kind == "response.output_item.added" and isinstance(item, dict):
            shown = {name: item.get(name) for name in ("type", "id", "name", "call_id") if item.get(name) is not None}
            self.add("output_item_added", {"item": shown, "output_index": event.get("output_index")})
        elif isinstance(kind, str) and kind in _PASSED_ON:
            name, fields = _PASSED_ON[kind]
            self.add(name, {field: event.get(field) for field in fields})
        if self._waiting and self._clock.monotonic() - self._since >= _EVERY_SECONDS:
            await self.flush()

    def add(self, kind: str, data: dict[str, Any]) -> None:
        """Say one thing with the next `flush`. Pieces of one text become one piece."""
        if not self._waiting:
            self._since = self._clock.monotonic()
        last = self._waiting[-1] if self._waiting else None
        if last is not None and last[0] == kind and kind.endswith("_delta") and _same(last[1], data):
            last[1]["delta"] = str(last[1].get("delta", "")) + str(data.get("delta", ""))
            return
        self._waiting.append((kind, data))

    async def flush(self) -> None:
        """Write what is waiting. Nothing that fails here is anybody else's trouble."""
        waiting, self._waiting = self._waiting, []
        records = [record for kind, data in waiting if (record := self._record(kind, data)) is not None]
        if not records:
            return
        try:
            await self._log.publish(records)
        except CallgateError as failure:
            _log.info("a part of a stream was not written", turn_key=self._key, failure=type(failure).__name__)

    def _record(self, kind: str, data: Mapping[str, Any]) -> Outgoing | None:
        entry = self._entry
        event = ReplyStreamed(
            turn_key=self._key,
            tenant=entry.tenant,
            session=entry.session,
            turn=entry.turn,
            round=entry.round,
            sequence=self.sequence,
            kind=kind,
            data=msgspec.Raw(orjson.dumps(data)),
        )
        self.sequence += 1
        try:
            value, headers = encode(event, source=SOURCE, time=self._clock.now())
        except TooLarge:
            return None
        at = address(event, self._log.partitions)
        return Outgoing(at.topic, at.partition, at.key.encode(), value, headers)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    names = ("item_id", "output_index")
    return all(one.get(name) == other.get(name) for name in names)
