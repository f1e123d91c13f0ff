"""The command line's entry, and the edge at which failures become sentences and exit codes.

0: done. 1: failed, or a promise was violated. 2: bad input. 3: unfinished when time ran out.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys

import click

import callgate
from callgate.failures import BadInput, CallgateError

_COMMANDS: dict[str, tuple[str, str]] = {
    "dev": ("callgate.cli.serving", "dev"),
    "run": ("callgate.cli.serving", "run"),
    "sandbox": ("callgate.cli.serving", "sandbox"),
    "submit": ("callgate.cli.submitting", "submit"),
    "ask": ("callgate.cli.asking", "ask"),
    "actions": ("callgate.cli.actions", "actions"),
    "approvals": ("callgate.cli.approvals", "approvals"),
    "approvers": ("callgate.cli.approvers", "approvers"),
    "deadletters": ("callgate.cli.deadletters", "deadletters"),
    "control": ("callgate.cli.control", "control"),
    "topics": ("callgate.cli.topics", "topics"),
    "check": ("callgate.cli.checking", "check"),
    "health": ("callgate.cli.health", "health"),
    "play": ("callgate.cli.play.command", "play"),
    "demo": ("callgate.cli.demo.command", "demo"),
    "schemas": ("callgate.cli.schemas", "schemas"),
}
"""Command → module and attribute. Imported when it is used, so that `callgate --help` is quick."""

_HELP: dict[str, str] = {
    "dev": "Everything in one process, with a local stand-in for BIGHUB.",
    "run": "Run one service, or --all of them.",
    "sandbox": "A local BIGHUB and model for development and tests.",
    "submit": "Submit what a model answered.",
    "ask": "Run the model for a turn.",
    "actions": "Look at actions.",
    "approvals": "See and answer what people are asked.",
    "approvers": "Make, list and revoke the keys of those who answer.",
    "deadletters": "See what was given up, and give it another try.",
    "control": "Stop, hold and lift.",
    "topics": "Look at the log's topics.",
    "check": "Say in words what is wrong, and how to mend it.",
    "health": "Ask a service whether it is ready.",
    "play": "Play recorded runs through the gate.",
    "demo": "A demonstration on an embedded log.",
    "schemas": "Write or check the events' JSON Schemas.",
}


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class _Lazy(click.Group):
    """A group that knows its commands' names without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - part of click's port
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        with formatter.section("Commands"):
            formatter.write_dl(list(_HELP.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(callgate.__version__, prog_name="callgate")
def cli() -> None:
    """The gate between AI agents and their tools.

    Exit codes: 0 done, 1 failed or violated, 2 bad input, 3 unfinished at a time-out.
    """


def main() -> None:
    """Run a command; whatever a user can cause ends in a sentence on standard error, never in a traceback."""
    try:
        cli(standalone_mode=False)
    except BadInput as error:
        _leave(str(error), 2)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        _leave("stopped", 1)
    except OSError as error:
        _unwritten(error)
    except CallgateError as error:
        _leave(str(error), 1)
    except ExceptionGroup as group:
        _of_several(group)


def _of_several(group: ExceptionGroup) -> None:
    """The first of what tasks have raised together speaks for all; raises the group where one of them is a defect."""
    ours, others = group.split((CallgateError, OSError))
    if others is not None:
        raise group
    first: Exception | None = ours
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    if isinstance(first, OSError):
        _unwritten(first)
    _leave(str(first), 2 if isinstance(first, BadInput) else 1)


def _unwritten(error: OSError) -> None:
    """A reader that has gone is no failure; a disk that is full is one of the machine's. Raises any other again."""
    if isinstance(error, BrokenPipeError):
        sys.exit(0)
    if error.errno not in _FULL:
        raise error
    # What is still in the buffer could be written no better at the interpreter's end, which would tell it again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _leave(f"nothing more can be written: {error.strerror}", 1)


def _leave(message: str, code: int) -> None:
    click.echo(f"callgate: {message}", err=True)
    sys.exit(code)
