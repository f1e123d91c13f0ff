"""People's answers given by a program: the callback of `run_with_approval`, whose answers are cast as votes.

The callback is somebody's hand, not a way around them: what it says is a vote of a named person, about exactly the
arguments that it was shown, and counts only as far as the tally lets it. What is not plainly a yes or a no is no vote:
the question stays open for others, until its deadline.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from callgate.bighub.wording import decision_shape
from callgate.client.following import AGAIN_SECONDS, Followers
from callgate.events import ids, topics
from callgate.events.approvals import ApprovalRequested, ApprovalVoted
from callgate.events.event import Event
from callgate.events.routing import ballot_partition
from callgate.events.turns import ActionReply
from callgate.failures import CallgateError
from callgate.log.port import LogUnavailable
from callgate.tools.masking import mask

Context = dict[str, Any]
"""What a callback is shown: approval_id, tool, call_id, arguments (masked), digest, decision, deadline, answers;
and `event`, the part of these that the published adapter shows."""

Callback = Callable[[Context], Any] | Callable[[Context], Awaitable[Any]]
"""Returns `{"resolution": "approved" | "denied", "comment": …}`. A sync one runs in a thread of its own."""

_EVENT = ("tool", "call_id", "status", "arguments", "decision", "request_id", "recommendation", "risk_score")
"""What of it the published adapter shows as `event`, under the same names."""
_YES: frozenset[str] = frozenset({"approved"})
_NO: frozenset[str] = frozenset({"denied", "rejected"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of one question."""

    approval_id: str
    tool: str
    voted: Literal["approve", "reject"] | None
    reason: str | None
    """Why no vote was cast."""


class Answering:
    """Asks the callback about each approval of one turn, once, and casts what it says."""

    def __init__(
        self,
        followers: Followers,
        cast: Callable[[ApprovalVoted], Awaitable[object]],
        callback: Callback,
        *,
        approver: str,
        seconds: float,
    ) -> None:
        """`cast` writes a vote, signed where it must be; `seconds` is how long the callback may take.

        Nothing is asked before `hear`.
        """
        self._followers = followers
        self._cast = cast
        self._callback = callback
        self._approver = approver
        self._seconds = seconds
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._questions: dict[str, asyncio.Task[None]] = {}
        self.asked: list[Asked] = []

    def hear(self, reply: ActionReply, partitions: int, starts: Mapping[int, int]) -> None:
        """Look for the questions behind a call that waits for a person; `starts` says from where on, per partition."""
        partition = ballot_partition(reply.tenant, reply.tool, partitions)
        if reply.status == "approval_required" and partition not in self._tasks:
            following = self._follow(partition, reply.turn_key, starts.get(partition, 0))
            self._tasks[partition] = asyncio.create_task(following)

    async def aclose(self) -> None:
        """Ask nothing more. A callback that is still at it is left alone, and its answer is not cast."""
        tasks = [*self._tasks.values(), *self._questions.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, partition: int, turn_key: str, start: int) -> None:
        while True:
            # A log that is away now must not leave a question unasked: nobody would see that it was.
            with suppress(LogUnavailable):
                async with (
                    self._followers.subscribed(topics.BALLOTS.name, partition, turn_key, start=start) as found,
                    aclosing(found.events()) as events,
                ):
                    async for event in events:
                        self._hear_question(event)
            await asyncio.sleep(AGAIN_SECONDS)

    def _hear_question(self, event: Event) -> None:
        if not isinstance(event, ApprovalRequested) or event.kind != "action":
            return
        if event.approval_id not in self._questions:
            self._questions[event.approval_id] = asyncio.create_task(self._ask(event))

    async def _ask(self, question: ApprovalRequested) -> None:
        voted, reason, comment = None, None, None
        try:
            async with asyncio.timeout(self._seconds):
                answer = await _called(self._callback, context_of(question))
            voted, comment, reason = read(answer)
        except TimeoutError:
            reason = f"the callback gave no answer within {self._seconds:g} s"
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything, and must not end the turn's waiting
            reason = f"the callback failed: {type(error).__name__}"
        if voted is not None:
            reason = await self._vote(question, voted, comment)
        tool = question.action.ref.tool
        self.asked.append(Asked(question.approval_id, tool, voted if reason is None else None, reason))

    async def _vote(
        self, question: ApprovalRequested, answer: Literal["approve", "reject"], comment: str | None
    ) -> str | None:
        """Why the vote could not be cast; None where it was."""
        vote = ApprovalVoted(
            # The same answer of the same person about the same question is the same vote, however often it is sent.
            vote_id=f"callback-{ids.fingerprint(question.approval_id, self._approver, answer)}",
            approval_id=question.approval_id,
            digest=question.action.ref.digest,
            answer=answer,
            approver=self._approver,
            comment=comment,
        )
        try:
            await self._cast(vote)
        except CallgateError as error:
            return f"the vote was not cast: {error}"
        return None


def read(answer: object) -> tuple[Literal["approve", "reject"] | None, str | None, str | None]:
    """The vote in a callback's answer, its comment, and why there is none. Only the very words count."""
    if not isinstance(answer, Mapping):
        return None, None, "the callback gave no answer"
    resolution, comment = answer.get("resolution"), answer.get("comment")
    said = comment if isinstance(comment, str) else None
    if isinstance(resolution, str) and resolution in _YES:
        return "approve", said, None
    if isinstance(resolution, str) and resolution in _NO:
        return "reject", said, None
    return None, None, "the callback's `resolution` is neither approved nor denied"


def context_of(question: ApprovalRequested) -> Context:
    """What the callback is shown of a question. Sensitive arguments are masked, as for anybody's eyes."""
    action = question.action
    shape = decision_shape("approval_required", question.decision)
    context = {
        "approval_id": question.approval_id,
        "action_id": action.ref.id,
        "request_id": question.decision.request_id,
        "tool": action.ref.tool,
        "call_id": action.ref.call_id,
        "arguments": mask(orjson.loads(bytes(action.arguments)), action.sensitive),
        "target": action.target,
        "value": action.value,
        "digest": action.ref.digest,
        "decision": shape,
        "recommendation": question.decision.recommendation,
        "risk_score": question.decision.risk_score,
        "status": "approval_required",
        "answers": list(question.answers),
        "quorum": question.quorum,
        "deadline": question.deadline,
    }
    # Callbacks that were written for the published adapter look here.
    context["event"] = {name: context[name] for name in _EVENT}
    plain = orjson.loads(orjson.dumps(context))
    assert isinstance(plain, dict)
    return plain


async def _called(callback: Callback, context: Context) -> object:
    """The callback's answer. A thread of its own: one that never returns must not keep the process from ending."""
    if inspect.iscoroutinefunction(callback):
        return await callback(context)
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[object] = loop.create_future()

    def settle(answer: object, error: Exception | None) -> None:
        if answered.done():
            return
        if error is None:
            answered.set_result(answer)
        else:
            answered.set_exception(error)

    def work() -> None:
        try:
            answer, error = callback(context), None
        except Exception as raised:  # noqa: BLE001 - it is told to whoever waits
            answer, error = None, raised
        with suppress(RuntimeError):  # the loop may be gone by now
            loop.call_soon_threadsafe(settle, answer, error)

    threading.Thread(target=work, name="callgate-approval", daemon=True).start()
    answer = await answered
    return await answer if inspect.isawaitable(answer) else answer
