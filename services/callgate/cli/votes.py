"""What has been said about a question, and what each vote is worth: by the entrance, and by the counting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from callgate.cli.views import Question
from callgate.cli.wording import visible

if TYPE_CHECKING:
    from callgate.approvals.ballots import Tally
    from callgate.log.port import Log

REFUSED_SHOWN = 20
"""Refused votes that are listed for people. There may be any number of them, as anybody may write to the entrance."""


async def tally_of(log: Log, approval_id: str) -> Tally | None:
    """What the approvals service has counted by now; None where that is nothing, or can't be read."""
    from callgate.approvals.state import TALLY, decode_tally

    async for _, key, value in log.tables("approvals"):
        if key == f"{TALLY}{approval_id}":
            try:
                return decode_tally(value)
            except msgspec.MsgspecError:
                return None
    return None


def votes_of(question: Question, tally: Tally | None) -> list[dict[str, Any]]:
    """Every vote once, in the order of the ballots, with the reason why it does not count, if it doesn't."""
    counted = {} if tally is None else {ballot.origin: ballot.refusal for ballot in tally.ballots}
    votes = {
        ballot.origin: {
            "approver": ballot.vote.approver,
            "answer": ballot.vote.answer,
            "comment": ballot.vote.comment,
            "at": ballot.appended_at,
            "verification": ballot.verification,
            "key": ballot.key,
            "refusal": ballot.refusal or counted.get(ballot.origin),
            "place": ballot.origin,
        }
        for ballot in question.ballots
    }
    return list(votes.values())


def print_votes(votes: Sequence[dict[str, Any]]) -> None:
    """For people: all that count, and the last of those that don't."""
    refused = [vote for vote in votes if vote["refusal"]]
    left_out = {vote["place"] for vote in refused[:-REFUSED_SHOWN]}
    if left_out:
        click.echo(f"{'votes':10} {len(left_out)} more were refused; --json shows them")
    for vote in votes:
        if vote["place"] not in left_out:
            why = f", refused: {vote['refusal']}" if vote["refusal"] else ""
            comment = f": {vote['comment']}" if vote["comment"] else ""
            click.echo(visible(f"{'vote':10} {vote['approver']} says {vote['answer']}{comment}{why}"))
