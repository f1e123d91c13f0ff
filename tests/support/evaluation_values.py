"""Proposals and answers for the evaluator's tests, and a BIGHUB that says what it is told to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

from callgate.bighub.requests import EvaluateRequest
from callgate.bighub.resolve import Resolution, resolve
from callgate.events import ids
from callgate.events.actions import ActionProposed, ActionRef
from callgate.events.digest import digest

TURN = ids.turn_key(0, "t", "s", "1")
PROCEED = {"recommendation": "proceed", "allowed": True, "request_id": "req_1"}
REVIEW = {"recommendation": "review_recommended", "request_id": "req_1"}
BLOCK = {"recommendation": "do_not_proceed", "request_id": "req_1"}


def proposed(position: int = 0, *, attempt: int = 0, arguments: Mapping[str, Any] | None = None, **changes: Any) -> Any:
    """A call of tool `pay`, as the proposer would make it."""
    given = {"n": position} if arguments is None else dict(arguments)
    ref = ActionRef(
        id=ids.action_id(TURN, 0, position, f"c{position}"),
        turn_key=TURN,
        tenant="t",
        session="s",
        turn="1",
        agent="a",
        position=position,
        call_id=f"c{position}",
        tool="pay",
        attempt=attempt,
        digest=digest(tenant="t", agent="a", tool="pay", tool_version="v", target="x", arguments=given),
    )
    fields: dict[str, Any] = {"tool_version": "v", "target": "x", "proposed_at": 1_700_000_000.0}
    return ActionProposed(ref=ref, arguments=msgspec.Raw(orjson.dumps(given)), **(fields | changes))


def answer(words: Mapping[str, Any], **more: Any) -> Resolution:
    """What BIGHUB's answer resolves to."""
    return resolve({**words, **more})


class Oracle:
    """A BIGHUB with one answer, or one failure, for everybody; it keeps what it was asked."""

    def __init__(self, said: Mapping[str, Any] | Exception = PROCEED) -> None:
        """`said` may be changed at any time."""
        self.said = said
        self.asked: list[EvaluateRequest] = []

    async def evaluate(self, request: EvaluateRequest) -> Resolution:
        """See `Evaluations.evaluate`."""
        self.asked.append(request)
        if isinstance(self.said, Exception):
            raise self.said
        return resolve(dict(self.said))
