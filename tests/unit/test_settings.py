"""Settings from the environment: defaults that work, every fault named at once, and secrets that never show."""

from __future__ import annotations

from pathlib import Path

import pytest

from callgate.environment import BadSettings, load, names
from callgate.settings import Secret, Settings


def state(settings: Settings) -> tuple[str, ...]:
    """Everything that settings hold, the secrets too."""
    notify = (settings.notify.webhook_secret, settings.notify.slack_url, settings.notify.smtp_password)
    model, kafka = (settings.model.key, settings.model.webhook_secret), settings.kafka
    secrets = (settings.bighub.key, kafka.password, kafka.key_password, *model, *notify)
    return repr(settings), *(secret.reveal() for secret in secrets)


def changes(name: str, text: str) -> bool:
    """Whether a variable has any say: other settings, or a fault that names it."""
    try:
        return state(load({name: text})) != state(Settings())
    except BadSettings as bad:
        return bad.faults[0].field == name


def test_an_empty_environment_gives_usable_defaults() -> None:
    """Nothing has to be set, except the key that no default can stand for."""
    settings = load({})
    assert state(settings) == state(Settings())
    assert settings.log == "sqlite:///callgate.db"
    assert settings.telemetry.host == "127.0.0.1"
    assert not settings.bighub.key
    assert not settings.approval.trusted


def test_each_kind_of_value_is_read() -> None:
    """Texts, whole numbers, fractions, yes and no, and lists are read from their variables."""
    settings = load(
        {
            "CALLGATE_LOG": "sqlite:////var/lib/callgate.db",
            "CALLGATE_WORKER_CONCURRENCY": "7",
            "CALLGATE_WORKER_TENANT_SHARE": "0.25",
            "CALLGATE_APPROVAL_TRUSTED": "Yes",
            "CALLGATE_TELEMETRY_TOOLS": "refund, ,restart",
            "CALLGATE_PROPOSER_SIBLINGS": "block",
            "SOMETHING_ELSE": "x",
        }
    )
    assert settings.log == "sqlite:////var/lib/callgate.db"
    assert settings.worker.concurrency == 7
    assert settings.worker.tenant_share == 0.25
    assert settings.approval.trusted
    assert settings.telemetry.tools == ("refund", "restart")
    assert settings.proposer.siblings == "block"


def test_every_fault_is_reported_at_once() -> None:
    """All variables that can't be used are named in one error, each with what would be right."""
    with pytest.raises(BadSettings) as caught:
        load(
            {
                "CALLGATE_WORKER_CONCURRENCY": "many",
                "CALLGATE_WORKER_TENANT_SHARE": "7",
                "CALLGATE_APPROVAL_TRUSTED": "perhaps",
                "CALLGATE_PROPOSER_SIBLINGS": "ignore",
                "CALLGATE_TELEMETRY_PORT": "99999",
            }
        )
    assert {fault.field for fault in caught.value.faults} == {
        "CALLGATE_WORKER_CONCURRENCY",
        "CALLGATE_WORKER_TENANT_SHARE",
        "CALLGATE_APPROVAL_TRUSTED",
        "CALLGATE_PROPOSER_SIBLINGS",
        "CALLGATE_TELEMETRY_PORT",
    }
    for line in str(caught.value).splitlines():
        assert line.startswith("CALLGATE_")
        assert "Use " in line


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-1", "", " ", "1e400", "0x10"])
def test_no_odd_number_passes(text: str) -> None:
    """A number that is none, endless or negative is refused: each would switch a limit off."""
    with pytest.raises(BadSettings):
        load({"CALLGATE_WORKER_RETRY_SECONDS": text})


@pytest.mark.parametrize("text", ["0", "-3", "2.5"])
def test_a_limit_of_nothing_is_refused(text: str) -> None:
    """A process that may do nothing at once, or a fraction of a thing, is a mistake and not a wish."""
    with pytest.raises(BadSettings, match="CALLGATE_WORKER_CONCURRENCY"):
        load({"CALLGATE_WORKER_CONCURRENCY": text})


def test_a_secret_shows_only_stars() -> None:
    """Neither the text nor the representation of settings holds a secret."""
    settings = load({"CALLGATE_BIGHUB_KEY": "bh-very-secret"})
    assert settings.bighub.key.reveal() == "bh-very-secret"
    for shown in (repr(settings), str(settings), str(settings.bighub.key), f"{settings.bighub.key}"):
        assert "very-secret" not in shown
    assert not Secret("")


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    """A secret's file is read without its line end, and wins over the variable; one that can't be read is named."""
    (tmp_path / "key").write_text("from-file\n")
    settings = load({"CALLGATE_BIGHUB_KEY_FILE": str(tmp_path / "key"), "CALLGATE_BIGHUB_KEY": "from-variable"})
    assert settings.bighub.key.reveal() == "from-file"
    with pytest.raises(BadSettings, match="CALLGATE_BIGHUB_KEY_FILE"):
        load({"CALLGATE_BIGHUB_KEY_FILE": str(tmp_path / "missing")})


def test_an_error_never_quotes_a_secrets_file(tmp_path: Path) -> None:
    """What a file that is no text holds does not stand in the error about it."""
    (tmp_path / "key").write_bytes(b"\xff\xfesecret")
    with pytest.raises(BadSettings) as caught:
        load({"CALLGATE_BIGHUB_KEY_FILE": str(tmp_path / "key")})
    assert "secret" not in str(caught.value)


def test_every_variable_that_is_read_has_a_known_name() -> None:
    """The list of names is complete: each of them changes something when it is set, and `check` trusts it."""
    known = names()
    assert {"CALLGATE_LOG", "CALLGATE_TOOLS", "CALLGATE_BIGHUB_KEY", "CALLGATE_BIGHUB_KEY_FILE"} <= known
    assert "CALLGATE_WORKER" not in known
    of_secrets = {name for name in known if name.endswith("_FILE") and name.removesuffix("_FILE") in known}
    assert of_secrets == {
        f"CALLGATE_{name}_FILE"
        for name in (
            "BIGHUB_KEY",
            "KAFKA_PASSWORD",
            "KAFKA_KEY_PASSWORD",
            "MODEL_KEY",
            "MODEL_WEBHOOK_SECRET",
            "NOTIFY_WEBHOOK_SECRET",
            "NOTIFY_SLACK_URL",
            "NOTIFY_SMTP_PASSWORD",
        )
    }
    for name in known - of_secrets:
        assert any(changes(name, text) for text in ("3", "2")), name
