"""BIGHUB's own approval queue in our words. Pure: what an entry of it says, where it says so plainly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from callgate.events.ids import is_id

Answer = Literal["approved", "denied"]
"""What the queue can be told, and what it says."""

COMMENT_MOST = 500
"""Characters of a comment, in both directions."""

OURS = "Callgate: "
"""How the comment of an answer begins that we have put there ourselves."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Somebody has answered in BIGHUB's queue."""

    request_id: str
    answer: Answer
    comment: str | None


def read(entry: object) -> Answered | None:
    """What an entry says, or None where it is not plainly an answer to what was asked.

    An approval of something else than what was asked (`modified`) is none, and neither is one that contradicts itself.
    """
    if not isinstance(entry, Mapping):
        return None
    request_id, status = entry.get("request_id"), entry.get("status")
    if not isinstance(request_id, str) or not is_id(request_id) or entry.get("resolution", status) != status:
        return None
    comment = entry.get("comment")
    said = None
    if isinstance(comment, str) and comment:
        # JSON may hold half a character, which no event of ours could.
        said = comment[:COMMENT_MOST].encode("utf-8", "backslashreplace").decode()
    if said is not None and said.startswith(OURS):
        return None
    if status == "denied":
        return Answered(request_id, "denied", said)
    changed = any(entry.get(name) for name in ("modified_action", "better_action", "review_decision"))
    return Answered(request_id, "approved", said) if status == "approved" and not changed else None
