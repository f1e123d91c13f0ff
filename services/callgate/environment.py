"""Settings out of the environment: every variable by its name, with its bounds, every fault reported at once.

A field `seconds` of group `retry` is read from `CALLGATE_RETRY_SECONDS`. Secrets come from a variable or from a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

from callgate.failures import BadInput
from callgate.settings import Secret, Settings


class BadSettings(BadInput):
    """One or more settings can't be used; all of them are in `faults`."""

    def __init__(self, faults: tuple[BadInput, ...]) -> None:
        """Show every fault, one a line."""
        first = faults[0]
        super().__init__(first.field, first.problem, first.way_out)
        self.faults = faults

    def __str__(self) -> str:
        """Every fault, one a line."""
        return "\n".join(f"{fault.field}: {fault.problem}. {fault.way_out}" for fault in self.faults)


_BOUNDS: dict[str, tuple[float, float]] = {
    "CALLGATE_WORKER_CONCURRENCY": (1, 10_000),
    "CALLGATE_WORKER_TENANT_SHARE": (0.01, 1),
    "CALLGATE_WORKER_WINDOW": (1, 16_384),
    "CALLGATE_WORKER_COMMIT_SHARE": (0.01, 1),
    "CALLGATE_WORKER_BRAKE_RATIO": (0, 1),
    "CALLGATE_BIGHUB_BATCH": (1, 100),
    "CALLGATE_PROPOSER_TURN_CAP": (1, 10_000),
    "CALLGATE_MODEL_TIMEOUT_SECONDS": (0.1, 86_400),
    "CALLGATE_MODEL_BREAKER_FAILURES": (1, 10_000),
    "CALLGATE_MODEL_BACKGROUND_SECONDS": (0, 86_400),
    "CALLGATE_MODEL_POLL_SECONDS": (0.05, 600),
    "CALLGATE_MODEL_WEBHOOK_PORT": (0, 65_535),
    "CALLGATE_APPROVAL_BIGHUB_POLL_SECONDS": (0.1, 3600),
    "CALLGATE_TELEMETRY_PORT": (0, 65_535),
    "CALLGATE_NOTIFY_SMTP_PORT": (1, 65_535),
    "CALLGATE_NOTIFY_TIMEOUT_SECONDS": (0.1, 300),
    "CALLGATE_EXECUTOR_OUTPUT_BYTES": (1, 400_000),
    "CALLGATE_KAFKA_SESSION_SECONDS": (1, 300),
    "CALLGATE_KAFKA_TRANSACTION_SECONDS": (1, 900),
    "CALLGATE_TOPIC_PARTITIONS": (1, 1024),
    "CALLGATE_TOPIC_REPLICAS": (0, 9),
    "CALLGATE_TOPIC_MIN_INSYNC": (0, 9),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "CALLGATE_PROPOSER_SIBLINGS": ("collapse", "review", "block"),
    "CALLGATE_TELEMETRY_LOG_LEVEL": ("debug", "info", "warning", "error"),
    "CALLGATE_NOTIFY_SMTP_SECURITY": ("starttls", "tls", "plain"),
    "CALLGATE_KAFKA_SECURITY": ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"),
    "CALLGATE_KAFKA_MECHANISM": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
}
OF_COMMANDS = frozenset(
    {"CALLGATE_APPROVER", "CALLGATE_APPROVER_KEY_FILE", "CALLGATE_CORPORA", "CALLGATE_TOOLS_FOLDER"}
)
"""Variables that only commands, or the compose file, read."""
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off", ""})


def load(environ: Mapping[str, str]) -> Settings:
    """Settings from environment variables. Raises `BadSettings` with every fault found."""
    faults: list[BadInput] = []
    values: dict[str, Any] = {}
    for each in fields(Settings):
        kind = get_type_hints(Settings)[each.name]
        if kind is str:
            name = f"CALLGATE_{each.name.upper()}"
            if name in environ:
                values[each.name] = environ[name]
        else:
            values[each.name] = _group(kind, f"CALLGATE_{each.name.upper()}_", environ, faults)
    if faults:
        raise BadSettings(tuple(faults))
    return Settings(**values)


def names() -> frozenset[str]:
    """Every environment variable that is read, so that a misspelt one can be told apart."""
    found: set[str] = set()
    for each in fields(Settings):
        name = f"CALLGATE_{each.name.upper()}"
        kind = get_type_hints(Settings)[each.name]
        if kind is str:
            found.add(name)
            continue
        for part, hint in get_type_hints(kind).items():
            found.add(f"{name}_{part.upper()}")
            if hint is Secret:
                found.add(f"{name}_{part.upper()}_FILE")
    return frozenset(found)


def unknown(environ: Mapping[str, str]) -> str | None:
    """The variables that look like settings and are none, each with the nearest one; None where there are none.

    They change nothing. Whoever misspelt one believes that it does.
    """
    known = names() | OF_COMMANDS
    strange = sorted(name for name in environ if name.startswith("CALLGATE_") and name not in known)
    if not strange:
        return None
    said = []
    for name in strange:
        near = get_close_matches(name, known, n=1, cutoff=0.8)
        said.append(f"{name} (did you mean {near[0]}?)" if near else name)
    return f"{', '.join(said)}: no setting has this name, so it changes nothing"


def _group(kind: type, prefix: str, environ: Mapping[str, str], faults: list[BadInput]) -> Any:
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for each in fields(kind):
        name = f"{prefix}{each.name.upper()}"
        try:
            text = _text(name, environ, secret=hints[each.name] is Secret)
            if text is not None:
                values[each.name] = _value(name, text, hints[each.name])
        except BadInput as fault:
            faults.append(fault)
    return kind(**values)


def _text(name: str, environ: Mapping[str, str], *, secret: bool) -> str | None:
    path = environ.get(f"{name}_FILE") if secret else None
    if path is None:
        return environ.get(name)
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{name}_FILE", f"can't be read ({type(error).__name__})", "Name a readable text file"
        ) from error


def _value(name: str, text: str, kind: object) -> object:
    if kind is Secret:
        return Secret(text)
    if kind is bool:
        lowered = text.strip().lower()
        if lowered in _YES or lowered in _NO:
            return lowered in _YES
        raise BadInput(name, f"{text!r} is neither yes nor no", "Use true or false")
    if kind == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind is int or kind is float:
        return _number(name, text, kind)
    allowed = _CHOICES.get(name)
    if allowed and text not in allowed:
        raise BadInput(name, f"{text!r} is unknown", f"Use one of {', '.join(allowed)}")
    return text


def _number(name: str, text: str, kind: type[int | float]) -> int | float:
    least, most = _BOUNDS.get(name, (0, 1e9))
    try:
        number = kind(text)
    except ValueError:
        whole = "a whole number" if kind is int else "a number"
        raise BadInput(name, f"{text!r} is not {whole}", f"Use {least:g} to {most:g}") from None
    if not least <= number <= most:
        raise BadInput(name, f"{text} is out of range", f"Use {least:g} to {most:g}")
    return number
