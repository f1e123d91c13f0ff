"""What agents submit and what they get back."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from callgate.events import ids
from callgate.events.actions import Decision, Status
from callgate.events.event import Digest, Event, Identifier, Name, OptionalRaw, Part, Seconds

ResponseFormat = Literal["responses", "chat_completions"]
"""Whose shape the model's answer has: an OpenAI Responses object, or a Chat Completions assistant message."""


class TurnOrigin(Part, frozen=True, kw_only=True):
    """Whose turn it is. Tenant, session and turn together are its identity."""

    tenant: Name
    session: Name
    turn: Name
    """The agent's own name for the turn, unique in its session: submitted twice, it counts once."""
    agent: Name
    requester: str | None = None
    """The person or service on whose behalf the agent acts; it may not approve its own request."""
    domain: str | None = None
    """BIGHUB domain for tools that name none."""
    environment: str | None = None
    context: msgspec.Raw = msgspec.Raw(b"{}")
    """A JSON object of labels that is passed to BIGHUB as context. Outside the digest."""


class TurnSubmitted(Event, frozen=True, kw_only=True):
    """Signals that an agent wants the model run for it: rounds of model and tools until a final answer."""

    TYPE: ClassVar[str] = "callgate.turn.submitted.v1"

    origin: TurnOrigin
    model: str
    input: msgspec.Raw
    """The Responses API's `input`: a string, or a list of items."""
    options: msgspec.Raw = msgspec.Raw(b"{}")
    """Further fields of the Responses request (instructions, temperature, …), sent on every round.

    `tools` are the toolbox's where they are not given; `stream: true` asks for `ReplyStreamed`."""
    max_tool_rounds: int = 8
    """How often the model may call tools; a turn in which it calls once more ends as `failed`. Follow-up turns share
    what is left of it."""
    pending: Literal["wait", "tell"] = "wait"
    """What becomes of the turn while a call waits for a person: it waits too; or the model is told that the call is
    pending, and a follow-up turn tells it the result (`TurnCompleted.follow_up`)."""
    submitted_at: Seconds

    def identity(self) -> str:
        """See `Event.identity`."""
        origin = self.origin
        return f"evt_{ids.fingerprint('submitted', origin.tenant, origin.session, origin.turn)}"


class TurnRecorded(Event, frozen=True, kw_only=True):
    """Signals that a model has answered an agent; the tool calls in the answer are to be gated and run."""

    TYPE: ClassVar[str] = "callgate.turn.recorded.v1"

    origin: TurnOrigin
    format: ResponseFormat
    response: msgspec.Raw
    """The whole response as the agent's framework got it, unchanged."""
    submitted_at: Seconds

    def identity(self) -> str:
        """See `Event.identity`."""
        origin = self.origin
        return f"evt_{ids.fingerprint('recorded', origin.tenant, origin.session, origin.turn)}"


class AnswerAnnounced(Event, frozen=True, kw_only=True):
    """Signals that a provider says that an answer which it makes in the background is at its end.

    Nothing rests on it but when that answer is looked at: anybody may have written it, and it may be lost.
    """

    TYPE: ClassVar[str] = "callgate.turn.answer_announced.v1"

    turn_key: Identifier
    response_id: Identifier
    """The provider's id; where the turn waits for another one by now, this is old news."""
    announced_at: Seconds

    def identity(self) -> str:
        """See `Event.identity`."""
        return f"evt_{ids.fingerprint('answer_announced', self.turn_key, self.response_id)}"


class ActionReply(Event, frozen=True, kw_only=True):
    """Signals to the agent where one of its calls stands: ended, or waiting for a person or in doubt."""

    TYPE: ClassVar[str] = "callgate.action.reply.v1"

    action_id: Identifier
    turn_key: Identifier
    tenant: Name
    session: Name
    turn: Name
    round: int
    position: int
    call_id: str
    tool: str
    digest: Digest
    status: Status | Literal["in_doubt", "approval_required"]
    """An end, or one of the two ways of waiting; those two are followed by a reply with an end."""
    item: OptionalRaw = None
    """The input item that answers the call in the next request to the model; none while it waits."""
    decision: Decision | None = None
    approval_id: Identifier | None = None
    replied_at: Seconds

    def identity(self) -> str:
        """See `Event.identity`."""
        return ids.event_id(self.action_id, 0, f"reply.{self.status}")


class TurnCompleted(Event, frozen=True, kw_only=True):
    """Signals that a turn is over: every call has ended, with the items that answer them in the response's order."""

    TYPE: ClassVar[str] = "callgate.turn.completed.v1"

    turn_key: Identifier
    tenant: Name
    session: Name
    turn: Name
    agent: Name
    status: Literal["completed", "refused", "failed", "incomplete"]
    """`refused`: the turn could not be read, or was over the cap, and nothing in it was run. The others are of turns
    for which the model was run: it failed or could not be asked, or its last answer was cut off."""
    reason: str | None = None
    llm_response: msgspec.Raw
    """The model's last response, unchanged."""
    execution: msgspec.Raw
    """`{"events": […], "last": … or null}`: one object per call with tool, call_id, status, decision,
    recommendation, risk_score, enforcement_mode and output."""
    items: msgspec.Raw
    """The list of input items that answer the calls, ready for the next request. Where the model was run, everything
    that follows the turn's own input: the model's items and the answers to its calls, round by round."""
    completed_at: Seconds
    rounds: int = 0
    """How often the model has answered, where it was run."""
    usage: OptionalRaw = None
    """`{"input_tokens", "output_tokens", "total_tokens"}` over all of those answers, where the model told them."""
    follow_up: Identifier | None = None
    """Key of the turn that will tell the model what became of the calls that were pending when it said its last word
    here; it runs when the last of them has ended. None where nothing was pending."""

    def identity(self) -> str:
        """See `Event.identity`."""
        return f"evt_{ids.fingerprint('turn_completed', self.turn_key)}"


class ReplyStreamed(Event, frozen=True, kw_only=True):
    """Signals a step of a running model answer. Best effort: outside any unit, it may be lost or repeated."""

    TYPE: ClassVar[str] = "callgate.reply.streamed.v1"

    turn_key: Identifier
    tenant: Name
    session: Name
    turn: Name
    round: int
    sequence: int
    """Rises by one within a turn; a gap tells the reader that it missed something. Where a round is asked for once
    more after a crash, it repeats: the round begins anew with `llm_started`."""
    kind: str
    """llm_started, llm_delta, llm_text_done, output_item_added, function_call_args_delta, function_call_args_done,
    refusal_delta, refusal_done, execution_event, final_response, response_done, response_failed; the last two end."""
    data: msgspec.Raw = msgspec.Raw(b"{}")

    def identity(self) -> str:
        """See `Event.identity`."""
        return f"evt_{ids.fingerprint('streamed', self.turn_key, self.round, self.sequence)}"
