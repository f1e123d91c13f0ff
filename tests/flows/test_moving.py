"""What the documents tell a newcomer to write, written and run as it stands there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.processes import environment, finish, running, wait_for_lines

DOCS = Path(__file__).resolve().parents[2] / "docs"
_NAMED = re.compile(r"`(?P<name>[a-z_]+\.(?:py|toml))`:\s*```(?:python|toml)\n(?P<text>.*?)\n```", re.DOTALL)


def files(document: str) -> dict[str, str]:
    """The files that a document tells to write, by name."""
    return _files((DOCS / document).read_text())


def _files(text: str) -> dict[str, str]:
    return {found["name"]: found["text"] + "\n" for found in _NAMED.finditer(text)}


def followed(document: str, tmp_path: Path) -> str:
    """What the program of a document prints, beside the services that the document tells to start."""
    for name, text in files(document).items():
        (tmp_path / name).write_text(text)
    env = environment(CALLGATE_LOG=f"sqlite:///{tmp_path / 'callgate.db'}", PYTHONPATH=str(tmp_path))
    options = ("--tools", "my_tools:toolbox", "--policy", "policy.toml", "--model-script", "model.toml")
    output = tmp_path / "dev.txt"
    with running("dev", *options, env=env, log=output, cwd=tmp_path):
        assert wait_for_lines(output, 4, 30) >= 4, output.read_text()
        done = subprocess.run(
            [sys.executable, "agent.py"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_quickstart_of_bighub_openai_runs_on_callgate(tmp_path: Path) -> None:
    """Both published quickstarts, moved as the document says, do what they did, with a local BIGHUB and model."""
    said = followed("from-bighub-openai.md", tmp_path).splitlines()
    assert said[:2] == ["executed", "autonomous"]
    assert "[decision] refund_payment executed" in said
    assert "Done: The order is refunded." in said
    assert said[-1] == "executed ['on-call']"


def test_the_clients_document_runs(tmp_path: Path) -> None:
    """The example for agents does what the document says: it waits for a person, and answers a recorded call."""
    said = followed("client.md", tmp_path).splitlines()
    assert said[:4] == ["stock executed", "order approval_required", "waiting for a person", "waiting"]
    assert said[4] == str([{"role": "tool", "tool_call_id": "c1", "content": "3"}])


@pytest.mark.parametrize("document", ["from-bighub-openai.md", "client.md"])
def test_the_document_has_the_files(document: str) -> None:
    """The pattern finds them: a document without its files would pass by testing nothing."""
    assert set(files(document)) == {"my_tools.py", "agent.py", "model.toml", "policy.toml"}


def test_the_five_minutes_of_the_readme_run(tmp_path: Path) -> None:
    """Its files and commands, as they stand there: a turn waits, a person approves, and its agent's call waits too."""
    readme = (DOCS.parent / "README.md").read_text()
    for name, text in _files(readme).items():
        (tmp_path / name).write_text(text)
    turn = re.search(r"^ {4}echo '(?P<turn>.*?)' > turn\.json$", readme, re.DOTALL | re.MULTILINE)
    assert turn is not None
    (tmp_path / "turn.json").write_text(turn["turn"])
    env = environment(CALLGATE_LOG=f"sqlite:///{tmp_path / 'callgate.db'}", PYTHONPATH=str(tmp_path))
    output, file = tmp_path / "dev.txt", str(tmp_path / "turn.json")
    with running("dev", "--tools", "my_tools:toolbox", "--policy", "policy.toml", env=env, log=output, cwd=tmp_path):
        assert wait_for_lines(output, 4, 30) >= 4, output.read_text()
        waits = finish("submit", file, "--session", "s1", "--wait", "--timeout", "5", env=env)
        assert "a person is asked" in waits.stderr
        assert "another terminal with the same CALLGATE_LOG:" in output.read_text(), "what is exported is not there"
        (asked,) = json.loads(finish("approvals", "list", "--json", env=env).stdout)
        assert finish("approvals", "approve", asked["id"], env=env).returncode == 0
        again = re.findall(r"with (--session \S+ --turn \S+) waits on", waits.stderr)[0].split()
        assert '"refunded":42.0' in finish("submit", file, "--wait", *again, env=env).stdout
        agent = subprocess.run(
            [sys.executable, "agent.py"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False
        )
    assert agent.stdout == "waiting approval_required\n", agent.stderr
