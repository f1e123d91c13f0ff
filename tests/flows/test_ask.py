"""`callgate ask` against `callgate dev`: what somebody sees who tries the model loop for the first time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.processes import environment, finish, running, wait_for_lines

TOOLS = """
from callgate.tools.toolbox import Toolbox

toolbox = Toolbox()


@toolbox.tool
def weather(city: str) -> str:
    "Tell the weather."
    return f"sunny in {city}"
"""
SCRIPT = """
[[scenario]]
text = "*weather*"
[[scenario.round]]
calls = [{ name = "weather", arguments = { city = "Paris" } }]
[[scenario.round]]
text = "It is sunny."

[[scenario]]
text = "break"
[[scenario.round]]
error = { code = "invalid_prompt", message = "not this" }
"""


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a running `callgate dev`, whose model knows the weather."""
    (tmp_path / "ask_tools.py").write_text(TOOLS)
    (tmp_path / "script.toml").write_text(SCRIPT)
    made = environment(
        CALLGATE_LOG=f"sqlite:///{tmp_path / 'log.db'}", CALLGATE_TOOLS="ask_tools:toolbox", PYTHONPATH=str(tmp_path)
    )
    output = tmp_path / "dev.txt"
    with running("dev", "--model-script", str(tmp_path / "script.toml"), env=made, log=output):
        assert wait_for_lines(output, 4, 30) >= 4
        yield made


def test_a_question_is_answered_with_the_help_of_a_tool(env: dict[str, str]) -> None:
    """The table shows what was run, and the last line what the model says; the same is there as JSON."""
    plain = finish("ask", "What is the weather in Paris?", "--model", "m", "--timeout", "60", env=env)
    assert plain.returncode == 0, plain.stderr
    assert "sunny in Paris" in plain.stdout
    assert plain.stdout.splitlines()[-1] == "It is sunny."
    streamed = finish("ask", "the weather", "--model", "m", "--stream", "--timeout", "60", env=env)
    assert streamed.stdout.count("It is sunny.") == 1
    found = json.loads(finish("ask", "weather", "--model", "m", "--json", "--timeout", "60", env=env).stdout)
    assert (found["completed"], found["rounds"]) == ("completed", 2)
    assert [item["type"] for item in found["items"]] == ["function_call", "function_call_output", "message"]
    failed = finish("ask", "break", "--model", "m", "--timeout", "60", env=env)
    assert (failed.returncode, "invalid_prompt: not this" in failed.stderr) == (1, True)


def test_mistakes_are_said_in_a_sentence(tmp_path: Path) -> None:
    """What can't be asked names itself with exit code 2, and a proposer that nobody runs is exit code 3."""
    env = environment(CALLGATE_LOG=f"sqlite:///{tmp_path / 'log.db'}")
    (tmp_path / "bad.json").write_text("7")
    for arguments in (["hi", "--options", "["], ["hi", "--options", "[]"], [str(tmp_path / "bad.json")], ["no.json"]):
        done = finish("ask", *arguments, "--model", "m", env=env)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr
    waiting = finish("ask", "hi", "--model", "m", "--timeout", "0.2", env=env)
    assert (waiting.returncode, "goes on" in waiting.stderr) == (3, True)
    again = re.findall(r"with (--session \S+ --turn \S+) waits on", waiting.stderr)[0].split()
    resumed = finish("ask", "hi", "--model", "m", "--timeout", "0.2", *again, env=env)
    assert resumed.stderr.splitlines()[0] == waiting.stderr.splitlines()[0], "the turn has the same key"
