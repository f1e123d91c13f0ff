"""Answering from a terminal: one command an answer, which waits for what the log says came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from callgate.cli.asked import print_question
from callgate.cli.content import edited_arguments, json_value
from callgate.cli.needing import still_needed
from callgate.cli.opening import json_option, log_option, on_log, pick
from callgate.cli.printing import as_json
from callgate.cli.signing import Voter, voter_of
from callgate.cli.views import Question, changed
from callgate.cli.votes import tally_of
from callgate.cli.wording import duration, visible
from callgate.events import ids
from callgate.failures import BadInput

if TYPE_CHECKING:
    from callgate.clock import Clock
    from callgate.events.approvals import Answer, ApprovalVoted
    from callgate.log.port import Log

_RESULTS: dict[str, str] = {"approve": "approved", "reject": "rejected", "edit": "edited", "respond": "responded"}
"""What an answer is for; the others end nothing."""
_MEANS: dict[str, str] = {
    "withdraw": ": nothing is said in your name now",
    "abstain": ": you decide neither way",
    "delegate": ": {} may answer in your stead",
}
"""What the others have changed, since what is needed is the same as before."""

_LOOK_SECONDS = 0.1
_LEAST_DIGEST = 8
"""Characters of a digest that must be given at the least: fewer could be any."""
_LEAST_ID = 4
"""The same of a question's id: with one question open, any letter of `apr_` would be a beginning of its id alone."""


class Said(NamedTuple):
    """What came of a vote: an exit code, a word for programs, and the sentence for people."""

    code: int
    outcome: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Saying:
    """An answer with what belongs to it, made once the question is known."""

    answer: Answer
    content: Callable[[Question], dict[str, Any]] = lambda _: {}
    """Further fields of the vote. Raises BadInput."""
    kind: str = "action"
    """Of the questions that it answers."""


def _options(function: Callable[..., None]) -> Callable[..., None]:
    """What every answering command takes."""
    for option in (
        click.option("--wait", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds to wait."),
        click.option("--digest", help="Only if the arguments still have this digest, or one that begins so."),
        click.option("--comment", help="Why. The model is told."),
        click.option(
            "--key", type=click.Path(path_type=Path), help="To sign with; default: CALLGATE_APPROVER_KEY_FILE."
        ),
        click.option(
            "--as", "approver", help="Who answers; default: CALLGATE_APPROVER, else the key's or your user name."
        ),
        json_option,
        log_option,
        click.argument("approval", metavar="ID"),
    ):
        function = option(function)
    return function


def _plain(answer: Answer, help_: str) -> click.Command:
    @click.command(answer, help=f"{help_} ID may be its first four characters.")
    @_options
    def command(approval: str, **how: Any) -> None:
        _answer(approval, Saying(answer), **how)

    return command


@click.command()
@_options
@click.option("--arguments", help="All arguments as JSON, or @FILE, or - for standard input. Default: your editor.")
@click.option("--better", is_flag=True, help="Take BIGHUB's better action, where it is a set of arguments.")
def edit(approval: str, arguments: str | None, better: bool, **how: Any) -> None:  # noqa: FBT001 - a flag
    """Approve the call with other arguments: it is checked and evaluated again. ID may be its first four characters."""
    if better and arguments is not None:
        raise BadInput("--better", "is given together with --arguments", "Give one of the two")
    _answer(approval, Saying("edit", lambda question: edited_arguments(question, arguments, better=better)), **how)


@click.command()
@_options
@click.option("--text", help="What the model is told as the call's result.")
@click.option("--result", help="The same as JSON, or @FILE, or - for standard input.")
def respond(approval: str, text: str | None, result: str | None, **how: Any) -> None:
    """Give the call's result yourself; the tool does not run. ID may be its first four characters."""
    if (text is None) == (result is None):
        raise BadInput("--text", "is needed, or --result, and not both", 'Give --text "was paid on Monday"')
    _answer(approval, Saying("respond", lambda _: {"response": _response(text, result)}), **how)


@click.command()
@_options
@click.argument("person")
def delegate(approval: str, person: str, **how: Any) -> None:
    """Have PERSON answer in your stead, until you say otherwise. ID may be its first four characters."""
    _answer(approval, Saying("delegate", lambda _: {"delegate_to": person}), **how)


@click.command()
@_options
@click.argument("happened", type=click.Choice(("happened", "did-not-happen")))
@click.option("--result", help="What came of it, as JSON, or @FILE, or -; only where it happened.")
def settle(approval: str, happened: str, result: str | None, **how: Any) -> None:
    """Say what became of a call in doubt, once you have looked. ID may be its first four characters."""
    if happened != "happened" and result is not None:
        raise BadInput("--result", "is given for what did not happen", "Leave it out")
    if result is not None:
        said = Saying("respond", lambda _: {"response": _response(None, result)}, kind="settle")
    else:
        said = Saying("approve" if happened == "happened" else "reject", kind="settle")
    _answer(approval, said, **how)


COMMANDS: tuple[click.Command, ...] = (
    _plain("approve", "Approve one question."),
    _plain("reject", "Reject one question."),
    edit,
    respond,
    delegate,
    settle,
    _plain(
        "abstain", "Decide neither way, taking back what you said before; only where the policy lets people abstain."
    ),
    _plain("withdraw", "Take back your own vote, while the question is open."),
)
"""One an answer."""


def _response(text: str | None, result: str | None) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(text) if text is not None else json_value(result or "", "--result"))


