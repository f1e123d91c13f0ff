"""What the approvals service remembers of an approval, in the lease's table.

request/<id>    the question, as it was asked
tally/<id>      votes and result, once there are any; rewritten with every vote, so it does not hold the question too
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from callgate.approvals.ballots import Tally
from callgate.events.approvals import ApprovalRequested
from callgate.worker.effects import Table

TALLY = "tally/"
"""Prefix of the keys that hold votes and results; the approval's id follows."""

REQUEST = "request/"
"""Prefix of the keys that hold questions."""


def decode_tally(value: bytes) -> Tally:
    """Votes and result from the table, without the question; also for the command line. Raises `MsgspecError`."""
    return msgspec.json.decode(value, type=Tally)


def load(table: Table, approval_id: str) -> Tally:
    """The tally so far; an empty one where nothing is known."""
    kept, request = table.get(f"{TALLY}{approval_id}"), table.get(f"{REQUEST}{approval_id}")
    tally = Tally() if kept is None else decode_tally(kept)
    if request is None:
        return tally
    return msgspec.structs.replace(tally, request=msgspec.json.decode(request, type=ApprovalRequested))


def changes(approval_id: str, before: Tally, after: Tally) -> Mapping[str, bytes | None]:
    """The puts that lead from one tally to the next."""
    put: dict[str, bytes | None] = {}
    if (kept := msgspec.structs.replace(after, request=None)) != msgspec.structs.replace(before, request=None):
        put[f"{TALLY}{approval_id}"] = msgspec.json.encode(kept)
    if before.request is None and after.request is not None:
        put[f"{REQUEST}{approval_id}"] = msgspec.json.encode(after.request)
    return put


def forgotten(approval_id: str) -> Mapping[str, bytes | None]:
    """The puts that drop everything of an approval."""
    return {f"{TALLY}{approval_id}": None, f"{REQUEST}{approval_id}": None}
