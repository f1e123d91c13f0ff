"""The compose file and the image are held against the code: nothing in them may speak of what is not there."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree as ET

import click
import pytest
import yaml
from bighub import AsyncBighubClient
from broker.local import MESSAGE_BYTES

from callgate.cli.main import cli
from callgate.cli.play import corpora
from callgate.environment import load, names
from callgate.failures import BadInput
from callgate.notifier import service as notifier
from callgate.sandbox.policy import load_policy
from callgate.sandbox.server import LIVE
from callgate.telemetry.catalogue import CATALOGUE
from callgate.tools.load import load_toolbox

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("proposer", "evaluator", "approvals", "executor", "reporter")
OPTIONAL = "notifier"
NOTIFIED = {
    "CALLGATE_NOTIFY_WEBHOOK_SECRET": "notify_webhook_secret",
    "CALLGATE_NOTIFY_SLACK_URL": "notify_slack_url",
    "CALLGATE_NOTIFY_SMTP_PASSWORD": "notify_smtp_password",
}
"""The notifier's secrets, and the names under which the compose file has them."""
LIBRARY_VARIABLES = {"BIGHUB_ALLOW_INSECURE_HTTP", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
DRAIN_SECONDS = load({}).worker.drain_seconds


def substituted(text: str) -> str:
    """A text with each `${NAME:-default}` as it is where nobody has set NAME."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)


COMPOSE: dict[str, Any] = yaml.safe_load(substituted((ROOT / "docker-compose.yml").read_text()))
PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "compose/prometheus.yml").read_text())
ALERTS: dict[str, Any] = yaml.safe_load((ROOT / "compose/alerts.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PARTS: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, part in PARTS.items() if "build" in part]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions: keyword and the rest, continued lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.splitlines() if line.strip() and not line.strip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines()]


def understood(words: list[str]) -> click.Context:
    """Parse a command line of ours without running it; click raises where a command or an option is unknown."""
    command: click.Command = cli
    rest = list(words)
    context = click.Context(cli)
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=name)
    return command.make_context(context.info_name, rest)


@pytest.mark.parametrize("name", OURS)
def test_every_command_exists(name: str) -> None:
    """What each container runs, and how it is asked for its health, are commands of ours with options that exist."""
    part = PARTS[name]
    understood(part["command"])
    test = part["healthcheck"].get("test")
    if test is not None:
        assert test[:2] == ["CMD", "callgate"]
        understood(test[2:])


def test_a_misspelt_command_is_found() -> None:
    """The check above can fail: neither an unknown command nor an unknown option is understood."""
    with pytest.raises(click.UsageError):
        understood(["topics", "aply"])
    with pytest.raises(click.UsageError):
        understood(["topics", "apply", "--partition-count", "8"])


@pytest.mark.parametrize("name", OURS)
def test_every_variable_exists(name: str) -> None:
    """Every variable of our containers is one that Callgate, its SDK or Python reads, with a value that it takes."""
    environment = PARTS[name].get("environment", {})
    assert set(environment) <= names() | LIBRARY_VARIABLES
    readable = {key: value for key, value in environment.items() if not key.endswith("_FILE")}
    assert all(isinstance(value, str) for value in readable.values()), "a value that is no text is written differently"
    load(readable)


def test_what_a_person_may_set_is_a_setting() -> None:
    """Each variable that the compose file takes from outside is a setting, or is explained in the manual."""
    manual = (ROOT / "docs/compose.md").read_text()
    for name in re.findall(r"\$\{([A-Z_]+):-", (ROOT / "docker-compose.yml").read_text()):
        assert name in manual, f"{name} is not explained"


def test_every_image_is_pinned() -> None:
    """No image moves under our feet: each has a tag with a full version, and the broker is the one that is tested."""
    images = [part["image"] for part in PARTS.values()]
    images += [f"python:{tag}" for tag in re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)]
    assert len(images) == len(PARTS) + 1
    for image in images:
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+(-[a-z0-9-]+)?", image), image
    pom = ET.parse(ROOT / "broker/pom.xml")  # noqa: S314 - our own file
    kafka = {
        each.findtext("{*}version") for each in pom.iter("{http://maven.apache.org/POM/4.0.0}dependency")
        if each.findtext("{*}groupId") == "org.apache.kafka"
    }  # fmt: skip
    assert kafka == {PARTS["kafka"]["image"].split(":")[1]}


def test_the_broker_takes_what_callgate_writes() -> None:
    """The broker takes records as large as the tests' own does, and makes no topic by itself."""
    environment = PARTS["kafka"]["environment"]
    assert environment["KAFKA_MESSAGE_MAX_BYTES"] == str(MESSAGE_BYTES)
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_the_order_rests_on_health() -> None:
    """Whoever needs another waits until that one is healthy, or done, and whoever is waited for can say so."""
    for name, part in PARTS.items():
        for other, how in part.get("depends_on", {}).items():
            finished = how["condition"] == "service_completed_successfully"
            assert finished or how["condition"] == "service_healthy", f"{name} does not wait for {other}"
            assert finished == (PARTS[other]["healthcheck"].get("disable") is True), other
    assert "kafka" in PARTS["topics"]["depends_on"]
    for name in (*SERVICES, OPTIONAL):
        assert "topics" in PARTS[name]["depends_on"]
        assert (name in PARTS["play"]["depends_on"]) == (name in SERVICES)
    for name in ("evaluator", "reporter"):
        assert "sandbox" in PARTS[name]["depends_on"]


def test_all_five_services_run() -> None:
    """Every service is there once, under its own name."""
    assert [part["command"] for name, part in PARTS.items() if name in SERVICES] == [["run", each] for each in SERVICES]


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_little(name: str) -> None:
    """Ours run on a read-only file system, without capabilities and without a way to get any."""
    part = PARTS[name]
    assert part["read_only"] is True
    assert part["cap_drop"] == ["ALL"]
    assert part["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in part
    assert "user" not in part, "the image says who they are"


def test_nothing_is_open_to_other_machines() -> None:
    """A port that is published is published on the loopback, and no broker, probe or sandbox is published at all."""
    for name, part in PARTS.items():
        for port in part.get("ports", []):
            assert port.startswith("127.0.0.1:"), port
            assert name == "prometheus"
    assert COMPOSE["networks"]["bighub"]["internal"] is True


def test_a_stopping_service_may_drain() -> None:
    """Each service is given longer to stop than it takes to finish what it has begun."""
    for name in (*SERVICES, OPTIONAL):
        assert float(PARTS[name]["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS


def test_the_sdk_takes_the_sandbox_address() -> None:
    """The address of the sandbox is one that the BIGHUB SDK takes, with what is set for it and not without."""
    environment = PARTS["evaluator"]["environment"]
    url = environment["CALLGATE_BIGHUB_URL"]
    host, port = url.removeprefix("http://").split(":")
    assert host in PARTS["sandbox"]["networks"]["bighub"]["aliases"]
    context = understood(PARTS["sandbox"]["command"])
    assert (context.params["host"], str(context.params["port"])) == ("0.0.0.0", port)  # noqa: S104 - in a container
    with patch.dict(os.environ, BIGHUB_ALLOW_INSECURE_HTTP=environment["BIGHUB_ALLOW_INSECURE_HTTP"]):
        AsyncBighubClient(base_url=url, api_key="any")
    with patch.dict(os.environ, BIGHUB_ALLOW_INSECURE_HTTP=""), pytest.raises(ValueError, match="Insecure"):
        AsyncBighubClient(base_url=url, api_key="any")
    for name in ("evaluator", "reporter"):
        assert PARTS[name]["environment"]["CALLGATE_BIGHUB_URL"] == url
        assert set(PARTS[name]["networks"]) == {"default", "bighub"}
    assert {name for name, part in PARTS.items() if "bighub" in part.get("networks", ())} == {
        "sandbox", "evaluator", "reporter",
    }  # fmt: skip


def test_the_key_is_a_secret() -> None:
    """The key comes as a file, only to those who ask BIGHUB, and stands in no variable."""
    for name, part in PARTS.items():
        assert "CALLGATE_BIGHUB_KEY" not in part.get("environment", {})
        assert ("bighub_key" in part.get("secrets", [])) == (name in {"evaluator", "reporter"})
        assert ("secrets" in part) == (name in {"evaluator", "reporter", OPTIONAL})
        for secret in part.get("secrets", []):
            assert f"/run/secrets/{secret}" in part["environment"].values()
            assert (ROOT / COMPOSE["secrets"][secret]["file"]).is_file()


def test_the_notifier_is_off_until_it_is_asked_for() -> None:
    """It has a profile of its own, nobody waits for it, and nothing is set: without a channel it refuses to start."""
    part = PARTS[OPTIONAL]
    assert [name for name, each in PARTS.items() if "profiles" in each] == [OPTIONAL, "play"]
    assert part["profiles"] == ["notify"]
    assert part["command"] == ["run", OPTIONAL]
    assert not [name for name, each in PARTS.items() if OPTIONAL in each.get("depends_on", {})]
    with pytest.raises(BadInput, match="no other channel"):
        notifier.check(load(_found(part["environment"])).notify)


def test_the_notifiers_channels_can_be_set() -> None:
    """Each secret is a file of its own, empty unless somebody names another, and none can come as a variable."""
    part = PARTS[OPTIONAL]
    named = {name: text for name, text in part["environment"].items() if "_NOTIFY_" in name}
    assert {name for name in names() if name.endswith("_FILE") and "_NOTIFY_" in name} <= set(named)
    assert part["secrets"] == list(NOTIFIED.values())
    for name, secret in NOTIFIED.items():
        assert name not in named
        assert named[f"{name}_FILE"] == f"/run/secrets/{secret}"
        assert (ROOT / COMPOSE["secrets"][secret]["file"]).read_bytes() == b""
    given = {"CALLGATE_NOTIFY_SMTP_HOST": "mail.example", "CALLGATE_NOTIFY_SMTP_FROM": "gate@example.org"}
    mail = load({**_found(named), **given, "CALLGATE_NOTIFY_SMTP_TO": "ops@example.org"})
    notifier.check(mail.notify)
    raw = (ROOT / "docker-compose.yml").read_text()
    assert all(f"${{{name}:-" in raw for name in (*given, "CALLGATE_NOTIFY_WEBHOOKS", "CALLGATE_NOTIFY_SMTP_TO"))
    assert all(f"${{{name}_FILE:-" in raw for name in NOTIFIED)


def _found(environment: dict[str, str]) -> dict[str, str]:
    """An environment as a container finds it, with the secrets where this machine has them."""
    files = {f"/run/secrets/{name}": str(ROOT / each["file"]) for name, each in COMPOSE["secrets"].items()}
    return {name: files.get(text, text) for name, text in environment.items()}


def test_health_is_asked_where_it_is_answered() -> None:
    """Health checks ask paths and ports that are served: the probes' for services, the sandbox' own for it."""
    assert PARTS["sandbox"]["healthcheck"]["test"][-1] == f"http://127.0.0.1:8765{LIVE}"
    for name in (*SERVICES, OPTIONAL):
        assert PARTS[name]["healthcheck"]["test"] == ["CMD", "callgate", "health"]
        assert load(
            {key: value for key, value in PARTS[name]["environment"].items() if "TELEMETRY" in key}
        ).telemetry.port


def test_prometheus_scrapes_every_service() -> None:
    """Each service's probes are scraped at the port where they listen, and the listening is not on loopback only."""
    (job,) = PROMETHEUS["scrape_configs"]
    targets = job["static_configs"][0]["targets"]
    environments = {name: PARTS[name]["environment"] for name in (*SERVICES, OPTIONAL)}
    ports = {name: each["CALLGATE_TELEMETRY_PORT"] for name, each in environments.items()}
    assert targets == [f"{name}:{ports[name]}" for name in SERVICES]
    (looked_up,) = job["dns_sd_configs"]
    assert (looked_up["names"], looked_up["type"]) == ([OPTIONAL], "A")
    assert str(looked_up["port"]) == ports[OPTIONAL]
    assert {each["CALLGATE_TELEMETRY_HOST"] for each in environments.values()} == {"0.0.0.0"}  # noqa: S104 - in containers


def test_alerts_speak_of_metrics_that_exist() -> None:
    """Every metric in an alert is shown by /metrics under that name, and every label in it is one of that metric's."""
    known = {f"{metric.name}{end}": metric for metric in CATALOGUE for end in SUFFIXES[metric.kind]}
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    assert len(rules) > 4
    seen = 0
    for rule in rules:
        for name, labels in re.findall(r"(callgate_\w+)(?:\{([^}]*)\})?", rule["expr"]):
            assert name in known, f"{rule['alert']}: {name}"
            used = {label.partition("=")[0] for label in labels.split(",") if label}
            assert used <= set(known[name].labels), rule["alert"]
            seen += 1
    assert seen > 4
    jobs = {job["job_name"] for job in PROMETHEUS["scrape_configs"]}
    assert set(re.findall(r'job="(\w+)"', " ".join(rule["expr"] for rule in rules))) == jobs


def test_mounted_files_exist() -> None:
    """What is mounted from the project is there, and every volume that is named is declared."""
    for part in PARTS.values():
        for mount in part.get("volumes", []):
            source = mount.split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists(), mount
    mounted = [each.split(":")[1] for each in PARTS["prometheus"]["volumes"]]
    assert PROMETHEUS["rule_files"][0] in mounted


def test_the_play_finds_what_it_plays(tmp_path: Path) -> None:
    """The recording, the policy and the toolbox of the play can be read, where both sides of it find them."""
    inside = PARTS["play"]["command"][1]
    turns = list(corpora.read(ROOT / inside.lstrip("/")))
    assert len(turns) == 16
    load_policy(ROOT / str(understood(PARTS["sandbox"]["command"]).params["policy"]).lstrip("/"))
    with patch.dict(os.environ, {"CALLGATE_LOG": f"sqlite:///{tmp_path}/play.db"}):
        assert load_toolbox(PARTS["executor"]["environment"]["CALLGATE_TOOLS"]).open
    shared = {mount for mount in PARTS["play"]["volumes"] if mount in PARTS["executor"]["volumes"]}
    assert shared == set(PARTS["play"]["volumes"]), "the executor sees neither recordings nor witness"
    folder = next(rest for word, rest in instructions() if word == "WORKDIR" and rest.startswith("/var"))
    assert f"plays:{folder}" in shared, "recordings and witness lie in the working directory"
    assert PARTS["play"]["environment"]["CALLGATE_LOG"] == PARTS["executor"]["environment"]["CALLGATE_LOG"]
    assert understood(PARTS["play"]["command"]).params["address"] == PARTS["play"]["environment"]["CALLGATE_LOG"]


def test_the_image_is_built_from_the_locks() -> None:
    """Everything that is installed from outside comes from a lock with hashes; ours is built from what is copied."""
    installs = [each for word, rest in instructions() if word == "RUN" for each in rest.split("&&") if "pip " in each]
    assert installs
    for each in installs:
        words = shlex.split(each)
        command = words[words.index(next(word for word in words if word.endswith("/pip"))) + 1]
        if command == "install":
            assert "--no-index" in words or "--require-hashes" in words, each
        else:
            assert command == "uninstall" or {"--no-deps", "--no-build-isolation"} <= set(words), each
    for lock in ("requirements.lock", "requirements-build.lock"):
        assert "--hash=sha256:" in (ROOT / lock).read_text()
        assert lock in DOCKERFILE


def test_the_build_finds_what_it_copies() -> None:
    """Each file that is copied exists and is not kept from the build."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists()
                assert source in allowed, source
    for line in allowed:
        assert (ROOT / line).exists(), line


def test_the_image_is_small_and_not_root() -> None:
    """Two stages of one Python; the last has no build tools, a numeric user, the command line and its health."""
    words = [word for word, _ in instructions()]
    last = instructions()[len(words) - 1 - words[::-1].index("FROM") :]
    assert words.count("FROM") == 2
    assert all("pip" not in rest and "apt" not in rest for _, rest in last)
    values = dict(last)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", values["USER"])
    assert values["ENTRYPOINT"] == '["callgate"]'
    assert values["HEALTHCHECK"].endswith('CMD ["callgate", "health"]')
    assert set(re.findall(r"([A-Z_]+)=", values["ENV"])) <= names() | LIBRARY_VARIABLES | {"PATH"}
    assert values["EXPOSE"] == re.findall(r"CALLGATE_TELEMETRY_PORT=(\d+)", values["ENV"])[0]