def _answer(  # noqa: PLR0913 - the options of every answer
    approval: str,
    saying: Saying,
    *,
    address: str | None,
    json_: bool,
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
        question = await find(log, approval, least=_LEAST_ID)
        _hold_kind(question, saying)
        refusal = await _too_late(log, question, digest, clock.now())
        if refusal is not None:
            return question, refusal
        if not json_:
            print_question(question, clock.now())
        return question, await _vote(log, clock, question, saying, voter, comment, wait)

    question, said = on_log(address, work)
    if json_:
        outcome = {"outcome": said.outcome, "said": said.sentence}
        name = question.request.approval_id
        as_json({"approval_id": name, "answer": saying.answer, "approver": voter.name, **outcome})
    else:
        click.echo(visible(said.sentence), err=said.code != 0)
    sys.exit(said.code)


def _hold_kind(question: Question, saying: Saying) -> None:
    """A yes to run something and a yes that it has happened are different things to say."""
    if saying.answer in _RESULTS and question.request.kind != saying.kind:
        name = ids.short(question.request.approval_id)
        if question.request.kind == "settle":
            way_out = f"Look what happened, then: callgate approvals settle {name} happened|did-not-happen"
            raise BadInput("ID", f"{name} asks what became of a call in doubt", way_out)
        raise BadInput("ID", f"{name} asks whether a call may run", f"See: callgate approvals show {name}")


async def find(log: Log, given: str, *, least: int = 0) -> Question:
    """The question that an id, or the beginning of one, names; `least` as for `pick`. Raises BadInput."""
    from callgate.cli.reading import all_questions

    questions = await all_questions(log)
    for name, question in questions.items():
        action = question.request.action.ref.id
        if given.strip() in (action, ids.short(action)):
            # Other commands show this one; the question is not guessed, since an action may have had several.
            raise BadInput("approval", f"{given!r} is an action", f"A question about it is {ids.short(name)}")
    return questions[pick("approval", given, list(questions), least=least)]


async def _too_late(log: Log, question: Question, digest: str | None, now: float) -> Said | None:
    """Why an answer would come too late or be about something else; nothing is cast then."""
    from callgate.cli.reading import one_action

    name = ids.short(question.request.approval_id)
    if question.resolved is not None:
        people = f" by {', '.join(question.resolved.approvers)}" if question.resolved.approvers else ""
        gone = " Nobody can answer it any more; the agent may make the call again." if _over(question) else ""
        return Said(1, question.resolved.resolution, f"{name} is already {question.resolved.resolution}{people}.{gone}")
    left = question.time_left(now)
    if left <= 0:
        return Said(1, "expired", f"{name} expired {duration(-left)} ago: nothing was cast.")
    if digest is not None and not question.request.action.ref.digest.startswith(digest.lower()):
        return Said(1, "changed", f"{name} is about other arguments than those: look at it again.")
    outdated = changed(question, await one_action(log, question.request.action.ref.id))
    return None if outdated is None else Said(1, "changed", f"{name}: {outdated}. Nothing was cast.")


def _over(question: Question) -> bool:
    return question.resolved is not None and question.resolved.resolution == "expired"


async def _vote(
    log: Log, clock: Clock, question: Question, saying: Saying, voter: Voter, comment: str | None, wait: float
) -> Said:
    from callgate.client.client import Client
    from callgate.events.approvals import ApprovalVoted

    request, now = question.request, repr(clock.now())
    vote = ApprovalVoted(
        vote_id=f"cli-{ids.fingerprint(request.approval_id, voter.name, saying.answer, now, os.getpid())}",
        approval_id=request.approval_id,
        digest=request.action.ref.digest,
        answer=saying.answer,
        approver=voter.name,
        comment=comment,
        **saying.content(question),
    )
    position = await Client(log, clock, source="callgate-cli").vote(vote, key=voter.key)
    place = f"{position.topic}/{position.partition}/{position.offset}"
    until = clock.monotonic() + wait
    while True:
        said = await _came_of(log, vote, place)
        if said is not None:
            return said
        if clock.monotonic() >= until:
            sentence = f"Cast at {place}, and not counted within {duration(wait)}: does the approvals service run?"
            return Said(3, "uncounted", sentence)
        await clock.sleep(_LOOK_SECONDS)


async def _came_of(log: Log, vote: ApprovalVoted, place: str) -> Said | None:
    """What the log says of the vote at a place by now, or None while it says nothing."""
    from callgate.cli.reading import one_question

    question = await one_question(log, vote.approval_id)
    if question is None:
        return None
    name = ids.short(vote.approval_id)
    for ballot in question.ballots:
        # By its place: anybody can write junk under the name of a vote that they have read.
        if ballot.origin == place and ballot.refusal is not None:
            return _refused(ballot.refusal)
    if question.resolved is not None:
        resolution = question.resolved.resolution
        if resolution == ("settled" if question.request.kind == "settle" else _RESULTS.get(vote.answer)):
            see = (
                f" The edited call is evaluated now: callgate actions show {ids.short(question.request.action.ref.id)}"
            )
            return Said(0, resolution, f"{name} is {resolution}.{see if resolution == 'edited' else ''}")
        return Said(1, resolution, f"{name} is {resolution}: the vote came too late to change that.")
    return await _counted(log, vote, question)


async def _counted(log: Log, vote: ApprovalVoted, question: Question) -> Said | None:
    """Whether the tally holds the vote without a result yet: it does not count, or others are needed too."""
    tally = await tally_of(log, vote.approval_id)
    if tally is None or tally.result is not None:
        return None  # a resolution is read in the next look
    for ballot in tally.ballots:
        if ballot.vote_id == vote.vote_id and ballot.refusal is not None:
            return _refused(ballot.refusal)
        if ballot.vote_id == vote.vote_id:
            means = _MEANS.get(vote.answer, "").format(vote.delegate_to)
            return Said(0, "counted", f"Counted{means}; {still_needed(question.request)}.")
    return None


def _refused(reason: str) -> Said:
    return Said(1, "refused", f"The vote does not count: {reason.rstrip('.')}.")
