"""The Helm chart is held against the code: nothing that it renders may speak of what is not there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import callgate
from callgate.cli.hosting import SERVICES
from callgate.cli.serving import run
from callgate.environment import load, names
from callgate.notifier import service as notifier
from callgate.policy.document import parse
from callgate.proposer import announcing

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/callgate"
VALUES = CHART / "ci/default-values.yaml"
EVERYTHING = CHART / "ci/everything-values.yaml"
_BOTH = pytest.mark.parametrize("values", [VALUES, EVERYTHING], ids=["default", "everything"])


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    """What helm says. A machine need have neither helm nor Go: without both the test is skipped by name."""
    found = shutil.which("helm") or next(iter(sorted(ROOT.glob(".tools/helm-*/helm"))), None)
    if found is None:
        pytest.skip("no helm on PATH, and none made by `make chart-tools`")
    return subprocess.run([str(found), *words], capture_output=True, text=True, check=False)


def template(*sets: str, values: Path = VALUES) -> subprocess.CompletedProcess[str]:
    """The chart with CI's values and these."""
    words = [word for each in sets for word in ("--set-string" if "env." in each else "--set", each)]
    # A helm that was built without its release flags takes itself for one of an older Kubernetes.
    return helm("template", "t", str(CHART), "--kube-version", "1.30.0", "--values", str(values), *words)


def rendered(*sets: str, values: Path = VALUES) -> list[dict[str, Any]]:
    """What comes out with CI's values and these."""
    said = template(*sets, values=values)
    assert said.returncode == 0, said.stderr
    return [each for each in yaml.safe_load_all(said.stdout) if each]


def of_kind(parts: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The parts of one kind."""
    return [each for each in parts if each["kind"] == kind]


def pods(parts: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The pods' templates, of services and of the topics' job, by the name of their container."""
    found = [each["spec"]["template"] for kind in ("Deployment", "Job") for each in of_kind(parts, kind)]
    return {each["spec"]["containers"][0]["name"]: each for each in found}


def test_the_versions_agree() -> None:
    """The chart installs the version of the package that it lies beside."""
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == callgate.__version__


@_BOTH
def test_lint_is_content(values: Path) -> None:
    """`helm lint --strict` finds nothing."""
    said = helm("lint", "--strict", str(CHART), "--values", str(values))
    assert said.returncode == 0, said.stdout + said.stderr


@_BOTH
def test_what_is_rendered_exists_in_the_code(values: Path) -> None:
    """Every variable is a setting, every service one that can be run, and no container has needless rights."""
    found = pods(rendered(values=values))
    assert set(found) == {*SERVICES, "topics", *(["notifier"] if values is EVERYTHING else [])}
    for name, part in found.items():
        pod = part["spec"]
        (container,) = pod["containers"]
        environment = {each["name"]: each["value"] for each in container["env"]}
        assert set(environment) <= names()
        load({name: text for name, text in environment.items() if not name.endswith("_FILE")})
        assert container["image"] == f"callgate:{callgate.__version__}"
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
        if name != "topics":
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
        ("services.notifier.enabled=true", "env: notifier needs"),
        ("services.notifier.enabled=true env.CALLGATE_NOTIFY_WEBHOOKS=https://a.example/", "secretFiles: notifier"),
        ("env.CALLGATE_NOTIFY_SLACK_URL=https://a.example/", "env.CALLGATE_NOTIFY_SLACK_URL: is not taken here"),
        ("env.CALLGATE_NOTIFY_SMTP_PASSWORD=x", "env.CALLGATE_NOTIFY_SMTP_PASSWORD: is not taken here"),
        ("approvalPolicy=x env.CALLGATE_APPROVAL_POLICY=/policy", "approvalPolicy: is there"),
        ("networkPolicy.enabled=true", "networkPolicy.egress: is empty"),
        ("modelWebhook.enabled=true", "modelWebhook: needs the proposer"),
        ("env.CALLGATE_MODEL_WEBHOOK_SECRET=x", "env.CALLGATE_MODEL_WEBHOOK_SECRET: is not taken here"),
    ],
)
def test_guards_refuse(change: str, message: str) -> None:
    """What can't work is refused with a message that names the value."""
    said = template(*change.split())
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


def test_secrets_reach_only_who_reads_them() -> None:
    """What is for the model, BIGHUB, the tools or the notifier is mounted where it is used, and only there."""
    found = pods(rendered(values=EVERYTHING))
    secrets = {
        name: {each["secret"]["secretName"] for each in part["spec"]["volumes"] if "secret" in each}
        for name, part in found.items()
    }
    assert secrets == {
        "proposer": {"approvers", "model"},
        "evaluator": {"approvers", "bighub"},
        "approvals": {"approvers"},
        "executor": {"approvers", "tools"},
        "reporter": {"approvers", "bighub"},
        "notifier": {"approvers", "notify"},
        "topics": {"approvers"},
    }
    for part in found.values():
        (container,) = part["spec"]["containers"]
        named = {each["value"] for each in container["env"] if each["value"].startswith("/run/secrets/")}
        mounted = {each["mountPath"] for each in container["volumeMounts"]}
        assert {name.rpartition("/")[0] for name in named} <= mounted


