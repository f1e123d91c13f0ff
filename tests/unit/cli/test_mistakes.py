"""What people get wrong on the command line ends in a sentence that names it, exit code 2, and no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.command import callgate, feed
from tests.support.planted import plant

from callgate.events.control import WorkerReported
from callgate.failures import BadInput
from callgate.log.port import LogUnavailable

LOOKING = [
    ["actions", "list"],
    ["actions", "show", "abc"],
    ["approvals", "list"],
    ["approvals", "show", "abc"],
    ["approvals", "approve", "abc"],
    ["approvals", "reject", "abc"],
    ["deadletters", "list"],
    ["deadletters", "show", "0/1"],
    ["deadletters", "redrive", "0/1"],
    ["control", "show"],
    ["control", "lift", "--all"],
    ["topics", "list"],
]
TOOLS = "from callgate.tools.toolbox import Toolbox\ntoolbox = Toolbox()\n@toolbox.tool\ndef add(n: int) -> int: ...\n"


@pytest.mark.parametrize("arguments", LOOKING, ids=" ".join)
def test_looking_makes_no_log(arguments: list[str], tmp_path: Path) -> None:
    """A command that only looks says that there is no log at a misspelt address, and does not make one."""
    path = tmp_path / "misspelt.db"
    ran = callgate(*arguments, CALLGATE_LOG=f"sqlite:///{path}")
    assert ran.code == 2
    assert "no log at" in ran.err
    assert "--log" in ran.err
    assert not path.exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgres://x", "no address"),
        ("sqlite:///", "no address"),
        ("kafka://broker", "no host and port"),
        ("sqlite:////nowhere/at/all/x.db", "does not exist"),
        ("sqlite://:memory:", "memory"),
    ],
)
def test_an_impossible_log_is_named(address: str, said: str) -> None:
    """An address that can't be one is named with what would be right, before anything is opened."""
    ran = callgate("actions", "list", "--log", address)
    assert ran.code == 2
    assert said in ran.err


def test_a_file_that_is_no_log_is_left_alone(tmp_path: Path) -> None:
    """Another program's file is refused in words, and keeps its content."""
    path = tmp_path / "notes.db"
    path.write_text("these are my notes, which are long enough to be taken for a database" * 30)
    before = path.read_bytes()
    ran = callgate("actions", "list", "--log", f"sqlite:///{path}")
    assert ran.code in {1, 2}
    assert str(path) in ran.err
    assert path.read_bytes() == before


@pytest.mark.parametrize("service", ["evaluator", "reporter"])
def test_without_a_key_nothing_starts(service: str, tmp_path: Path) -> None:
    """A service that asks BIGHUB refuses to start without a key, names the variable, and does not use the sandbox."""
    ran = callgate("run", service, CALLGATE_LOG=f"sqlite:///{tmp_path / 'log.db'}")
    assert ran.code == 2
    assert "CALLGATE_BIGHUB_KEY" in ran.err
    assert "sandbox" not in ran.out


@pytest.mark.parametrize("service", ["proposer", "executor"])
def test_without_tools_nothing_starts(service: str, tmp_path: Path) -> None:
    """A service that imports user code refuses to start without a toolbox, and says how to name one."""
    ran = callgate("run", service, CALLGATE_LOG=f"sqlite:///{tmp_path / 'log.db'}")
    assert ran.code == 2
    assert "--tools" in ran.err


def test_without_a_channel_the_notifier_does_not_start(tmp_path: Path) -> None:
    """The notifier refuses to start where there is nobody to tell, and names what to set."""
    ran = callgate("run", "notifier", CALLGATE_LOG=f"sqlite:///{tmp_path / 'log.db'}")
    assert ran.code == 2
    assert "CALLGATE_NOTIFY_WEBHOOKS" in ran.err


def test_untrusted_votes_are_not_believed_by_default(tmp_path: Path) -> None:
    """The approvals service refuses to start where nobody has said that unsigned votes may be believed."""
    ran = callgate("run", "approvals", CALLGATE_LOG=f"sqlite:///{tmp_path / 'log.db'}")
    assert ran.code == 2
    assert "CALLGATE_APPROVAL_TRUSTED" in ran.err


def test_a_misspelt_setting_is_named_with_the_nearest_by_whatever_reads_settings(tmp_path: Path) -> None:
    """A variable that looks like a setting and is none is told by `run`, `dev` and `check`; the right ones are not."""
    misspelt = {"CALLGATE_APPROVAL_DEADLINE_SECOND": "60", "CALLGATE_LOG": f"sqlite:///{tmp_path / 'log.db'}"}
    for command in (["run", "evaluator"], ["dev"], ["check"]):
        ran = callgate(*command, **misspelt)
        told = ran.out + ran.err
        assert "CALLGATE_APPROVAL_DEADLINE_SECOND (did you mean CALLGATE_APPROVAL_DEADLINE_SECONDS?)" in told
        assert "CALLGATE_LOG (" not in told


