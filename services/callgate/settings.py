"""Settings: grouped, frozen, read once from the environment, every fault reported at once.

A field `seconds` of group `retry` is read from `CALLGATE_RETRY_SECONDS`. New fields always have a usable default, so
that new code runs under an old configuration. Secrets come from the environment or from a file and never print.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from callgate.failures import BadInput


class Secret:
    """A text that shows itself only when asked by `reveal`; its repr and str are stars."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Hold `text`."""
        self._text = text

    def reveal(self) -> str:
        """The text itself: for the one place that sends it."""
        return self._text

    def __bool__(self) -> bool:
        """Whether there is any text."""
        return bool(self._text)

    def __repr__(self) -> str:
        """Stars, whatever it holds."""
        return "Secret(***)"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How every worker runs its lanes."""

    concurrency: int = 64
    """Records handled at once per process and service. A waiting call costs little; 64 fills BIGHUB's limits."""
    tenant_share: float = 0.5
    """The most of `concurrency` that one tenant may hold while another waits (0 to 1)."""
    window: int = 2000
    """Records fetched and not yet done, per lease. Beyond it the lease is not fetched from."""
    retry_seconds: float = 60.0
    """How long a record is retried in its lane before it is parked. Longer only keeps its lane's followers waiting."""
    retry_first_seconds: float = 0.25
    """The first back-off; doubled each time, with jitter, up to `retry_most_seconds`."""
    retry_most_seconds: float = 10.0
    """The longest back-off in the lane."""
    park_seconds: float = 30.0
    """How long a parked record waits before it is tried again."""
    commit_share: float = 0.2
    """The share of a core that committing may cost under load; the linger adapts to it."""
    linger_most_seconds: float = 0.05
    """The longest that a finished effect waits for others to be committed with."""
    drain_seconds: float = 20.0
    """How long a stopping process finishes what it has begun. Set the orchestrator's grace period above it."""
    brake_ratio: float = 0.05
    """Dead letters over records in the last `brake_window` records, beyond which the service stops."""
    brake_run: int = 20
    """Dead letters one after another, at which the service stops."""
    brake_window: int = 400
    """Records over which `brake_ratio` is taken; fewer records than this never trip it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BighubSettings:
    """Where BIGHUB is and how it is asked."""

    url: str = "https://api.bighub.io"
    """Base URL. The SDK refuses plain http except to localhost and 127.0.0.1."""
    key: Secret = field(default_factory=lambda: Secret(""))
    """API key; also from the file named by CALLGATE_BIGHUB_KEY_FILE. Without one the evaluator refuses to start."""
    timeout_seconds: float = 15.0
    """One call, connect to last byte."""
    evaluator_seconds: float = 900.0
    """How long an action waits for a BIGHUB that can't be reached before it is blocked."""
    batch: int = 1
    """Actions that are asked about in one request, where they come at the same moment. 1: each in its own, since
    only such requests carry an idempotency key. More spares CPU on both sides: see docs/performance.md."""
    valid_seconds: float = 300.0
    """How long a decision may be acted on. Older ones are evaluated anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposerSettings:
    """How turns become actions."""

    turn_cap: int = 128
    """Calls in one turn; above it none runs and all are answered. Recorded agents have sent 545 at once."""
    siblings: str = "review"
    """What equal calls in one response mean: collapse, review or block. They never run more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Where the model is, for turns that ask for it to be run (`TurnSubmitted`)."""

    url: str = "https://api.openai.com/v1"
    """Base URL of a Responses API. Plain http only to this machine and to `plain_hosts`."""
    key: Secret = field(default_factory=lambda: Secret(""))
    """API key; also from the file named by CALLGATE_MODEL_KEY_FILE. Without one such turns are refused."""
    plain_hosts: tuple[str, ...] = ()
    """Hosts that may be asked over plain http: a gateway in the same network. The key then travels unencrypted."""
    timeout_seconds: float = 300.0
    """One answer, connect to last byte. Models that reason take minutes."""
    patience_seconds: float = 900.0
    """How long a turn waits for a model that can't be reached, or fails, before the turn ends as failed."""
    breaker_failures: int = 5
    """Failures one after another, after which the model is left alone for `breaker_seconds`."""
    breaker_seconds: float = 15.0
    """How long it is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSettings:
    """How actions are claimed and run."""

    start_seconds: float = 5.0
    """From claim to start at the most; a worker that was paused longer does not start the tool."""
    skew_seconds: float = 1.0
    """The most that two hosts' clocks may differ; decisions expire this much earlier, horizons end this much later."""
    attempts: int = 3
    """How often the gate may send an action back to be evaluated anew before it ends `not_executed`."""
    output_bytes: int = 262_144
    """The largest tool output that is put on the log; a larger one is an error of the output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalSettings:
    """How people are asked."""

    deadline_seconds: float = 3600.0
    """How long people have to answer. Expiry is told apart from a rejection."""
    policy: str = ""
    """TOML file that says who must answer what; empty: one approval of anybody but the requester. Read again when it
    changes."""
    trusted: bool = False
    """Whether votes on the entrance are believed unsigned. Whoever can write the topic can then approve."""
    keys: str = ""
    """JWKS file, or https address of one, with the approvers' keys. A file is read again when it changes, an address
    every minute, and at once for a key that is not known."""
    audience: str = "callgate"
    """This installation's name in signatures. Give each its own, or a vote for one could be cast in another as well."""
    oidc_issuer: str = ""
    """Identity provider whose id tokens stand for votes: its issuer, to the letter."""
    oidc_client: str = ""
    """Client id that the id tokens must be for."""
    oidc_keys: str = ""
    """Address of the provider's JWKS; empty: as its discovery document says."""
    oidc_claim: str = "email"
    """The claim that names the approver. `email` counts only with `email_verified`; `sub` is for good."""
    valid_seconds: float = 300.0
    """How long an approval may be acted on after it is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """What is shown of a process."""

    host: str = "127.0.0.1"
    """Where the probes listen; loopback unless told otherwise."""
    port: int = 0
    """Port of /livez, /readyz and /metrics; 0 is none."""
    tools: tuple[str, ...] = ()
    """Tool names that get a metric label of their own; others are counted as `other`."""
    tenants: tuple[str, ...] = ()
    """Tenants that get a metric label of their own."""
    log_level: str = "info"
    """debug, info, warning or error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """How Kafka is reached, where CALLGATE_LOG is a kafka:// address."""

    security: str = "plaintext"
    """plaintext, ssl, sasl_plaintext or sasl_ssl."""
    mechanism: str = "PLAIN"
    """Of SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER."""
    user: str = ""
    """User name for PLAIN and SCRAM."""
    password: Secret = field(default_factory=lambda: Secret(""))
    """Password for PLAIN and SCRAM."""
    token_file: str = ""
    """OAUTHBEARER: a file with the token, read anew for every connection, so that whoever renews it need not tell."""
    ca_file: str = ""
    """Certificates (PEM) that the brokers' are checked against; empty: those of the system."""
    cert_file: str = ""
    """Our own certificate (PEM), where the brokers ask for one."""
    key_file: str = ""
    """Its private key (PEM); empty: it is in `cert_file`."""
    key_password: Secret = field(default_factory=lambda: Secret(""))
    """Password of the private key."""
    session_seconds: float = 10.0
    """How long a member may be silent before its leases pass on. Shorter resumes sooner after a crash, and takes a
    host that stands still for dead sooner; the brokers bound it (`group.min.session.timeout.ms`, 6 s by default)."""
    transaction_seconds: float = 10.0
    """After which the brokers abort a transaction that nobody ends: readers wait that long for one of a dead member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    """What the topics on Kafka are called, and how `callgate topics apply` makes them."""

    prefix: str = ""
    """Before every topic, group and transactional id: several Callgates can share a cluster."""
    partitions: int = 8
    """N, for a new log. It can't be changed afterwards: sessions have their homes by it."""
    replicas: int = 0
    """Copies of each partition; 0 leaves it to the brokers' default. Take 3 in production."""
    min_insync: int = 0
    """How many copies must have a record before it counts as written; 0 leaves it to the brokers' default. Take 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of a process."""

    log: str = "sqlite:///callgate.db"
    """Address of the log: sqlite:///file, sqlite:////absolute/file, sqlite://:memory: or kafka://host:port,host:port."""
    tools: str = ""
    """`module:attribute` of the user's toolbox."""
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    bighub: BighubSettings = field(default_factory=BighubSettings)
    proposer: ProposerSettings = field(default_factory=ProposerSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)
    approval: ApprovalSettings = field(default_factory=ApprovalSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    topic: TopicSettings = field(default_factory=TopicSettings)


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
    "CALLGATE_TELEMETRY_PORT": (0, 65_535),
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
    "CALLGATE_KAFKA_SECURITY": ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"),
    "CALLGATE_KAFKA_MECHANISM": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
}
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
