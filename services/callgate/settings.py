"""Settings: grouped and frozen; `environment` reads them, once.

New fields always have a usable default, so that new code runs under an old configuration. Secrets never print.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names of this machine: what is sent there is read by nobody on the way, and goes through no proxy."""


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
    background_seconds: float = 0.0
    """How long an answer in the background may take before it is cancelled; 0 refuses turns that ask for one, because
    the provider then stores what they say."""
    poll_seconds: float = 2.0
    """How soon a background answer is looked at for the first time."""
    webhook_host: str = "127.0.0.1"
    """Where the proposer listens for the provider's notices; loopback unless told otherwise."""
    webhook_port: int = 0
    """Port of it; 0 is none, and answers in the background are then only polled."""
    webhook_secret: Secret = field(default_factory=lambda: Secret(""))
    """The signing secret (`whsec_…`) that the provider has given out for the endpoint."""


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
    grant_seconds: float = 3600.0
    """How long an approval answers further reviews of the same arguments, where the call has to be evaluated anew."""
    settle_seconds: float = 604_800.0
    """How long people have to say what became of a call in doubt. Afterwards it ends as unknown."""
    bighub_identity: str = ""
    """The name under which answers in BIGHUB's own queue are votes; empty: they are none."""
    bighub_poll_seconds: float = 10.0
    """How often that queue is looked at while anything is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """Whom `callgate run notifier` tells of approvals. Each channel is off until it is named."""

    webhooks: tuple[str, ...] = ()
    """Addresses that get signed JSON. Plain http only to this machine."""
    webhook_secret: Secret = field(default_factory=lambda: Secret(""))
    """Signs what goes to the webhooks (HMAC-SHA256); at least 16 characters."""
    slack_url: Secret = field(default_factory=lambda: Secret(""))
    """A Slack-compatible incoming webhook; whoever knows it can write there."""
    smtp_host: str = ""
    """Mail server."""
    smtp_port: int = 587
    """Its port."""
    smtp_security: str = "starttls"
    """starttls, tls, or plain, which only this machine is spoken to with."""
    smtp_user: str = ""
    """User name, where the server asks for one."""
    smtp_password: Secret = field(default_factory=lambda: Secret(""))
    """Its password."""
    smtp_from: str = ""
    """Sender of the mails."""
    smtp_to: tuple[str, ...] = ()
    """Who gets them."""
    timeout_seconds: float = 10.0
    """One delivery."""
    patience_seconds: float = 86_400.0
    """How old news may be to be told still; a delivery that fails for so long becomes a dead letter."""


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
    notify: NotifySettings = field(default_factory=NotifySettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    topic: TopicSettings = field(default_factory=TopicSettings)