@pytest.mark.parametrize(
    ("failures", "code", "said"),
    [
        ([BrokenPipeError()], 0, ""),
        ([BadInput("--log", "is wrong", "Mend it"), OSError(5, "eio")], 2, "callgate: --log: is wrong. Mend it\n"),
        ([ExceptionGroup("inner", [LogUnavailable("the log is away")])], 1, "callgate: the log is away\n"),
    ],
    ids=["a reader that has gone", "the first speaks", "one within one"],
)
def test_what_tasks_raise_together_ends_in_one_sentence(
    failures: list[Exception], code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that follows several topics at once ends as one that follows one; `| head` is no failure of either."""

    def fail(**_: object) -> None:
        raise ExceptionGroup("tasks", failures)

    monkeypatch.setattr("callgate.cli.main.cli", fail)
    ran = callgate("approvals", "watch")
    assert (ran.code, ran.err) == (code, said)


def test_a_defect_among_them_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no user can cause is not hidden behind what one can."""

    def fail(**_: object) -> None:
        raise ExceptionGroup("tasks", [BrokenPipeError(), ZeroDivisionError()])

    monkeypatch.setattr("callgate.cli.main.cli", fail)
    with pytest.raises(ExceptionGroup):
        callgate("approvals", "watch")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_ends_in_a_sentence(tmp_path: Path) -> None:
    """What can't be written out any more ends a command with exit code 1 and why, once."""
    said = "import sys; from callgate.cli.main import main; sys.argv = ['callgate', '--help']; main()"
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run([sys.executable, "-c", said], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (1, "callgate: nothing more can be written: No space left on device\n")


@pytest.mark.parametrize("arguments", [[], ["evaluator", "--all"], ["cook"]], ids=str)
def test_run_wants_one_service_or_all(arguments: list[str]) -> None:
    """`run` needs a known service or --all, and not both."""
    assert callgate("run", *arguments).code == 2


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ("toolbox", "module:attribute"),
        ("no_such_module_here:toolbox", "no module"),
        ("callgate.clock:toolbox", "has no 'toolbox'"),
        ("callgate.clock:SystemClock", "not a Toolbox"),
    ],
)
def test_a_toolbox_that_is_none_is_named(tools: str, said: str, tmp_path: Path) -> None:
    """Tools that can't be loaded are named with what is wrong, at `run`, `dev` and `check` alike."""
    log = {"CALLGATE_LOG": f"sqlite:///{tmp_path / 'log.db'}"}
    for command in (["run", "executor"], ["dev"]):
        ran = callgate(*command, "--tools", tools, **log)
        assert ran.code == 2
        assert said in ran.err
    assert said in callgate("check", "--tools", tools, **log).out


def test_every_bad_setting_is_named_by_run_and_check(tmp_path: Path) -> None:
    """All variables that can't be used are named at once, by whoever meets them first."""
    bad = {"CALLGATE_WORKER_CONCURRENCY": "many", "CALLGATE_TELEMETRY_PORT": "99999"}
    bad["CALLGATE_LOG"] = f"sqlite:///{tmp_path / 'log.db'}"
    for ran in (callgate("run", "--all", **bad), callgate("check", **bad)):
        assert ran.code == 2
        assert "CALLGATE_WORKER_CONCURRENCY" in ran.err + ran.out
        assert "CALLGATE_TELEMETRY_PORT" in ran.err + ran.out