def test_the_notifier_has_channels_that_it_takes() -> None:
    """Switched on it gets all that it needs to start; off it is not there."""
    assert "notifier" not in pods(rendered())
    (container,) = pods(rendered(values=EVERYTHING))["notifier"]["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    secrets = {"CALLGATE_NOTIFY_WEBHOOK_SECRET": "s" * 16, "CALLGATE_NOTIFY_SLACK_URL": "https://slack.example/x"}
    assert {f"{name}_FILE" for name in secrets} <= set(environment)
    plain = {name: text for name, text in environment.items() if not name.endswith("_FILE")}
    notifier.check(load({**plain, **secrets}).notify)


def test_the_policy_is_where_it_is_read() -> None:
    """It can be parsed as it is rendered, and evaluator and executor find it as a file that follows the ConfigMap."""
    parts = rendered(values=EVERYTHING)
    (stored,) = of_kind(parts, "ConfigMap")
    ((name, text),) = stored["data"].items()
    assert parse(text, source=name).digest() == parse(_given()["approvalPolicy"], source="values").digest()
    for service, part in pods(parts).items():
        (container,) = part["spec"]["containers"]
        mounts = {each["name"]: each for each in container["volumeMounts"]}
        environment = {each["name"]: each["value"] for each in container["env"]}
        assert ("policy" in mounts) == (service in {"evaluator", "executor"})
        assert ("CALLGATE_APPROVAL_POLICY" in environment) == ("policy" in mounts)
        if "policy" in mounts:
            assert environment["CALLGATE_APPROVAL_POLICY"] == f"{mounts['policy']['mountPath']}/{name}"
            assert "subPath" not in mounts["policy"], "a file that is mounted by itself stays as it was"
            volumes = {each["name"]: each for each in part["spec"]["volumes"]}
            assert volumes["policy"]["configMap"]["name"] == stored["metadata"]["name"]


def test_every_pod_has_one_network_policy() -> None:
    """Each pod may reach DNS and what was named, a service's own rule is its own, and only metrics are let in."""
    parts, given = rendered(values=EVERYTHING), _given()
    rules = of_kind(parts, "NetworkPolicy")
    for service, part in pods(parts).items():
        labels = part["metadata"]["labels"].items()
        (rule,) = [each["spec"] for each in rules if each["spec"]["podSelector"]["matchLabels"].items() <= labels]
        assert rule["policyTypes"] == ["Ingress", "Egress"]
        dns, *rest = rule["egress"]
        assert {port["port"] for port in dns["ports"]} == {53}
        own = given["services"]["evaluator"]["egress"] if service == "evaluator" else []
        assert rest == [*given["networkPolicy"]["egress"], *own]
        metrics = {"from": given["networkPolicy"]["metricsFrom"], "ports": [{"port": "telemetry"}]}
        notices = {"from": given["modelWebhook"]["from"], "ports": [{"port": "notices"}]}
        let_in = {"topics": [], "proposer": [metrics, notices]}
        assert rule["ingress"] == let_in.get(service, [metrics])
    assert of_kind(rendered(), "NetworkPolicy") == []


def test_without_readers_of_metrics_nothing_is_let_in() -> None:
    """An empty list of peers would let everybody in, so there is no rule at all."""
    rules = of_kind(
        rendered("networkPolicy.metricsFrom=null,modelWebhook.from=null", values=EVERYTHING), "NetworkPolicy"
    )
    assert rules
    assert all(each["spec"]["ingress"] == [] for each in rules)


def test_pods_have_an_account_of_their_own() -> None:
    """Services use it and nobody gets its token; the job that runs before it is made uses another; it may be yours."""
    parts = rendered(values=EVERYTHING)
    (account,) = of_kind(parts, "ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    assert account["metadata"]["annotations"] == _given()["serviceAccount"]["annotations"]
    used = {name: part["spec"]["serviceAccountName"] for name, part in pods(parts).items()}
    assert used.pop("topics") == "default"
    assert set(used.values()) == {account["metadata"]["name"]}
    yours = rendered("serviceAccount.create=false,serviceAccount.name=yours")
    assert of_kind(yours, "ServiceAccount") == []
    assert {part["spec"]["serviceAccountName"] for part in pods(yours).values()} == {"yours"}


def test_notices_reach_the_proposers() -> None:
    """The Service leads to a port on which the proposers are told to listen, with all that they need for it."""
    parts = rendered(values=EVERYTHING)
    (service,) = of_kind(parts, "Service")
    found = [
        each
        for each in pods(parts).values()
        if service["spec"]["selector"].items() <= each["metadata"]["labels"].items()
    ]
    (container,) = [container for each in found for container in each["spec"]["containers"]]
    assert container["name"] == "proposer"
    environment = {each["name"]: each["value"] for each in container["env"]}
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert str(ports[service["spec"]["ports"][0]["targetPort"]]) == environment["CALLGATE_MODEL_WEBHOOK_PORT"]
    secrets = {"CALLGATE_MODEL_KEY": "key", "CALLGATE_MODEL_WEBHOOK_SECRET": "s" * 16}
    assert {f"{name}_FILE" for name in secrets} <= set(environment)
    plain = {name: text for name, text in environment.items() if not name.endswith("_FILE")}
    announcing.check(load({**plain, **secrets}).model)
    assert of_kind(rendered(), "Service") == []


def test_no_service_is_taken_for_a_setting() -> None:
    """Kubernetes writes variables for Services, and one of a release called callgate would begin like ours."""
    for part in pods(rendered(values=EVERYTHING)).values():
        assert part["spec"]["enableServiceLinks"] is False


def test_images_may_need_a_password() -> None:
    """The Secrets for the registry are named in every pod."""
    for part in pods(rendered(values=EVERYTHING)).values():
        assert part["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def _given() -> dict[str, Any]:
    """The values with everything in them."""
    found: dict[str, Any] = yaml.safe_load(EVERYTHING.read_text())
    return found


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
