"""An edited call: held against its tool as the model's own call was, and made a revision with a digest of its own.

Pure but for the user's own declarations (`…_from_args`). The verdict goes among the ballots, so that a recount needs no
tool.
"""

from __future__ import annotations

import msgspec
import orjson

from callgate.events.actions import ActionProposed, Fault
from callgate.events.approvals import ApprovalRequested, BallotCast
from callgate.events.digest import digest
from callgate.tools import arguments as reading
from callgate.tools.declaring import DeclarationFailed, declared
from callgate.tools.toolbox import Entry, Toolbox

_OURS = ("session", "environment", "system", "risk")


class Unfit(Exception):  # noqa: N818 - it is said of the edit
    """Why an edit can't stand."""


def checked(ballot: BallotCast, request: ApprovalRequested, toolbox: Toolbox | None) -> BallotCast:
    """The ballot as it may be counted: with the revised call, or with the reason why it can't be."""
    try:
        revised = _revised(request.action, ballot, toolbox)
    except Unfit as unfit:
        return msgspec.structs.replace(ballot, checked=True, refusal=str(unfit))
    return msgspec.structs.replace(ballot, checked=True, revised=revised)


def _revised(action: ActionProposed, ballot: BallotCast, toolbox: Toolbox | None) -> ActionProposed:
    entry = _entry(action, toolbox)
    raw = ballot.vote.arguments
    if raw is None:
        raise Unfit("an edit needs the edited arguments")
    arguments = reading.parse(bytes(raw))
    if isinstance(arguments, Fault):
        raise Unfit(arguments.message)
    if (fault := entry.misfit(arguments)) is not None:
        raise Unfit(fault.message)
    labels = orjson.loads(bytes(action.context))
    try:
        facts = declared(entry.tool, arguments, labels, {name: labels.get(name) for name in _OURS})
    except DeclarationFailed as failure:
        raise Unfit(f"the tool can't be prepared for these arguments ({failure.declaration})") from failure
    ref = action.ref
    content = digest(
        tenant=ref.tenant,
        agent=ref.agent,
        tool=ref.tool,
        tool_version=entry.version,
        target=facts.target,
        arguments=arguments,
    )
    if content == ref.digest:
        raise Unfit("the edit changes nothing: approve the call instead")
    return msgspec.structs.replace(
        action,
        ref=msgspec.structs.replace(ref, revision=ref.revision + 1, attempt=0, digest=content),
        arguments=raw,
        target=facts.target,
        value=facts.value,
        effect_key=facts.effect_key,
        context=msgspec.Raw(facts.context),
        cause="edit",
        gate_reason=None,
        grant=None,
    )


def _entry(action: ActionProposed, toolbox: Toolbox | None) -> Entry:
    if toolbox is None:
        raise Unfit("edits can't be checked here: the approvals service was started without tools")
    entry = toolbox.entry(action.ref.tool)
    if entry is None or not entry.tool.accepts(action.ref.kind):
        raise Unfit("the tool is not known to the approvals service")
    if entry.version != action.tool_version:
        raise Unfit("the tool has changed since the call was made")
    return entry
