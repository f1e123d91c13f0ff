"""docs/approvals.md: its programs, run as they stand, make votes that count; its commands exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec
import orjson
import pytest
from tests.support.approval_values import APPROVAL, DIGEST, vote
from tests.support.signing_values import known

from callgate.approvers.binding import nonce_of
from callgate.approvers.signing import make_key
from callgate.approvers.token import header_of
from callgate.approvers.verification import hold_signed
from callgate.cli.main import cli
from callgate.environment import OF_COMMANDS, names
from callgate.events import topics
from callgate.events.approvals import ApprovalVoted
from callgate.events.codec import decode

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "approvals.md").read_text(encoding="utf-8")
HEADERS = (("ce_type", b"callgate.approval.voted.v1"),)
ANN = make_key(("ann",), audience="prod")
PROGRAMS = {
    "vote.py": [sys.executable],
    "vote.mjs": ["node"],
    "Vote.java": ["java"],
}
KCAT = """#!/usr/bin/env python3
import os, pathlib, sys
pathlib.Path(os.environ["SENT"]).write_text("\\n".join(sys.argv[1:]) + "\\n\\n" + sys.stdin.read())
"""


def block(first: str) -> str:
    """The code block of the document whose first line, a comment, begins so."""
    (found,) = re.findall(rf"^```\w+\n((?:#|//) {re.escape(first)}\b.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert isinstance(found, str)
    return found


def held(value: bytes) -> ApprovalVoted:
    """The vote that a record with this value is; it must stand, for ann's key and this moment."""
    event = decode(value, HEADERS).event
    assert isinstance(event, ApprovalVoted)
    header = header_of(event.signature)
    hold_signed(event, header, known(ANN)[header.kid], "prod", time.time())
    return event


def run(folder: Path, name: str, *arguments: str) -> bytes:
    """What a program of the document prints. Skipped where its runtime is not there."""
    runtime = PROGRAMS[name]
    if shutil.which(runtime[0]) is None:
        pytest.skip(f"{runtime[0]} is not there")
    (folder / name).write_text(block(name), encoding="utf-8")
    (folder / "ann.key").write_bytes(orjson.dumps(ANN.private_jwk(), option=orjson.OPT_INDENT_2))
    command = [*runtime, name, "ann.key", APPROVAL, DIGEST, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60).stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_signs_a_vote_that_stands(tmp_path: Path, name: str) -> None:
    """A vote that was signed in another language says what was asked for, and is believed."""
    made = held(run(tmp_path, name, "reject"))
    assert (made.approval_id, made.digest, made.answer, made.approver) == (APPROVAL, DIGEST, "reject", "ann")


@pytest.mark.parametrize("name", ["vote.py", "vote.mjs"])
def test_arguments_are_bound_as_they_are_sent(tmp_path: Path, name: str) -> None:
    """What stands in the record is what was hashed, however that language writes JSON."""
    given = {"amount": 4.5, "note": "größer", "list": [1, {"a": None}]}
    made = held(run(tmp_path, name, "edit", orjson.dumps(given).decode()))
    assert orjson.loads(bytes(made.arguments or b"")) == given


@pytest.mark.parametrize("name", ["kcat unsigned", "kcat signed"])
def test_kcat_is_told_topic_and_header(tmp_path: Path, name: str) -> None:
    """The shell's lines, run with a stand-in for kcat, send one record that can be read as a vote."""
    (tmp_path / "kcat").write_text(KCAT)
    (tmp_path / "kcat").chmod(0o755)
    (tmp_path / "vote.py").write_text(block("vote.py"), encoding="utf-8")
    (tmp_path / "ann.key").write_bytes(orjson.dumps(ANN.private_jwk()))
    paths = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": paths, "APPROVAL": APPROVAL, "DIGEST": DIGEST, "SENT": str(tmp_path / "sent")}
    script = block(name).replace("python3 ", f"{shlex.quote(sys.executable)} ")
    subprocess.run(["sh", "-euc", script], cwd=tmp_path, env=environment, check=True, timeout=60)  # noqa: S607 - any shell
    arguments, _, lines = (tmp_path / "sent").read_text().partition("\n\n")
    given = arguments.split("\n")
    assert given[given.index("-t") + 1] == topics.VOTES.name
    header = given[given.index("-H") + 1].partition("=")
    assert (header[0], header[2].encode()) in HEADERS
    (line,) = lines.splitlines()
    event = held(line.encode()) if name == "kcat signed" else decode(line.encode(), HEADERS).event
    assert isinstance(event, ApprovalVoted)
    assert (event.approval_id, event.approver) == (APPROVAL, "ann")


def test_the_nonce_is_that_of_the_document() -> None:
    """The function of the document finds the nonce that is asked of an id token."""
    scope: dict[str, Any] = {}
    exec(block("nonce.py"), scope)  # noqa: S102 - our own text
    example = vote(approver="lee@example.com", comment='größer\n"\\\x7f\x01')
    assert scope["nonce"](msgspec.to_builtins(example), "prod") == nonce_of(example, "prod")


def test_every_command_exists() -> None:
    """Each `callgate` line of the document is understood by the command line."""
    lines = [line.strip().partition("#")[0] for line in DOCUMENT.splitlines() if line.startswith("    callgate ")]
    assert len(lines) >= 7
    for line in lines:
        command: click.Command = cli
        rest, context = shlex.split(line)[1:], click.Context(cli)
        while isinstance(command, click.Group):
            name, found, rest = command.resolve_command(context, rest)
            assert found is not None, line
            command, context = found, click.Context(found, parent=context, info_name=name)
        command.make_context(None, rest)


def test_every_setting_exists() -> None:
    """Each setting that the document names is read."""
    known_names = names() | OF_COMMANDS
    found = set(re.findall(r"CALLGATE_\w+", DOCUMENT))
    assert {"CALLGATE_APPROVAL_KEYS", "CALLGATE_APPROVAL_AUDIENCE"} <= found
    assert found <= known_names


def test_every_field_is_described() -> None:
    """The table of the wire format has every field of a vote."""
    table = DOCUMENT.split("## The wire format")[1].split("**The signature**")[0]
    assert all(f"`{field}`" in table for field in ApprovalVoted.__struct_fields__)
