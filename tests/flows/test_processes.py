"""The command line as processes: a stranger's first minutes, services that end well, and services that end badly."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.planted import on
from tests.support.processes import CALLGATE, environment, finish, running, wait_for_lines

from callgate.log.port import Log, Outgoing

TOOLS = '''
from callgate.tools.toolbox import Call, Toolbox

toolbox = Toolbox()


@toolbox.tool(sensitive=("iban",))
def refund(payment: str, iban: str, *, call: Call) -> dict[str, str]:
    """Pay money back."""
    return {"payment": payment, "key": call.action_id}


@toolbox.tool
def look(n: int) -> int:
    """Look."""
    return n
'''
POLICY = '[[rule]]\naction = "refund"\ndecision = "review"\n'
SERVICES = ("proposer", "evaluator", "approvals", "executor", "reporter")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tools and a policy, in which the commands are run, as a stranger would."""
    (tmp_path / "my_tools.py").write_text(TOOLS)
    (tmp_path / "policy.toml").write_text(POLICY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def eventually(look: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What `look` gives once it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


def asked(*arguments: str, **settings: str) -> Any:
    """What a command says in JSON, whatever its exit code."""
    done = finish(*arguments, "--json", env=environment(**settings))
    return json.loads(done.stdout) if done.stdout else None


def submit(calls: list[dict[str, Any]], *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Submit a turn of these calls."""
    Path("turn.json").write_text(json.dumps({"calls": calls}))
    return finish("submit", "turn.json", *options, env=environment(**settings))


def ended(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """The exit code of a process that is told to stop."""
    process.send_signal(number)
    return process.wait(30)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def status(port: int, path: str) -> int:
    """The status of a probe; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@contextmanager
def sandbox(home: Path, *options: str) -> Iterator[dict[str, str]]:
    """A sandbox in a process of its own, and the settings that lead to it."""
    ready = home / "sandbox.out"
    with running("sandbox", "--port", "0", *options, log=ready) as process:
        assert wait_for_lines(ready, 1, 20) >= 1
        line = json.loads(ready.read_text().splitlines()[0])
        yield {
            "CALLGATE_LOG": f"sqlite:///{home / 'log.db'}",
            "CALLGATE_BIGHUB_URL": line["bighub"],
            "CALLGATE_BIGHUB_KEY": "any",
            "CALLGATE_APPROVAL_TRUSTED": "true",
            "CALLGATE_TOOLS": "my_tools:toolbox",
        }
        assert ended(process) == 0


def test_a_strangers_first_minutes(home: Path) -> None:
    """With one process and a tool of one's own a call is submitted, asked about, approved, run, shown and explained."""
    out = home / "dev.out"
    with running("dev", "--tools", "my_tools:toolbox", "--policy", "policy.toml", log=out) as dev:
        refund = {"name": "refund", "arguments": {"payment": "P-1", "iban": "DE0212"}}
        eventually((home / "callgate.db").exists)
        assert submit([refund], "--session", "s1").returncode == 0
        (question,) = eventually(lambda: asked("approvals", "list"))
        assert question["arguments"]["iban"] == "***"
        done = finish("approvals", "approve", question["id"], "--as", "mia", env=environment())
        assert (done.returncode, "approved" in done.stdout) == (0, True), done.stderr
        again = finish("approvals", "reject", question["id"], env=environment())
        assert (again.returncode, "already approved by mia" in again.stderr) == (1, True)
        assert eventually(lambda: asked("actions", "list", "--status", "executed")["actions"])
        shown = asked("actions", "show", question["action_id"])
        topics = [step["topic"] for step in shown["steps"]]
        assert topics[0] == "turns"
        assert {"actions.proposed", "actions.decided", "approvals.ballots", "approvals.votes", "approvals.resolved",
                "actions.finished", "replies"} <= set(topics)  # fmt: skip
        plain = submit([{"name": "look", "arguments": {"n": 7}}, {"name": "nothing"}], "--wait")
        assert plain.returncode == 0
        assert "refused" in plain.stdout
        waiting = submit([refund], "--wait", "--timeout", "1", "--session", "s2")
        assert (waiting.returncode, "approvals list" in waiting.stderr) == (3, True)
        assert "DE0212" not in out.read_text()
        assert ended(dev) == 0
    with running("dev", "--tools", "my_tools:toolbox", log=out) as dev:
        (question,) = asked("approvals", "list")
        assert eventually(lambda: finish("approvals", "reject", question["id"], env=environment()).returncode == 0)
        eventually(lambda: asked("actions", "list", "--status", "rejected")["total"] == 1)
        eventually(lambda: not any(topic["lag"].get("reporter") for topic in asked("topics", "list")["topics"]))
        # What the local BIGHUB decided before it was restarted can still be reported to it.
        assert asked("deadletters", "list")["total"] == 0
        assert ended(dev) == 0
    assert "Traceback" not in out.read_text()


def test_each_service_in_a_process_of_its_own(home: Path) -> None:
    """Services in processes of their own do together what one process does, and each ends with 0 when it is told to."""
    with sandbox(home, "--policy", "policy.toml") as settings:
        env = environment(**settings)
        # Neither needs the tools: they are in the environment of those that import user code only.
        without = {name: value for name, value in env.items() if name != "CALLGATE_TOOLS"}
        with ExitStack() as stack:
            processes = []
            for service in SERVICES:
                own = env if service in {"proposer", "executor"} else without
                processes.append(stack.enter_context(running("run", service, env=own, log=home / f"{service}.out")))
            done = submit([{"name": "look", "arguments": {"n": 3}}], "--wait", **settings)
            assert (done.returncode, "executed" in done.stdout) == (0, True), done.stderr
            stopped = finish("control", "stop", "--tool", "look", "--reason", "drill", env=env)
            assert (stopped.returncode, "All 5 workers" in stopped.stdout) == (0, True), stopped.stderr
            done = submit([{"name": "look", "arguments": {"n": 3}}], "--wait", **settings)
            assert "killed" in done.stdout
            for number, process in enumerate(processes):
                assert ended(process, signal.SIGINT if number % 2 else signal.SIGTERM) == 0
        for service in SERVICES:
            assert "Traceback" not in (home / f"{service}.out").read_text()


def test_an_approval_needs_its_approvers_key(home: Path) -> None:
    """At an entrance that asks for proof only a key that is known, and not revoked, answers; no output holds it."""
    out, key = home / "all.out", str(home / "ann.key")
    with sandbox(home, "--policy", "policy.toml") as settings:
        del settings["CALLGATE_APPROVAL_TRUSTED"]
        settings |= {"CALLGATE_APPROVAL_KEYS": str(home / "approvers.jwks"), "CALLGATE_APPROVAL_AUDIENCE": "here"}
        env = environment(**settings)
        refused = finish("run", "--all", env=env)
        assert (refused.returncode, "approvers.jwks" in refused.stderr) == (2, True)
        kid = asked("approvers", "keygen", "ann", "--out", key, **settings)["kid"]
        with running("run", "--all", env=env, log=out) as process:
            answers = []
            for session in ("s1", "s2"):
                refund = {"name": "refund", "arguments": {"payment": session, "iban": "DE0212"}}
                assert submit([refund], "--session", session, **settings).returncode == 0
                (question,) = eventually(lambda: asked("approvals", "list", **settings))
                for signing in ([], ["--key", key]):
                    done = finish("approvals", "approve", question["id"], "--as", "ann", *signing, env=env)
                    answers.append((done.returncode, done.stdout.splitlines()[-1] + done.stderr))
                assert finish("approvers", "revoke", kid, env=env).returncode == 0
            said = " / ".join(f"{code} {text.strip()}" for code, text in answers)
            assert [code for code, _ in answers] == [1, 0, 1, 1], said
            assert "not signed" in answers[0][1]
            assert "revoked" in answers[3][1]
            votes = asked("approvals", "show", question["id"], **settings)["votes"]
            assert [vote["verification"] for vote in votes] == ["refused", "refused"]
            assert ended(process) == 0
        assert json.loads(Path(key).read_text())["d"] not in out.read_text() + said


def test_what_a_stopped_process_left_is_done_by_the_next(home: Path) -> None:
    """A turn that is submitted while nothing runs is done when the services come, and stays done when they go."""
    with sandbox(home) as settings:
        assert submit([{"name": "look", "arguments": {"n": 1}}], **settings).returncode == 0
        for _ in range(2):
            with running("run", "--all", env=environment(**settings), log=home / "all.out") as process:
                eventually(lambda: asked("actions", "list", "--status", "executed", **settings)["total"] == 1)
                assert ended(process) == 0
        (action,) = asked("actions", "list", **settings)["actions"]
        shown = asked("actions", "show", action["id"], **settings)
        assert [step["topic"] for step in shown["steps"]].count("actions.finished") == 1


def test_a_refused_key_runs_nothing_and_is_unready(home: Path) -> None:
    """Where BIGHUB answers 401 nothing is run or blocked, the process lives on unready, and no output holds the key."""
    (home / "faults.toml").write_text('[[fault]]\nroute = "POST /actions/evaluate"\nstatus = 401\n')
    out = home / "all.out"
    with sandbox(home, "--faults", "faults.toml") as settings:
        port = free_port()
        settings |= {"CALLGATE_BIGHUB_KEY": "bh-very-secret", "CALLGATE_TELEMETRY_PORT": str(port)}
        with running("run", "--all", env=environment(**settings), log=out) as process:
            eventually(lambda: status(port, "readyz") == 200)
            submit([{"name": "look", "arguments": {"n": 1}}], **settings)
            eventually(lambda: status(port, "readyz") == 503)
            assert status(port, "livez") == 200
            assert asked("actions", "list", "--status", "open", **settings)["total"] == 1
            assert ended(process) == 0
    assert "very-secret" not in out.read_text()


def test_a_tripped_brake_ends_the_process(home: Path) -> None:
    """A service that would give up on everything stops instead: the process ends with 1, and says which and why."""
    out = home / "all.out"

    async def spoil(log: Log) -> None:
        await log.publish([Outgoing("actions.decided", 0, b"x", b"{", ()) for _ in range(40)])

    on(home / "log.db", spoil)
    with sandbox(home) as settings, running("run", "--all", env=environment(**settings), log=out) as process:
        assert process.wait(30) == 1
        said = out.read_text().splitlines()[-1]
        assert said.startswith("callgate: ")
        assert "dead letters one after another" in said
        listed = asked("deadletters", "list", **settings)
        assert 0 < listed["total"] < 80


def test_a_taken_port_is_named(home: Path) -> None:
    """A probe port that is taken, and a sandbox port that is taken, are bad input of their options."""
    with sandbox(home) as settings:
        port = settings["CALLGATE_BIGHUB_URL"].rsplit(":", 1)[1]
        done = finish("run", "--all", env=environment(**settings, CALLGATE_TELEMETRY_PORT=port), timeout=30)
        assert (done.returncode, "CALLGATE_TELEMETRY_PORT" in done.stderr) == (2, True)
        done = finish("sandbox", "--port", port, timeout=30)
        assert (done.returncode, "--port" in done.stderr) == (2, True)
        assert "Traceback" not in done.stderr


def test_help_loads_nothing_heavy() -> None:
    """`callgate --help` is quick because it imports neither a server nor BIGHUB's SDK nor an engine."""
    heavy = ("aiohttp", "bighub", "sqlite3", "jsonschema_rs", "rich.table")
    program = (
        "import sys\nfrom callgate.cli.main import cli\ncli(['--help'], standalone_mode=False)\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_goes_away_is_no_error(home: Path) -> None:
    """A pipe that is closed early ends the command without a word, as every well-behaved tool does."""
    on(home / "callgate.db", _nothing)
    process = subprocess.Popen(
        [CALLGATE, "topics", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(30) in {0, 1}, said) == (True, b"")


async def _nothing(_: Log) -> None:
    """The log is only made."""


def test_a_process_that_is_just_starting_ends_well(home: Path) -> None:
    """SIGTERM in the middle of the start ends a process with 0: a rolling update must not look like a crash."""
    settings = {"CALLGATE_LOG": f"sqlite:///{home / 'log.db'}", "CALLGATE_BIGHUB_KEY": "any"}
    settings |= {"CALLGATE_APPROVAL_TRUSTED": "true", "CALLGATE_TOOLS": "slow_tools:toolbox"}
    # The user's own module is imported before anything runs.
    (home / "slow_tools.py").write_text(f"import pathlib, time\npathlib.Path('here').touch()\ntime.sleep(1)\n{TOOLS}")
    for number in (signal.SIGTERM, signal.SIGINT):
        with running("run", "--all", env=environment(**settings), log=home / "all.out") as process:
            eventually((home / "here").exists)
            assert ended(process, number) == 0
        (home / "here").unlink()