@pytest.mark.parametrize(
    ("option", "content", "said"),
    [
        ("--policy", "[[rule]]\ndecision = 'allow'", "no condition"),
        ("--policy", "this is no TOML", "policy"),
        ("--faults", "[[fault]]\nrout = 'x'", "rout"),
    ],
)
def test_a_file_for_the_sandbox_is_checked(option: str, content: str, said: str, tmp_path: Path) -> None:
    """A policy or faults file that can't be used is named with its fault, before anything listens."""
    path = tmp_path / "policy.toml"
    path.write_text(content)
    ran = callgate("sandbox", "--port", "0", option, str(path))
    assert ran.code == 2
    assert said in ran.err
    assert callgate("sandbox", option, str(tmp_path / "missing.toml")).code == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", "neither"),
        (b'{"calls": 3}', "not a list"),
        (b'{"calls": [{"arguments": {}}]}', "call 0"),
        (b'{"calls": [], "session": 7}', "session"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_a_turn_that_is_none_is_not_submitted(content: bytes, said: str, tmp_path: Path) -> None:
    """What is no model's answer is refused in words, and nothing of it reaches the log."""
    log = {"CALLGATE_LOG": f"sqlite:///{tmp_path / 'log.db'}"}
    assert callgate("control", "hold", "--all", "--reason", "so that there is a log", **log).code == 0
    ran = feed(content, "submit", "-", **log)
    assert ran.code == 2
    assert said in ran.err
    shown = callgate("topics", "list", "--json", **log).json()["topics"]
    assert {topic["name"] for topic in shown if any(topic["ends"].values())} == {"control"}


def test_bad_options_of_submit_are_named(tmp_path: Path) -> None:
    """Labels that are no object, and a file that is not there, are named."""
    log = {"CALLGATE_LOG": f"sqlite:///{tmp_path / 'log.db'}"}
    turn = json.dumps({"calls": []}).encode()
    assert "--context" in feed(turn, "submit", "-", "--context", "[]", **log).err
    assert "--context" in feed(turn, "submit", "-", "--context", "{", **log).err
    missing = callgate("submit", str(tmp_path / "missing.json"), **log)
    assert (missing.code, "missing.json" in missing.err) == (2, True)


def test_a_turn_that_nobody_reads_is_told_so(tmp_path: Path) -> None:
    """Where no proposer lives on the log, say a misspelt one, `submit` and `ask` tell it; else they don't."""
    log = {"CALLGATE_LOG": f"sqlite:///{tmp_path / 'l.db'}"}
    asked = callgate("ask", "hello", "--model", "any", "--timeout", "0", **log)
    assert (asked.code, "No proposer is heard of" in asked.err) == (3, True)
    now = time.time()
    plant(
        tmp_path / "l.db",
        WorkerReported(service="proposer", member="m", version="1", epoch=0, ready=True, reported_at=now),
    )
    submitted = feed(b'{"calls": []}', "submit", "-", **log)
    assert (submitted.code, "No proposer" in submitted.err) == (0, False)


def test_an_empty_tenant_is_named(tmp_path: Path) -> None:
    """A name that is empty is refused before it is written, since no reader would take it."""
    ran = feed(b'{"calls": []}', "submit", "-", "--tenant", "", CALLGATE_LOG=f"sqlite:///{tmp_path / 'l.db'}")
    assert ran.code == 2
    assert "tenant" in ran.err


def test_a_switch_over_everything_is_said_outright(tmp_path: Path) -> None:
    """Stopping without a scope needs --all, so that a forgotten option does not stop the fleet."""
    log = {"CALLGATE_LOG": f"sqlite:///{tmp_path / 'log.db'}"}
    assert "--all" in callgate("control", "stop", "--reason", "x", **log).err
    assert callgate("control", "stop", "--reason", "x", "--all", "--tool", "t", **log).code == 2
    assert callgate("control", "stop", "--all", **log).code == 2
    assert callgate("control", "stop", "--all", "--reason", "x", **log).code == 0


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"], ["run", "--help"], ["approvals", "--help"]])
def test_help_is_no_mistake(arguments: list[str]) -> None:
    """Asking for help or for the version succeeds."""
    ran = callgate(*arguments)
    assert ran.code == 0
    assert ran.out


@pytest.mark.parametrize("arguments", [["cook"], ["actions", "cook"], ["actions", "list", "--limit", "0"], ["--cook"]])
def test_an_unknown_word_is_bad_input(arguments: list[str]) -> None:
    """A command or option that does not exist, or a value out of range, is bad input."""
    ran = callgate(*arguments)
    assert ran.code == 2
    assert ran.err


def test_check_is_content_with_what_can_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With key, tools and trust `check` exits 0, shows no secret, and makes no log."""
    (tmp_path / "checked_tools.py").write_text(TOOLS)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "policy.toml").write_text('[[rule]]\naction = "add"\ndecision = "review"\n')
    ran = callgate(
        "check", "--tools", "checked_tools:toolbox", "--policy", str(tmp_path / "policy.toml"),
        CALLGATE_LOG=f"sqlite:///{tmp_path / 'log.db'}", CALLGATE_BIGHUB_KEY="bh-secret",
        CALLGATE_APPROVAL_TRUSTED="true", CALLGATE_BIGHUP_KEY="misspelt",
    )  # fmt: skip
    assert ran.code == 0, ran.out
    assert "add (unsafe)" in ran.out
    assert "CALLGATE_BIGHUP_KEY" in ran.out
    assert "secret" not in ran.out
    assert not (tmp_path / "log.db").exists()


def test_check_tells_what_does_not_answer_from_what_is_wrong(tmp_path: Path) -> None:
    """A BIGHUB that can't be reached is a failure, exit code 1, and not bad input."""
    ran = callgate(
        "check", "--online", "--json",
        CALLGATE_LOG=f"sqlite:///{tmp_path / 'log.db'}", CALLGATE_BIGHUB_KEY="any",
        CALLGATE_BIGHUB_URL="http://127.0.0.1:9", CALLGATE_APPROVAL_TRUSTED="true",
    )  # fmt: skip
    assert ran.code == 1
    assert {each["what"]: each["grade"] for each in ran.json()}["bighub"] == "failed"
