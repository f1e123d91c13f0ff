"""What people give with an answer: JSON from the command line, a file, standard input or their editor."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
import orjson

from callgate.cli.needing import better_arguments
from callgate.cli.views import Question
from callgate.events import ids
from callgate.failures import BadInput


def json_value(given: str, option: str) -> bytes:
    """The JSON that an option gives: itself, `@FILE`, or `-` for standard input. Raises BadInput."""
    if given == "-":
        raw = sys.stdin.buffer.read()
    elif given.startswith("@"):
        try:
            raw = Path(given[1:]).read_bytes()
        except OSError as error:
            raise BadInput(option, f"{given[1:]} can't be read ({error.strerror})", "Name a file") from error
    else:
        raw = given.encode()
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadInput(option, f"is not JSON ({error})", 'Write it like {"amount": 10}') from error
    return raw.strip()


def edited_arguments(question: Question, given: str | None, *, better: bool) -> dict[str, Any]:
    """The edited arguments of a vote. Raises BadInput where there are none, or nothing is changed."""
    action = question.request.action
    before = bytes(action.arguments)
    if better:
        raw = _better(question)
    elif given is not None:
        raw = json_value(given, "--arguments")
    else:
        raw = _by_hand(before)
    value = orjson.loads(raw)
    if not isinstance(value, dict):
        raise BadInput("--arguments", "is no JSON object", "Give all arguments, also those that stay as they are")
    if value == orjson.loads(before):
        name = ids.short(question.request.approval_id)
        raise BadInput("--arguments", "changes nothing", f"Approve it instead: callgate approvals approve {name}")
    return {"arguments": msgspec.Raw(raw)}


def _better(question: Question) -> bytes:
    found = better_arguments(question.request)
    if found is None:
        raise BadInput("--better", "BIGHUB's better action is no set of this call's arguments", "Use --arguments")
    return orjson.dumps(found)


def _by_hand(before: bytes) -> bytes:
    """The arguments as somebody has changed them in their editor; secrets stand there as they are."""
    if not sys.stdin.isatty() and not (os.environ.get("VISUAL") or os.environ.get("EDITOR")):
        raise BadInput("--arguments", "is missing, and there is no terminal for an editor", "Give all of them as JSON")
    pretty = orjson.dumps(orjson.loads(before), option=orjson.OPT_INDENT_2).decode()
    try:
        edited = click.edit(f"{pretty}\n", extension=".json")
    except click.ClickException as error:
        raise BadInput("--arguments", f"is missing, and {error.format_message()}", "Give it, or set EDITOR") from error
    if edited is None:
        raise BadInput("--arguments", "nothing was saved", "Save the file, or give --arguments")
    return json_value(edited.strip(), "--arguments")
