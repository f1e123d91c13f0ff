"""From what an agent's program says to a turn: whose it is, and what the model is asked."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import orjson

from callgate.client.hooks import OnDecision
from callgate.events.turns import TurnOrigin
from callgate.failures import BadInput

if TYPE_CHECKING:
    from callgate.approvers.signing import SigningKey

Messages = str | Sequence[Mapping[str, Any]]
"""What the Responses API takes as `input`: a text, or a list of items."""

RESERVED = frozenset({"model", "input", "messages"})
"""Names in `extra_create_args` that have a parameter of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose turns a client's are, where a call doesn't say otherwise."""

    tenant: str = "default"
    agent: str = "agent"
    requester: str | None = None
    """On whose behalf the agent acts; they can't approve it."""
    domain: str | None = None
    """BIGHUB domain for tools that name none."""
    environment: str | None = None
    approver: str | None = None
    """In whose name the answers of `run_with_approval`'s callback are cast."""


class TurnOptions(TypedDict, total=False):
    """What a call says of its turn, beside the client's `Caller`."""

    session: str
    """The conversation: turns of one session keep their order. A new one where it is left out."""
    turn: str
    """The turn's own name: given twice in a session, it counts once. A new one where it is left out."""
    tenant: str
    requester: str | None
    context: Mapping[str, Any]
    """Labels for BIGHUB. Outside the digest."""
    timeout: float
    """Seconds to wait for the end, 60 where it is left out. The turn goes on after them."""
    wait_for_people: bool
    """False: return as soon as a call waits for a person, and resume later. Streams and callbacks always wait."""
    on_decision: OnDecision | None
    """Is told of each standing of each call, as `execution_event` tells it. Streams have that instead."""


class RunOptions(TurnOptions, total=False):
    """What a call says of a turn for which the model is run."""

    instructions: str | None
    temperature: float | None
    max_tool_rounds: int
    extra_create_args: Mapping[str, Any]
    """Further fields of the Responses request. All of these are sent in every round."""


class ApprovalOptions(RunOptions, total=False):
    """What `run_with_approval` takes besides: see there."""

    approver: str | None
    callback_timeout: float
    key: SigningKey | None


@dataclass(frozen=True, slots=True)
class Named:
    """A turn's origin, and whether its name was made here just now: then nothing can have been said of it yet."""

    origin: TurnOrigin
    fresh: bool


def named(caller: Caller, options: TurnOptions) -> Named:
    """Whose turn a call's is. Raises BadInput."""
    try:
        context = orjson.dumps(dict(options.get("context") or {}))
    except TypeError as error:
        raise BadInput("context", f"is not JSON ({error})", 'Give labels such as {"ticket": "T-1"}') from error
    for name in ("tenant", "session", "turn"):
        if not isinstance(options.get(name) or "", str):
            raise BadInput(name, "is no text", 'Give a name such as "support-7"')
    fresh = "turn" not in options or "session" not in options
    origin = TurnOrigin(
        tenant=options.get("tenant", caller.tenant),
        session=options.get("session") or f"s-{uuid.uuid4().hex}",
        turn=options.get("turn") or f"t-{uuid.uuid4().hex}",
        agent=caller.agent,
        requester=options.get("requester", caller.requester),
        domain=caller.domain,
        environment=caller.environment,
        context=msgspec.Raw(context),
    )
    return Named(origin, fresh)


def request_options(options: RunOptions, *, stream: bool = False) -> dict[str, Any]:
    """The further fields of the Responses request. Raises BadInput for one that is a parameter here."""
    extra = dict(options.get("extra_create_args") or {})
    reserved = sorted(RESERVED & extra.keys())
    if reserved:
        raise BadInput("extra_create_args", f"holds `{reserved[0]}`", "Give it as the call's own parameter")
    for name in ("instructions", "temperature"):
        if options.get(name) is not None:
            extra[name] = options[name]
    if stream:
        extra["stream"] = True
    return extra


def seconds_of(options: TurnOptions) -> float:
    """How long a call waits. Raises BadInput for what is no number of seconds."""
    seconds: Any = options.get("timeout", 60.0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise BadInput("timeout", f"{str(seconds)[:40]!r} is no number of seconds", "Give seconds to wait")
    return float(seconds)


def check(options: Mapping[str, Any], known: type) -> None:
    """Raise BadInput for an option that nobody reads: it would be meant to matter."""
    unknown = sorted(options.keys() - known.__optional_keys__)  # type: ignore[attr-defined]  # a TypedDict
    if unknown:
        names = ", ".join(sorted(known.__optional_keys__))  # type: ignore[attr-defined]  # the same
        raise BadInput(unknown[0], "is no option of this call", f"Use some of {names}")
