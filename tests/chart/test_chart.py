"""The Helm chart is held against the code: nothing that it renders may speak of what is not there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import callgate
from callgate.cli.serving import run
from callgate.environment import load, names

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/callgate"
VALUES = CHART / "ci/default-values.yaml"


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    """What helm says. A machine need have neither helm nor Go: without both the test is skipped by name."""
    found = shutil.which("helm") or next(iter(sorted(ROOT.glob(".tools/helm-*/helm"))), None)
    if found is None:
        pytest.skip("no helm on PATH, and none made by `make chart-tools`")
    return subprocess.run([str(found), *words], capture_output=True, text=True, check=False)


def template(*sets: str) -> subprocess.CompletedProcess[str]:
    """The chart with CI's values and these."""
    words = [word for each in sets for word in ("--set-string" if "env." in each else "--set", each)]
    # A helm that was built without its release flags takes itself for one of an older Kubernetes.
    return helm("template", "t", str(CHART), "--kube-version", "1.30.0", "--values", str(VALUES), *words)


def rendered() -> list[dict[str, Any]]:
    """What comes out with CI's values."""
    said = template()
    assert said.returncode == 0, said.stderr
    return [each for each in yaml.safe_load_all(said.stdout) if each]


def test_the_versions_agree() -> None:
    """The chart installs the version of the package that it lies beside."""
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == callgate.__version__


def test_lint_is_content() -> None:
    """`helm lint --strict` finds nothing."""
    said = helm("lint", "--strict", str(CHART), "--values", str(VALUES))
    assert said.returncode == 0, said.stdout + said.stderr


def test_what_is_rendered_exists_in_the_code() -> None:
    """Every variable is a setting, every service one that can be run, and no container has needless rights."""
    pods = [(each["kind"], each["spec"]["template"]["spec"]) for each in rendered() if "template" in each["spec"]]
    assert len(pods) == 6
    for kind, pod in pods:
        (container,) = pod["containers"]
        environment = {each["name"]: each["value"] for each in container["env"]}
        assert set(environment) <= names()
        load({name: text for name, text in environment.items() if not name.endswith("_FILE")})
        assert container["image"] == f"callgate:{callgate.__version__}"
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        if kind == "Deployment":
            assert container["args"][0] == "run"
            assert run.make_context("run", container["args"][1:]).params["service"] == container["name"]
        else:
            assert container["args"] == ["topics", "apply"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("log=sqlite:///callgate.db", "log: must be a kafka:// address"),
        ("tools=", "tools: is needed"),
        ("bighub.secretName=", "bighub.secretName: is needed"),
        ("env.CALLGATE_APPROVAL_TRUSTED=", "env: approvals needs"),
        ("env.CALLGATE_BIGHUB_KEY=x", "env.CALLGATE_BIGHUB_KEY: is not taken here"),
        ("terminationGracePeriodSeconds=20", "terminationGracePeriodSeconds: must be above"),
        ("unknown=1", "unknown"),
        ("services.executor.replica=1", "replica"),
    ],
)
def test_guards_refuse(change: str, message: str) -> None:
    """What can't work is refused with a message that names the value."""
    said = template(change)
    assert said.returncode != 0
    assert message in said.stderr


def test_approvers_keys_may_come_from_a_secret() -> None:
    """Approvals starts with keys out of a Secret in place of trust, and reads them where they are mounted."""
    key = "secretFiles[0]"
    said = template(
        "env.CALLGATE_APPROVAL_TRUSTED=",
        f"{key}.name=CALLGATE_APPROVAL_KEYS,{key}.secretName=approvers,{key}.secretKey=keys.json",
    )
    assert said.returncode == 0, said.stderr
    assert 'value: "/run/secrets/0/keys.json"' in said.stdout


def test_pods_are_watched_where_they_listen() -> None:
    """A PodMonitor is made only when asked for, and names a port that every service's container has."""
    assert "PodMonitor" not in template().stdout
    parts = [each for each in yaml.safe_load_all(template("podMonitor.enabled=true").stdout) if each]
    (monitor,) = [each for each in parts if each["kind"] == "PodMonitor"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["path"] == "/metrics"
    for each in parts:
        if each["kind"] == "Deployment":
            (container,) = each["spec"]["template"]["spec"]["containers"]
            assert endpoint["port"] in {port["name"] for port in container["ports"]}


def test_alerts_are_those_of_the_compose_file() -> None:
    """The rule holds the alerts that are tested with the compose file, but for the one that goes by a job's name."""
    parts = [each for each in yaml.safe_load_all(template("prometheusRule.enabled=true").stdout) if each]
    (rule,) = [each for each in parts if each["kind"] == "PrometheusRule"]
    (group,) = yaml.safe_load((ROOT / "compose/alerts.yml").read_text())["groups"]
    expected = [each for each in group["rules"] if "job=" not in each["expr"]]
    assert len(expected) == len(group["rules"]) - 1
    assert rule["spec"] == {"groups": [{**group, "rules": expected}]}
