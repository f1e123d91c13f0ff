"""`callgate approvals`: what people are asked, and answering it from a terminal.

A vote is only cast here. Whether it counts is decided by the tally, so a command that has voted waits for what the log
says came of it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from callgate.cli.needing import needed, still_needed
from callgate.cli.opening import json_option, log_option, on_log, pick
from callgate.cli.policies import policy
from callgate.cli.printing import as_json, table
from callgate.cli.signing import Voter, voter_of
from callgate.cli.views import Question, changed, masked_fault
from callgate.cli.votes import print_votes, tally_of, votes_of
from callgate.cli.wording import compact, duration, moment, visible
from callgate.events import ids
from callgate.failures import BadInput

if TYPE_CHECKING:
    from callgate.clock import Clock
    from callgate.events.approvals import ApprovalVoted
    from callgate.log.port import Log

Answer = Literal["approve", "reject", "abstain", "withdraw"]

_RESULTS: dict[Answer, str] = {"approve": "approved", "reject": "rejected"}
"""What an answer is for; the others end nothing."""

_HELP: dict[Answer, str] = {
    "approve": "Approve one question.",
    "reject": "Reject one question.",
    "abstain": "Decide neither way, taking back what you said before; only where the policy lets people abstain.",
    "withdraw": "Take back your own vote, while the question is open.",
}
_LOOK_SECONDS = 0.1
_LEAST_DIGEST = 8
"""Characters of a digest that must be given at the least: fewer could be any."""


class Said(NamedTuple):
    """What came of a vote: an exit code, a word for programs, and the sentence for people."""

    code: int
    outcome: str
    sentence: str


@click.group()
def approvals() -> None:
    """See and answer what people are asked."""


@approvals.command("list")
@log_option
@json_option
@click.option("--tenant", help="Only this tenant's.")
@click.option("--all", "all_", is_flag=True, help="Also what has been answered or has expired.")
def list_(address: str | None, json_: bool, tenant: str | None, all_: bool) -> None:  # noqa: FBT001 - flags
    """What waits for an answer, by the time that is left."""

    async def look(log: Log, clock: Clock) -> tuple[list[Question], float]:
        from callgate.cli.reading import all_questions

        return list((await all_questions(log)).values()), clock.now()

    questions, now = on_log(address, look)
    shown = [
        each
        for each in sorted(questions, key=lambda each: each.request.deadline)
        if (all_ or each.resolved is None) and tenant in {None, each.request.action.ref.tenant}
    ]
    if json_:
        as_json([_shown(each, now) for each in shown])
        return
    columns = ("id", "left", "who", "tool", "target", "arguments", "risk", "reason")
    table(columns, [_row(each, now) for each in shown], empty="Nothing waits for an answer.")
    if any(each.standing(now) == "open" for each in shown):
        click.echo("\nAnswer with `callgate approvals approve ID` or `callgate approvals reject ID --comment WHY`.")


@approvals.command()
@click.argument("approval", metavar="ID")
@log_option
@json_option
def show(approval: str, address: str | None, json_: bool) -> None:  # noqa: FBT001 - a flag
    """What exactly is asked, and what has been said. ID may be any unique beginning."""

    async def look(log: Log, clock: Clock) -> tuple[Question, list[dict[str, Any]], float, str | None]:
        from callgate.cli.reading import one_action

        question = await _find(log, approval)
        life = await one_action(log, question.request.action.ref.id)
        votes = votes_of(question, await tally_of(log, question.request.approval_id))
        return question, votes, clock.now(), changed(question, life)

    question, votes, now, outdated = on_log(address, look)
    if json_:
        as_json({**_shown(question, now), "outdated": outdated, "votes": votes})
        return
    _print(question, now)
    if outdated is not None and question.resolved is None:
        click.echo(f"{'outdated':10} {outdated}")
    print_votes(votes)


def _answering(answer: Answer) -> click.Command:
    @click.command(answer, help=f"{_HELP[answer]} ID may be any unique beginning.")
    @click.argument("approval", metavar="ID")
    @log_option
    @json_option
    @click.option("--as", "approver", help="Who answers; default: CALLGATE_APPROVER, else the key's or your user name.")
    @click.option("--key", type=click.Path(path_type=Path), help="Sign with it; default: CALLGATE_APPROVER_KEY_FILE.")
    @click.option("--comment", help="Why. The model is told.")
    @click.option("--digest", help="Only if the arguments still have this digest, or one that begins so.")
    @click.option("--wait", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds for the result.")
    def command(  # noqa: PLR0913, PLR0917 - the options of a command
        approval: str,
        address: str | None,
        json_: bool,  # noqa: FBT001 - a flag
        approver: str | None,
        key: Path | None,
        comment: str | None,
        digest: str | None,
        wait: float,
    ) -> None:
        if digest is not None and len(digest) < _LEAST_DIGEST:
            raise BadInput("--digest", "is too short to mean anything", f"Give at least {_LEAST_DIGEST} characters")
        voter = voter_of(approver, key)

        async def work(log: Log, clock: Clock) -> tuple[Question, Said]:
            question = await _find(log, approval)
            refusal = await _too_late(log, question, digest, clock.now())
            if refusal is not None:
                return question, refusal
            if not json_:
                _print(question, clock.now())
            return question, await _vote(log, clock, question, answer, voter, comment, wait)

        question, said = on_log(address, work)
        if json_:
            outcome = {"outcome": said.outcome, "said": said.sentence}
            as_json({"approval_id": question.request.approval_id, "answer": answer, "approver": voter.name, **outcome})
        else:
            click.echo(visible(said.sentence), err=said.code != 0)
        sys.exit(said.code)

    return command


approvals.add_command(_answering("approve"))
approvals.add_command(_answering("reject"))
approvals.add_command(_answering("abstain"))
approvals.add_command(_answering("withdraw"))
approvals.add_command(policy)


async def _find(log: Log, given: str) -> Question:
    from callgate.cli.reading import all_questions

    questions = await all_questions(log)
    return questions[pick("approval", given, list(questions))]


async def _too_late(log: Log, question: Question, digest: str | None, now: float) -> Said | None:
    """Why an answer would come too late or be about something else; nothing is cast then."""
    from callgate.cli.reading import one_action

    name = ids.short(question.request.approval_id)
    if question.resolved is not None:
        people = f" by {', '.join(question.resolved.approvers)}" if question.resolved.approvers else ""
        return Said(1, question.resolved.resolution, f"{name} is already {question.resolved.resolution}{people}.")
    left = question.time_left(now)
    if left <= 0:
        return Said(1, "expired", f"{name} expired {duration(-left)} ago: nothing was cast.")
    if digest is not None and not question.request.action.ref.digest.startswith(digest.lower()):
        return Said(1, "changed", f"{name} is about other arguments than those: look at it again.")
    outdated = changed(question, await one_action(log, question.request.action.ref.id))
    return None if outdated is None else Said(1, "changed", f"{name}: {outdated}. Nothing was cast.")


async def _vote(
    log: Log, clock: Clock, question: Question, answer: Answer, voter: Voter, comment: str | None, wait: float
) -> Said:
    from callgate.client.client import Client
    from callgate.events.approvals import ApprovalVoted

    request = question.request
    vote = ApprovalVoted(
        vote_id=f"cli-{ids.fingerprint(request.approval_id, voter.name, answer, repr(clock.now()), os.getpid())}",
        approval_id=request.approval_id,
        digest=request.action.ref.digest,
        answer=answer,
        approver=voter.name,
        comment=comment,
    )
    position = await Client(log, clock, source="callgate-cli").vote(vote, key=voter.key)
    place = f"{position.topic}/{position.partition}/{position.offset}"
    until = clock.monotonic() + wait
    while True:
        said = await _came_of(log, vote, answer, place)
        if said is not None:
            return said
        if clock.monotonic() >= until:
            sentence = f"Cast at {place}, and not counted within {duration(wait)}: does the approvals service run?"
            return Said(3, "uncounted", sentence)
        await clock.sleep(_LOOK_SECONDS)


async def _came_of(log: Log, vote: ApprovalVoted, answer: Answer, place: str) -> Said | None:
    """What the log says of the vote at a place by now, or None while it says nothing."""
    from callgate.cli.reading import one_question

    question = await one_question(log, vote.approval_id)
    if question is None:
        return None
    name = ids.short(vote.approval_id)
    for ballot in question.ballots:
        # By its place: anybody can write junk under the name of a vote that they have read.
        if ballot.origin == place and ballot.verification == "refused":
            return Said(1, "refused", f"The vote does not count: {ballot.refusal}.")
    if question.resolved is not None:
        resolution = question.resolved.resolution
        if resolution == _RESULTS.get(answer):
            return Said(0, resolution, f"{name} is {resolution}.")
        return Said(1, resolution, f"{name} is {resolution}: the vote came too late to change that.")
    return await _counted(log, vote, question)


async def _counted(log: Log, vote: ApprovalVoted, question: Question) -> Said | None:
    """Whether the tally holds the vote without a result yet: it does not count, or others are needed too."""
    tally = await tally_of(log, vote.approval_id)
    if tally is None or tally.result is not None:
        return None  # a resolution is read in the next look
    for ballot in tally.ballots:
        if ballot.vote_id == vote.vote_id and ballot.refusal is not None:
            return Said(1, "refused", f"The vote does not count: {ballot.refusal}.")
        if ballot.vote_id == vote.vote_id:
            return Said(0, "counted", f"Counted; {still_needed(question.request)}.")
    return None


def _row(question: Question, now: float) -> tuple[str, ...]:
    request, action = question.request, question.request.action
    standing = question.standing(now)
    return (
        ids.short(request.approval_id),
        duration(question.time_left(now)) if standing == "open" else standing,
        action.requester or action.ref.agent,
        action.ref.tool,
        action.target,
        compact(masked_fault(action), 200),
        _risk(question),
        request.decision.reason,
    )


def _print(question: Question, now: float) -> None:
    request, action, ref = question.request, question.request.action, question.request.action.ref
    standing = question.standing(now)
    left = f"{duration(question.time_left(now))} left, until {moment(request.deadline)}"
    requester = f", for {action.requester}" if action.requester else ""
    rows = [
        ("approval", f"{request.approval_id} ({ids.short(request.approval_id)})"),
        ("standing", left if standing == "open" else standing),
        ("who", f"{ref.agent}{requester} (tenant {ref.tenant}, session {ref.session})"),
        ("tool", ref.tool + (f" on {action.target}" if action.target else "")),
        ("arguments", compact(masked_fault(action), 4000)),
        ("risk", _risk(question)),
        ("reason", request.decision.reason),
        ("needed", needed(request)),
        ("digest", ref.digest),
        ("action", ref.id),
    ]
    if action.suspicion:
        rows.append(("suspicion", action.suspicion))
    if question.resolved is not None:
        rows.append(("answered", f"{', '.join(question.resolved.approvers) or 'by nobody'}"))
    for name, text in rows:
        click.echo(f"{name:10} {visible(text)}")


def _risk(question: Question) -> str:
    action, decision = question.request.action, question.request.decision
    parts = [action.risk or "", f"{decision.risk_score:g}" if decision.risk_score is not None else ""]
    value = f"value {action.value:g}" if action.value is not None else ""
    return ", ".join(part for part in (*parts, value) if part) or "-"


def _shown(question: Question, now: float) -> dict[str, Any]:
    request, action, ref = question.request, question.request.action, question.request.action.ref
    return {
        "approval_id": request.approval_id,
        "id": ids.short(request.approval_id),
        "standing": question.standing(now),
        "seconds_left": round(question.time_left(now), 3),
        "deadline": request.deadline,
        "action_id": ref.id,
        "tenant": ref.tenant,
        "session": ref.session,
        "agent": ref.agent,
        "requester": action.requester,
        "tool": ref.tool,
        "target": action.target,
        "arguments": masked_fault(action),
        "digest": ref.digest,
        "risk": action.risk,
        "risk_score": request.decision.risk_score,
        "value": action.value,
        "reason": request.decision.reason,
        "quorum": request.quorum,
        "eligible": list(request.eligible),
        "one_from_each": {group.name: list(group.members) for group in request.one_from_each},
        "policy_rule": request.policy_rule,
        "policy_digest": request.policy_digest,
        "suspicion": action.suspicion,
        "resolution": question.resolved.resolution if question.resolved is not None else None,
        "approvers": list(question.resolved.approvers) if question.resolved is not None else [],
    }
